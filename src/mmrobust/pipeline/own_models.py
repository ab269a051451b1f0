"""Models that a configuration names by their place on this machine, and not on a hub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmrobust.study import Section, Study


def pretrained(model: Section | None) -> str:
    """The weights that a section `model` starts from, by place or on a hub; empty if none."""
    return str((model or {}).get("pretrained", {}).get("weights", ""))


def judge_model(study: Study) -> Section:
    """The section `model` of the judge."""
    model: Section = (study.judge or {}).get("model", study.model)
    return model


def masked_lm(study: Study) -> str:
    """The masked language model that is taken as it is, by place or on a hub; empty if none."""
    return str((study.masked_lm or {}).get("pretrained", {}).get("name", ""))


def augmenter(study: Study, augmentation: str) -> str:
    """The model that makes an augmented set, by place or on a hub; empty if none."""
    return str(study.augmentations[augmentation].get("model", ""))


def sources(study: Study) -> Iterator[str]:
    """Checkpoints of other studies that attacks are crafted on."""
    yield from (of["source"] for of in study.threat_models.values() if "/" in of.get("source", ""))


def named(study: Study) -> list[str]:
    """All of these; some may be on a hub."""
    models = [pretrained(study.model), pretrained(judge_model(study)), masked_lm(study)]
    makers = [augmenter(study, name) for name in study.augmentations]
    return [name for name in [*models, *makers, *sources(study)] if name]


def files_of(name: str) -> list[str]:
    """The files of a model; none of one on a hub."""
    if not name:
        return []
    if Path(name).is_file():
        return [name]
    return sorted(str(path) for path in Path(name).rglob("*") if path.is_file())
