"""A download that keeps what arrived and goes on from there."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import requests

from mmrobust.errors import UserError
from mmrobust.progress import progress_bar

ATTEMPTS = 6
"""Attempts in a row that may bring nothing new before a download is given up."""

Sleep = Callable[[float], None]

_CHUNK = 1 << 16
_BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
)


@dataclass(frozen=True, kw_only=True)
class ResumingDownloader:
    """Downloader for pooch that keeps what arrived in `part` and asks only for the rest."""

    part: Path
    sleep: Sleep = time.sleep

    def __call__(self, url: str, output_file: str, _: object) -> None:
        """Download `url` to `output_file`.

        Raises:
            UserError: the server refuses, or `ATTEMPTS` attempts in a row brought nothing new.
        """
        furthest = self._size()
        tried = 0
        while True:
            try:
                self._attempt(url)
                break
            except _Again as again:
                tried = 0 if self._size() > furthest else tried + 1
                furthest = max(furthest, self._size())
                if tried >= ATTEMPTS:
                    raise UserError(
                        f"{url}: given up after {ATTEMPTS} attempts ({again}); what arrived is "
                        "kept, run again to go on"
                    ) from None
                self.sleep(max(again.wait, 2.0**tried))
        self.part.replace(output_file)

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _attempt(self, url: str) -> None:
        """Ask once for what is missing; `_Again` if it may be worth another attempt."""
        start = self._size()
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as response:
                if response.status_code == 416:  # the part is whole already, or of another file
                    if response.headers.get("Content-Range") == f"bytes */{start}":
                        return
                    self.part.unlink()
                    raise _Again("the partial file did not fit")
                if response.status_code == 429 or response.status_code >= 500:
                    raise _Again(f"status {response.status_code}", response)
                if not response.ok:
                    raise UserError(f"{url}: the server answers {response.status_code}")
                resumed = response.status_code == 206
                with self.part.open("ab" if resumed else "wb") as stream:
                    _copy(response, stream, self.part.name[1:-5], start if resumed else 0)
        except _BROKEN as error:
            raise _Again(type(error).__name__) from None
        except requests.RequestException as error:  # an address that can't work
            raise UserError(f"{url}: cannot be downloaded ({error})") from None


class _Again(Exception):
    """An attempt failed in a way that may pass."""

    def __init__(self, why: str, response: requests.Response | None = None) -> None:
        super().__init__(why)
        asked = response.headers.get("Retry-After", "") if response is not None else ""
        self.wait = min(float(asked), 60.0) if asked.isdecimal() else 0.0


def _copy(response: requests.Response, stream: IO[bytes], name: str, start: int) -> None:
    """Copy a response's body to `stream` under a progress bar that begins at `start` bytes."""
    length = response.headers.get("Content-Length")
    total = start + int(length) if length else None
    with progress_bar(desc=name, initial=start, total=total, unit="B", unit_scale=True) as bar:
        for chunk in response.iter_content(_CHUNK):
            stream.write(chunk)
            bar.update(len(chunk))
