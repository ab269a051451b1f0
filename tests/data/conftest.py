"""Tiny files in the layouts of their authors, and the real ones where there are any."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

SPLIT_NAMES = {
    "train": ["dog.jpg", "cat.jpg", "car.jpg"],
    "dev": ["sea.jpg"],
    "test": ["boy.jpg", "hat.jpg"],
}


class Flickr8kFiles:
    """Makes the archives; tests alter one file and leave the rest."""

    splits = SPLIT_NAMES

    @staticmethod
    def a_jpeg(width: int = 12, height: int = 8, seed: int = 0) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", quality=95)
        return stream.getvalue()

    @staticmethod
    def text_files() -> dict[str, bytes]:
        """Name -> content of the text archive, with the official one's oddity."""
        lines = [
            f"{name}#{n}\tA {name[:3]}-like thing , number {n} .\n"
            for names in SPLIT_NAMES.values()
            for name in names
            for n in range(5)
        ]
        lines += [
            f"2258277193_586949ec62.jpg.1#{n}\tA photograph that is not there .\n" for n in "01"
        ]
        lines += ["unused.jpg#0\t.\n"]
        files = {"Flickr8k.token.txt": "".join(lines), "readme.txt": "read me"}
        files |= {f"Flickr_8k.{s}Images.txt": "\n".join(n) + "\n" for s, n in SPLIT_NAMES.items()}
        return {name: text.encode() for name, text in files.items()}

    @staticmethod
    def photograph_files() -> dict[str, bytes]:
        """Name -> content of the archive of photographs."""
        names = [name for names in SPLIT_NAMES.values() for name in names]
        return {
            name: Flickr8kFiles.a_jpeg(seed=seed)
            for seed, name in enumerate([*names, "unused.jpg"])
        }

    @staticmethod
    def write_archives(
        raw: Path,
        *,
        text: Mapping[str, bytes] | None = None,
        photographs: Mapping[str, bytes] | None = None,
    ) -> Path:
        """Write both archives to `raw`, with what macOS leaves in the official ones."""
        raw.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(raw / "Flickr8k_text.zip", "w") as archive:
            for name, content in (Flickr8kFiles.text_files() if text is None else text).items():
                archive.writestr(zipfile.ZipInfo(name), content)
            archive.writestr(zipfile.ZipInfo("__MACOSX/._Flickr8k.token.txt"), b"\x00\x05\x16\x07")
        with zipfile.ZipFile(raw / "Flickr8k_Dataset.zip", "w") as archive:
            archive.writestr(zipfile.ZipInfo("__MACOSX/Flicker8k_Dataset/dog.jpg"), b"junk")
            archive.writestr(zipfile.ZipInfo("Flicker8k_Dataset/._cat.jpg"), b"junk")
            for name, content in (
                Flickr8kFiles.photograph_files() if photographs is None else photographs
            ).items():
                archive.writestr(zipfile.ZipInfo(f"Flicker8k_Dataset/{name}"), content)
        return raw

    @staticmethod
    def write_folder(raw: Path) -> Path:
        """Write the unpacked files to `raw`."""
        (raw / "Flicker8k_Dataset").mkdir(parents=True)
        for name, content in Flickr8kFiles.text_files().items():
            (raw / name).write_bytes(content)
        for name, content in Flickr8kFiles.photograph_files().items():
            (raw / "Flicker8k_Dataset" / name).write_bytes(content)
        return raw


def write_word_pairs(folder: Path, **files: str | bytes) -> Path:
    """Write the three files of word pairs; those not given hold one pair of no caption's words."""
    folder.mkdir(parents=True, exist_ok=True)
    contents: dict[str, str | bytes] = {
        "ppdb_synonyms": "mediaeval medieval\n",
        "ppdb_antonyms": "imports exports\n",
        "wordnet_antonyms": "irritate soothe\n",
    }
    assert files.keys() <= contents.keys()
    for name, content in (contents | files).items():
        data = content.encode() if isinstance(content, str) else content
        (folder / f"{name}.txt").write_bytes(data)
    return folder


@pytest.fixture
def word_pairs() -> Callable[..., Path]:
    return write_word_pairs


@pytest.fixture
def flickr8k_files() -> type[Flickr8kFiles]:
    return Flickr8kFiles


@pytest.fixture
def real_data() -> Path:
    """Folder of the real data, whose path no test knows."""
    if "MMROBUST_TEST_DATA" not in os.environ:
        pytest.skip("MMROBUST_TEST_DATA is not set: real data is not on this machine")
    return Path(os.environ["MMROBUST_TEST_DATA"])
