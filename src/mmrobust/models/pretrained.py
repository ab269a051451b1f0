"""Reading models of transformers: in silence, and with one line about what is wrong with them."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmrobust.errors import UserError

Load = Callable[[Mapping[str, Any]], tuple[Any, Any, Mapping[str, Any]]]
"""Options that every `from_pretrained` is told -> the model, its tokenizer or processor, and what
`output_loading_info` says of the model."""


@dataclass(frozen=True, kw_only=True)
class PretrainedReader:
    """Reads one model; nothing is fetched for a local folder, and no code of a model is run.

    Fields:
        name: a folder, or a name that transformers looks up on its hub.
        where: what an error starts with.
        lacks: what is said of weights that lack the part named by `{}`.
        allowed: what an error ends with.
    """

    name: str
    where: str
    lacks: str = "its weights lack {}"
    allowed: str = ""

    def read(self, load: Load) -> tuple[Any, Any]:
        """The model, and its tokenizer or processor.

        Raises:
            UserError: it can't be read, or its weights lack a part; or whatever `load` raises.
        """
        folder = Path(self.name).is_dir()
        if not folder and (self.name.startswith((".", "/")) or self.name.count("/") > 1):
            raise self.error("no such folder")
        options = {"local_files_only": folder, "trust_remote_code": False}
        try:
            with quiet_transformers():
                model, reader, found = load(options)
        except UserError:
            raise
        except Exception as error:  # also what the Rust libraries raise: bare Exception
            reason = str(error).strip().partition("\n")[0]
            if folder:
                raise self.error(f"transformers can't load it ({reason})") from None
            raise UserError(
                f"{self.where}: {self.name!r} is neither a folder nor a model that transformers "
                f"finds on its hub ({reason}){self.allowed}"
            ) from None
        if found["missing_keys"]:
            raise self.error(self.lacks.format(min(found["missing_keys"])))
        return model, reader

    def error(self, why: str) -> UserError:
        """What is wrong with the model, in one line."""
        return UserError(f"{self.where}: {self.name}: {why}{self.allowed}")


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers' progress bars and advice to itself; errors are raised all the same."""
    from transformers.utils import logging as messages

    level, bars = messages.get_verbosity(), messages.is_progress_bar_enabled()
    messages.set_verbosity(logging.ERROR)
    if bars:
        messages.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        messages.set_verbosity(level)
        if bars:
            messages.enable_progress_bar()  # type: ignore[no-untyped-call]
