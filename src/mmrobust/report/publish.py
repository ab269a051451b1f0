"""The verb `publish-results`: the tables of record of a finished study."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping
from pathlib import Path

from mmrobust.artifacts import MAKE, replacing, together, write_text
from mmrobust.disk import missing
from mmrobust.errors import UserError
from mmrobust.figures.catalogue import FIGURES, Entry, shown_figures
from mmrobust.report.record import read_results
from mmrobust.report.record_page import page

LARGE = 1_000_000
"""Bytes of a table over which it is compressed."""
TABLES = {
    **{"metrics.csv": True, "claims.csv": False, "flags.csv": True},
    **{"augmentations.csv": False, "sweeps.csv": False},
}
"""Tables, and whether they are compressed where they are large."""
SUFFIX = ".gz"


def publish_results(results: Path, out: Path, *, about: str = "") -> None:
    """Write the page, tables and figures of a finished study.

    The same results give the same bytes. Figures that show the dataset's own content are left
    out. What an earlier call wrote and this one doesn't is removed; other files stay.

    Args:
        results: the folder `results/<study>/`.
        out: the folder that is written.
        about: how the study was run, in one line; stands under the title.

    Raises:
        UserError: a table, a figure or what jobs tell of themselves is missing or broken, or
            `about` is no line; nothing is written.
    """
    if len(about.splitlines()) > 1:
        raise UserError(f"--about: {len(about.splitlines())} lines (allowed: one)")
    record = read_results(results)
    sources = {
        _published(path, pack): path
        for name, pack in TABLES.items()
        if (path := results / name).is_file()
    }
    shown = shown_figures(sweeps=bool(record.points))
    for path in (results / "figures" / name for name in _files(shown)):
        if not path.is_file():
            raise missing(path, MAKE)
        sources[path.name] = path
    text = page(record, about=about.strip(), files=list(sources))
    with together():
        for name, source in sources.items():
            with replacing(out / name) as temporary:
                _copy(source, temporary, packed=name.endswith(SUFFIX))
        write_text(out / "README.md", text)
    for name in [*TABLES, *(name + SUFFIX for name in TABLES), *_files(FIGURES)]:
        if name not in sources:
            (out / name).unlink(missing_ok=True)


def _files(figures: Mapping[str, Entry]) -> list[str]:
    return [f"{name}.png" for name, entry in figures.items() if not entry.shows_data]


def _published(path: Path, pack: bool) -> str:
    return path.name + (SUFFIX if pack and path.stat().st_size > LARGE else "")


def _copy(source: Path, target: Path, *, packed: bool) -> None:
    if not packed:
        shutil.copyfile(source, target)
        return
    # without name and time in the header, the same table gives the same bytes
    with (
        source.open("rb") as plain,
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as stream,
    ):
        shutil.copyfileobj(plain, stream)
