"""What a cell is computed from, which is its key in the store.

Planning looks cells up, so nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from mmrobust.artifacts import MAKE, sha256_file
from mmrobust.config import EvaluationConfig, build
from mmrobust.data.prepared import load_manifest
from mmrobust.disk import missing
from mmrobust.errors import UserError
from mmrobust.evaluation.cells import Origin

Section = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Folders:
    """Where an evaluation reads and writes.

    Fields:
        data: the prepared dataset.
        model: the checkpoint that is evaluated.
        masked_lm: the masked language model; None if the study has none.
        sources: checkpoints that transferred attacks are crafted on, by the name that threat
            models give them.
        cells: folder of the cells, `cells/<defence>/seed<k>`.
        examples: folder of the examples, `examples/<defence>/seed<k>`; None to write none.
        work: folder of the cell store.
    """

    data: Path
    model: Path
    masked_lm: Path | None = None
    sources: Mapping[str, Path] = field(default_factory=dict)
    cells: Path
    examples: Path | None = None
    work: Path

    def source(self, name: str) -> Path:
        """A checkpoint that attacks are crafted on; `UserError` if it wasn't named."""
        if name not in self.sources:
            raise UserError(f"evaluate-model: no --source for {name!r} (wanted: NAME=FOLDER)")
        return self.sources[name]


class CellKeys:
    """Keys of the cells of one model; files are read once and not once a cell."""

    def __init__(self, cfg: Section, folders: Folders) -> None:
        self.cfg, self.folders = cfg, folders
        self.config = build(EvaluationConfig, cfg["evaluation"], where="evaluation")
        self.manifest = load_manifest(folders.data)
        self._checkpoint_digest = cache(checkpoint_digest)
        self._masked_lm_digest = cache(masked_lm_digest)

    @cached_property
    def origin(self) -> Origin:
        """Names that every record carries."""
        return Origin(
            study=self.cfg["study"],
            dataset=self.manifest["dataset"],
            split=self.config.split,
            source_resolution=self.manifest["source_resolution"],
            defence=self.cfg["defence"],
            seed=self.cfg["seed"],
        )

    def inputs(self, name: str) -> dict[str, Any]:
        """All that the cell of an attack or ensemble, or the clean one, is computed from."""
        about: Section = {}
        if name in self.cfg["attacks"]:
            about = self._of_attack(name)
        elif name in self.cfg["ensembles"]:
            ensemble = self.cfg["ensembles"][name]
            members = [self._of_attack(member) for member in ensemble["members"]]
            about = {"ensemble": ensemble, "members": members}
        return {
            "origin": asdict(self.origin),
            "evaluation": asdict(self.config),
            "dataset": [self.cfg["dataset"], self.cfg["data_seed"]],
            "manifest": self.manifest["sha256"],
            "model": self._checkpoint_digest(self.folders.model),
            "device": self.cfg["device"],
            "threads": self.cfg["threads"],
            "name": name,
            "code": self.cfg["code"][name],
            **about,
        }

    def _of_attack(self, name: str) -> dict[str, Any]:
        entry = self.cfg["attacks"][name]
        threat_model = self.cfg["threat_models"][entry["threat_model"]]
        source = threat_model.get("source")
        asked = self.folders.masked_lm if name in self.cfg["asks_masked_lm"] else None
        return {
            "attack": entry,
            "threat_model": threat_model,
            "source": source and self._checkpoint_digest(self.folders.source(source)),
            "masked_lm": asked and self._masked_lm_digest(asked),
        }


def checkpoint_digest(folder: Path) -> list[str | None]:
    """Digests of a checkpoint's files; the tokenizer's is None where open_clip brings its own."""
    files = [folder / name for name in ("model.safetensors", "model.json", "tokenizer.json")]
    for file in files[:2]:
        if not file.is_file():
            raise missing(file, f"{MAKE}, or name the folder of a checkpoint")
    return [sha256_file(file) if file.exists() else None for file in files]


def masked_lm_digest(folder: Path) -> list[str]:
    """Digests of the files that a masked language model is loaded from."""
    names = ("model.safetensors", "config.json", "tokenizer.json")
    return [sha256_file(folder / name) for name in names if (folder / name).exists()]
