"""Everything that a study configures, made without running it: what `check-config` finds.

Planning checks what can be told without importing torch; the rest is told by each job when it
makes its own part. Here all parts are made at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmrobust.augment.chunks import build_augmenter
from mmrobust.config import EvaluationConfig, build
from mmrobust.data.prepare import build_dataset
from mmrobust.errors import UserError
from mmrobust.evaluation.evaluator import build_attack
from mmrobust.models.dual_encoder import ModelConfig
from mmrobust.models.tokenizer import TokenizerConfig
from mmrobust.threat import ThreatModel
from mmrobust.training.loop import TrainingConfig
from mmrobust.training.masked_lm import MaskedLMConfig
from mmrobust.training.run import build_method

if TYPE_CHECKING:
    from mmrobust.study import Study


def check_configured(study: Study, where: str) -> None:
    """Make every object of a study; `UserError` names the file and what can't be made."""
    try:
        _make_sections(study)
        for entry in study.augmentations.values():
            build_augmenter(entry)
        for name, entry in study.defences.items():
            build_method(entry)
            _build_training(study, entry, where=f"defences.{name}.training")
        for name, entry in study.attacks.items():
            build_attack(name, entry)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _make_sections(study: Study) -> None:
    build_dataset(study.dataset)
    build(TokenizerConfig, study.tokenizer, where="tokenizer")
    build(ModelConfig, study.model, where="model")
    build(TrainingConfig, study.training, where="training")
    build(EvaluationConfig, study.evaluation, where="evaluation")
    for name, entry in study.threat_models.items():
        build(ThreatModel, entry, where=f"threat_models.{name}")
    if study.masked_lm is not None:
        build(MaskedLMConfig, study.masked_lm, where="masked_lm")
    if study.judge is not None:
        build(ModelConfig, study.judge.get("model", study.model), where="judge.model")
        _build_training(study, study.judge, where="judge.training")


def _build_training(study: Study, entry: Mapping[str, Any], *, where: str) -> None:
    """The loop with what an entry lays over it."""
    build(TrainingConfig, {**study.training, **entry.get("training", {})}, where=where)
