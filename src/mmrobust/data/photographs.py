"""A photograph's file to a small square array."""

from __future__ import annotations

import io
import zlib

import numpy as np
from PIL import Image

from mmrobust.errors import UserError


def decode_photograph(data: bytes, image_size: int, where: str) -> tuple[np.ndarray, str]:
    """Decode, scale the shorter side to `image_size` (bicubic, antialiased), crop the centre.

    The pre-processing of CLIP (Radford et al. 2021, arXiv 2103.00020); like it, the orientation
    that a camera noted in the file is not applied.

    Args:
        data: bytes of a JPEG or another format that Pillow reads.
        image_size: side of the result in pixels.
        where: the file's place, for messages.

    Returns:
        uint8 (S, S, 3) RGB, and the photograph's own size as "WxH".

    Raises:
        UserError: the photograph does not decode.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            photograph = opened.convert("RGB")
    except (OSError, SyntaxError, ValueError, zlib.error, Image.DecompressionBombError) as error:
        raise UserError(f"{where}: photograph does not decode ({error})") from None
    width, height = photograph.size
    shorter = min(width, height)
    scaled = (width * image_size // shorter, height * image_size // shorter)
    left, top = (round((side - image_size) / 2) for side in scaled)
    square = photograph.resize(scaled, Image.Resampling.BICUBIC).crop(
        (left, top, left + image_size, top + image_size)
    )
    return np.asarray(square), f"{width}x{height}"
