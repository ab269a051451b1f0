"""Photographs to squares."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from mmrobust.data.photographs import decode_photograph
from mmrobust.errors import UserError


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("size", [(40, 20), (20, 40), (20, 20), (33, 21)])
def test_centre_is_kept(size: tuple[int, int]) -> None:
    width, height = size
    image = Image.new("RGB", size, (255, 0, 0))
    side = min(size)
    left, top = (width - side) // 2, (height - side) // 2
    image.paste((0, 0, 255), (left, top, left + side, top + side))
    square, resolution = decode_photograph(encoded(image), 10, "photo")
    assert resolution == f"{width}x{height}"
    assert square.shape == (10, 10, 3)
    assert square.dtype == np.uint8
    assert (square[1:-1, 1:-1] == (0, 0, 255)).all()


def test_downscaling_is_antialiased() -> None:
    checks = np.indices((64, 64)).sum(0) % 2 * 255
    square, _ = decode_photograph(encoded(Image.fromarray(checks.astype(np.uint8))), 8, "photo")
    assert np.abs(square.astype(int) - 127).max() <= 8


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_any_mode_becomes_rgb(mode: str) -> None:
    kind = "JPEG" if mode == "CMYK" else "PNG"
    square, _ = decode_photograph(encoded(Image.new(mode, (9, 9)), kind), 4, "photo")
    assert square.shape == (4, 4, 3)


@pytest.mark.parametrize("data", [b"", b"GIF89a", b"\xff\xd8\xff\xe0 broken"])
def test_what_is_no_photograph_is_named(data: bytes) -> None:
    with pytest.raises(UserError, match=r"a.zip:b.jpg: photograph does not decode"):
        decode_photograph(data, 4, "a.zip:b.jpg")
