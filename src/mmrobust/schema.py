"""The JSON schema of a study, generated from the classes that its sections configure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from mmrobust.attacks import ATTACKS
from mmrobust.attacks.base import Attack
from mmrobust.augment import AUGMENTERS
from mmrobust.augment.base import Augmenter
from mmrobust.config import EvaluationConfig
from mmrobust.data import DATASETS
from mmrobust.models.dual_encoder import ModelConfig
from mmrobust.models.tokenizer import TokenizerConfig
from mmrobust.quantities import Distance
from mmrobust.registry import resolve
from mmrobust.schema_errors import NAME_PATTERN, SAYS
from mmrobust.study import ATTACK_FACTS, DECIDES_TRUTH, HAS_GRAMMAR, METHOD_FACTS, OF_DATASET
from mmrobust.threat import ThreatModel
from mmrobust.training import TRAINING_METHODS
from mmrobust.training.base import TrainingMethod
from mmrobust.training.loop import TrainingConfig
from mmrobust.training.masked_lm import MaskedLMConfig

Schema = dict[str, Any]


def study_schema() -> Schema:
    """Schema of `config/<study>.yaml`; every section refuses keys that its class doesn't have."""
    definitions: Schema = {}

    def of(cls: type, required: Schema | None = None, optional: Schema | None = None) -> Schema:
        schema = TypeAdapter(cls).json_schema(ref_template="#/$defs/{model}")
        definitions.update(schema.pop("$defs", {}))
        required, optional = required or {}, optional or {}
        schema["properties"] = {**schema.get("properties", {}), **required, **optional}
        schema["required"] = sorted({*schema.get("required", []), *required})
        schema["additionalProperties"] = False
        return schema

    def selected(
        registry: Mapping[str, str],
        key: str,
        required: Schema | None = None,
        optional: Schema | None = None,
    ) -> Schema:
        choices = {
            name: of(
                resolve(registry, name, kind=key, base=object),
                {key: {"const": name}, **(required or {})},
                optional,
            )
            for name in sorted(registry)
        }
        return {
            "type": "object",
            "required": [key],
            "properties": {key: {"enum": sorted(choices)}},
            "allOf": [
                {
                    "if": {"properties": {key: {"const": name}}, "required": [key]},
                    "then": choice,
                }
                for name, choice in choices.items()
            ],
        }

    def named(entry: Schema) -> Schema:
        return {
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": NAME_PATTERN},
            "additionalProperties": entry,
        }

    training = of(TrainingConfig)
    partial_training: Schema = {**training, "required": [], "minProperties": 1}
    model: Schema = {
        **of(ModelConfig),
        "oneOf": _either(
            (("architecture",), ("pretrained",)), (("pretrained",), ("architecture",))
        ),
        SAYS: "give either `architecture` or `pretrained`",
    }
    of_a_defence: Schema = {"initial": {"type": "string"}, "training": partial_training}
    count: Schema = {"type": "integer", "minimum": 1}
    of_a_defence["augmentations"] = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": count,
    }
    of_an_augmentation = {"seed": {"type": "integer", "minimum": 0}, "workers": count}
    of_an_attack = {
        "items": {"type": "integer", "minimum": 1},
        "standalone": {"type": "boolean"},
        "defences": _names(),
    }
    properties: Schema = {
        "study": {"type": "string", "pattern": NAME_PATTERN},
        "title": {"type": "string"},
        "seeds": {
            "type": "array",
            "minItems": 1,
            "uniqueItems": True,
            "items": {"type": "integer", "minimum": 0},
        },
        "data_seed": {"type": "integer", "minimum": 0},
        "threads": {"type": "integer", "minimum": 1},
        "device": {"enum": ["cpu", "cuda"]},
        "dataset": {
            **selected(DATASETS, "name"),
            DECIDES_TRUTH: _datasets_that("decides_truth"),
            HAS_GRAMMAR: _datasets_that("has_grammar"),
        },
        "tokenizer": of(TokenizerConfig),
        "masked_lm": {
            **of(MaskedLMConfig),
            "oneOf": _either(
                (("architecture", "training"), ("pretrained",)),
                (("pretrained",), ("architecture", "training")),
            ),
            SAYS: "give either `architecture` with its `training`, or `pretrained`",
        },
        "model": model,
        "training": training,
        "augmentations": {
            **named(selected(AUGMENTERS, "method", {"n": count}, of_an_augmentation)),
            "minProperties": 0,
            OF_DATASET: _augmenters_of_a_dataset(),
        },
        "judge": {
            "type": "object",
            "required": ["seed"],
            "properties": {
                "seed": {"type": "integer", "minimum": 0},
                "model": model,
                "training": partial_training,
                "max_items": count,
            },
            "additionalProperties": False,
        },
        "threat_models": named(of(ThreatModel)),
        "defences": {
            **named(selected(TRAINING_METHODS, "method", optional=of_a_defence)),
            METHOD_FACTS: {name: _method_facts(name) for name in sorted(TRAINING_METHODS)},
        },
        "attacks": {
            **named(
                selected(ATTACKS, "method", {"threat_model": {"type": "string"}}, of_an_attack)
            ),
            # Read when a study is planned, where importing the attacks would cost seconds.
            ATTACK_FACTS: {name: _attack_facts(name) for name in sorted(ATTACKS)},
        },
        "curves": {**named(_curve()), "minProperties": 0},
        "ensembles": {**named(_ensemble()), "minProperties": 0},
        "sweeps": {**named(_sweep()), "minProperties": 0},
        "evaluation": of(EvaluationConfig),
        "claims": {"type": "array", "uniqueItems": True, "items": {"type": "string"}},
        "targets": {**named(_names()), "minProperties": 0},
    }
    _require_kinds(definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mmrobust study",
        "type": "object",
        "properties": properties,
        "required": [
            *("study", "title", "seeds", "dataset", "model", "training"),
            *("threat_models", "defences", "attacks", "evaluation"),
        ],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _attack_facts(name: str) -> Schema:
    """What planning must know of an attack with its default fields."""
    attack = resolve(ATTACKS, name, kind="attack", base=Attack)()
    return {
        "perturbs": sorted(attack.perturbs()),
        "uses_gradients": attack.uses_gradients(),
        "uses_masked_lm": attack.uses_masked_lm(),
    }


def _method_facts(name: str) -> Schema:
    """Of a training method, whether it is held to its start, and the towers that train."""
    cls = resolve(TRAINING_METHODS, name, kind="training method", base=TrainingMethod)
    return {"needs_original": cls.needs_original, "towers": cls().trained()}


def _augmenters_of_a_dataset() -> dict[str, str]:
    """The augmentation methods that only one dataset can be augmented by, and which."""
    classes = {
        name: resolve(AUGMENTERS, name, kind="augmentation method", base=Augmenter)
        for name in sorted(AUGMENTERS)
    }
    return {name: cls.of_dataset for name, cls in classes.items() if cls.of_dataset is not None}


def _datasets_that(constant: str) -> list[str]:
    """Names of the datasets of which a class constant is true."""
    classes = {name: resolve(DATASETS, name, kind="dataset", base=object) for name in DATASETS}
    return sorted(name for name, cls in classes.items() if vars(cls).get(constant, False))


def _require_kinds(definitions: Schema) -> None:
    """Ask for the `kind` that tells a part of a text search, whatever its class defaults to."""
    for definition in definitions.values():
        if "const" in definition.get("properties", {}).get("kind", {}):
            definition["required"] = sorted({"kind", *definition.get("required", [])})


def _either(*branches: tuple[tuple[str, ...], tuple[str, ...]]) -> list[Schema]:
    """One of several sets of keys: what each asks for, and what it leaves out (or null)."""
    return [
        {
            "required": list(given),
            "properties": {
                **{key: {"not": {"type": "null"}} for key in given},
                **{key: {"type": "null"} for key in absent},
            },
        }
        for given, absent in branches
    ]


def _names() -> Schema:
    """Distinct names, at least one."""
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"type": "string"}}


def _curve() -> Schema:
    """A curve: an attack of the study over several budgets, by `eps` or by `words`."""
    distance: Schema = TypeAdapter(Distance).json_schema()
    return {
        "type": "object",
        "required": ["attack"],
        "properties": {
            "attack": {"type": "string"},
            "eps": _distinct(distance),
            "words": _distinct({"type": "integer", "minimum": 0}),
            "items": {"type": "integer", "minimum": 1},
            "defences": _names(),
        },
        "additionalProperties": False,
        "oneOf": [{"required": ["eps"]}, {"required": ["words"]}],
        SAYS: "give either `eps` or `words`",
    }


def _distinct(of: Schema) -> Schema:
    """The values of a curve or sweep."""
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": of}


def _ensemble() -> Schema:
    """An ensemble: the worst case over attacks of the study, query by query."""
    return {
        "type": "object",
        "required": ["threat_model", "members"],
        "properties": {
            "threat_model": {"type": "string"},
            "members": _names(),
            "direction": {"enum": ["i2t", "t2i"]},
            "items": {"type": "integer", "minimum": 1},
            "defences": _names(),
        },
        "additionalProperties": False,
    }


def _sweep() -> Schema:
    """A sweep: a defence over several values of an augmentation's field, or over how many."""
    by_field: Schema = {
        "required": ["field", "values"],
        "properties": {"field": {"not": {"const": "n"}}, "n": False},
    }
    return {
        "type": "object",
        "required": ["defence", "augmentation"],
        "properties": {
            "defence": {"type": "string"},
            "augmentation": {"type": "string"},
            "field": {"type": "string"},
            "values": _distinct({"type": ["number", "string", "boolean", "null"]}),
            "n": _distinct({"type": "integer", "minimum": 1}),
        },
        "additionalProperties": False,
        "oneOf": [
            by_field,
            {"required": ["n"], "properties": {"field": False, "values": False}},
        ],
        SAYS: "give either `field` with its `values`, or `n`",
    }
