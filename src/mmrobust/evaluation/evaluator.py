"""Cells of one model, computed or found in the store; models are loaded when needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from mmrobust.attacks import ATTACKS
from mmrobust.attacks.base import Attack
from mmrobust.attacks.text_search.base import Language
from mmrobust.config import build
from mmrobust.data.prepared import Split, load_split
from mmrobust.evaluation.cells import (
    CLEAN,
    Cell,
    build_cell,
    gallery_counts,
    interval_resampling,
)
from mmrobust.evaluation.crafting import UNKNOWN, Crafted, craft
from mmrobust.evaluation.ensembles import WorstCase
from mmrobust.evaluation.examples import attacked_examples
from mmrobust.evaluation.hard_negatives import reading_checks
from mmrobust.evaluation.keys import CellKeys, Folders, Section
from mmrobust.evaluation.retrieval import of_items, split_ranks
from mmrobust.evaluation.store import CellStore
from mmrobust.evaluation.subject import Subject, drawn_items, load_language, load_subject
from mmrobust.example_records import SCHEMA
from mmrobust.registry import resolve
from mmrobust.threat import ThreatModel

ENTRY_KEYS = ("method", "threat_model", "items", "curve", "standalone", "defences")
"""Keys of an attack's entry that are not fields of the attack."""

Found = tuple[Cell, pd.DataFrame]
"""A cell and its examples."""


class Evaluator:
    """Computes the cells of one model, or finds them in the store.

    Attributes:
        cells: by name.
        examples: of each attack.
        computed: names of the cells that were not in the store.
        seconds: how long each cell took when it was computed; of those of which it is known.
    """

    def __init__(self, cfg: Section, folders: Folders) -> None:
        self.cfg, self.folders = cfg, folders
        self.keys = CellKeys(cfg, folders)
        self.config, self.origin = self.keys.config, self.keys.origin
        self.store = CellStore(folders.work)
        self.computed: list[str] = []
        self.seconds: dict[str, float] = {}
        self.cells: dict[str, Cell] = {}
        self.examples: dict[str, pd.DataFrame] = {}
        self._sources: dict[str, Subject] = {}
        self.clean = self._stored(CLEAN, self._compute_clean)[0]
        self.cells[CLEAN] = self.clean

    def of_attack(self, name: str) -> None:
        """The cell and the examples of an attack."""
        found = self._stored(name, lambda: self._compute_attack(name))
        self.cells[name], self.examples[name] = found

    def of_ensemble(self, name: str) -> None:
        """The cell of an ensemble, whose standalone members' cells are at hand."""
        found = self._stored(name, lambda: self._compute_ensemble(name))
        self.cells[name] = found[0]

    def _stored(self, name: str, compute: Callable[[], Found]) -> Found:
        inputs = self.keys.inputs(name)
        found = self.store.get(inputs)
        if found is None:
            self.computed.append(name)
            started = time.monotonic()
            found = compute()
            self.store.put(inputs, *found, seconds=round(time.monotonic() - started, 2))
        took = self.store.seconds(inputs)
        if took is not None:
            self.seconds[name] = took
        return found

    # Models, loaded once and only if a cell has to be computed

    @cached_property
    def split(self) -> Split:
        """The split that is attacked."""
        return load_split(self.folders.data, self.config.split)

    @cached_property
    def target(self) -> Subject:
        """The evaluated model."""
        return self._subject(self.folders.model)

    @cached_property
    def language(self) -> Language:
        """What attackers know of the language."""
        return load_language(
            self.folders.data,
            self.folders.masked_lm,
            dataset=self.cfg["dataset"],
            split=self.config.split,
            data_seed=self.cfg["data_seed"],
            device=self.cfg["device"],
        )

    def _subject(self, folder: Path) -> Subject:
        size = self.config.gallery_images[0]
        return load_subject(folder, self.split, device=self.cfg["device"], gallery_images=size)

    def _threat_model(self, name: str) -> ThreatModel:
        """A threat model of the study; a transfer from the model to itself is a white box."""
        section = self.cfg["threat_models"][name]
        threat_model = build(ThreatModel, section, where=f"threat_models.{name}")
        if threat_model.source is not None:
            folder = self.folders.source(threat_model.source)
            if folder.resolve() == self.folders.model.resolve():
                return replace(threat_model, knowledge="white_box", source=None)
        return threat_model

    def _source(self, threat_model: ThreatModel) -> Subject:
        """The model that an attack is crafted on."""
        source = threat_model.source
        if source is None:
            return self.target
        if source not in self._sources:
            self._sources[source] = self._subject(self.folders.source(source))
        return self._sources[source]

    # Cells

    def _compute_clean(self) -> tuple[Cell, pd.DataFrame]:
        ranks = split_ranks(self.target.embeddings(), gallery_images=self.config.gallery_images)
        resampling = interval_resampling(self.origin, self.config)
        checks = reading_checks(self.target, self.language, resampling)
        cell = self._cell(CLEAN, ranks.assign(caption_true=UNKNOWN), checks=checks)
        return cell, pd.DataFrame(columns=SCHEMA.names)

    def _compute_attack(self, name: str) -> tuple[Cell, pd.DataFrame]:
        entry = self.cfg["attacks"][name]
        n_images = len(self.split.images)
        items = drawn_items(n_images, entry.get("items", n_images))
        keep = drawn_items(n_images, min(self.config.examples, len(items)))
        crafted = self._craft(name, items, keep)
        outcomes = self._outcomes(crafted)
        cell = self._cell(
            name,
            outcomes,
            attack_config={"method": entry["method"], **asdict(build_attack(name, entry))},
            threat_model=entry["threat_model"],
            curve=entry.get("curve"),
            checks=crafted.checks(),
        )
        return cell, attacked_examples(self.target, crafted, outcomes, self.clean.outcomes)

    def _compute_ensemble(self, name: str) -> tuple[Cell, pd.DataFrame]:
        section = self.cfg["ensembles"][name]
        n_images = len(self.split.images)
        items = drawn_items(n_images, section.get("items", n_images))
        clean = of_items(self.clean.outcomes, items)
        worst = WorstCase(clean, max(self.config.ks), direction=section.get("direction"))
        for member in section["members"]:
            if member in self.cells:
                worst.add(member, self.cells[member].outcomes)
            else:
                worst.attack_standing(
                    member,
                    lambda rows, of=member: self._outcomes(self._craft(of, rows, [])),  # type: ignore[misc]
                )
        cell = self._cell(
            name,
            worst.outcomes,
            attack_config={
                "ensemble": list(section["members"]),
                "direction": section.get("direction", "both"),
            },
            threat_model=section["threat_model"],
            checks={"standing": worst.standing},
        )
        return cell, pd.DataFrame(columns=SCHEMA.names)

    def _craft(self, name: str, items: Sequence[int], keep: Sequence[int]) -> Crafted:
        entry = self.cfg["attacks"][name]
        threat_model = self._threat_model(entry["threat_model"])
        return craft(
            self._source(threat_model),
            self.target,
            build_attack(name, entry),
            threat_model,
            self.language,
            items=items,
            keep=keep,
            name=name,
            seed=self.cfg["seed"],
            batch_images=self.config.batch_images,
        )

    def _outcomes(self, crafted: Crafted) -> pd.DataFrame:
        """Ranks with the truth of attacked captions; of some items under own_pair alone."""
        outcomes = split_ranks(
            crafted.embeddings(self.target), gallery_images=self.config.gallery_images
        )
        if len(crafted.items) < len(self.split.images):
            outcomes = of_items(outcomes, crafted.items)
        caption = outcomes["query"].where(outcomes["direction"] == "t2i", -1).to_numpy()
        true = np.where(caption >= 0, crafted.caption_true[caption], UNKNOWN)
        return outcomes.assign(caption_true=true.astype(np.int8))

    def _cell(
        self,
        name: str,
        outcomes: pd.DataFrame,
        *,
        attack_config: Section | None = None,
        threat_model: str | None = None,
        curve: str | None = None,
        checks: Section | None = None,
    ) -> Cell:
        named = None
        if threat_model is not None:
            named = {"name": threat_model, **asdict(self._threat_model(threat_model))}
        sizes = self.config.gallery_images
        return build_cell(
            self.origin,
            attack=name,
            attack_config=attack_config or {},
            threat_model=named,
            curve=curve,
            counts=gallery_counts(self.target.embeddings(), gallery_images=sizes),
            outcomes=outcomes,
            clean_outcomes=None if name == CLEAN else self.clean.outcomes,
            config=self.config,
            checks=checks or {},
        )


def build_attack(name: str, section: Section) -> Attack:
    """The attack of an `attacks` entry of a study."""
    fields = {key: value for key, value in section.items() if key not in ENTRY_KEYS}
    cls = resolve(ATTACKS, section["method"], kind="attack", base=Attack)
    return build(cls, fields, where=f"attacks.{name}")
