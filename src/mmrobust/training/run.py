"""The verb `train-model`: one defence, one seed, from a prepared dataset to a checkpoint."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from mmrobust.artifacts import digest, replacing, sha256_file, together
from mmrobust.attacks.text_search.base import Language
from mmrobust.config import build
from mmrobust.data.augmented import Augmented, load_augmented
from mmrobust.data.prepared import LEXICON, MANIFEST, load_lexicon, load_manifest, load_split
from mmrobust.errors import UserError
from mmrobust.models.dual_encoder import ModelConfig, build_model, load_model, save_model
from mmrobust.registry import resolve
from mmrobust.runfacts import RunFacts
from mmrobust.training import TRAINING_METHODS
from mmrobust.training.base import TrainingMethod
from mmrobust.training.loop import HISTORY_COLUMNS, TrainingConfig, train
from mmrobust.training.pairs import TrainingData


def train_model(
    cfg: Mapping[str, Any],
    *,
    data: Path,
    tokenizer: Path,
    initial: Path | None,
    augmented: Mapping[str, Path],
    out: Path,
    work: Path,
    checkpoint_seconds: float,
) -> None:
    """Train and write `model.safetensors`, `model.json`, `history.csv` and `run.json` to `out`.

    Args:
        cfg: sections `model`, `training`, `defence` (with its `method`), and `seed`, `threads`
            and `device`. A defence's own `training` stands over the study's.
        data: the prepared dataset; only its training split is opened.
        tokenizer: file of the byte-pair tokenizer.
        initial: folder of the checkpoint to start from; None for random or pretrained weights.
        augmented: folders of the augmented sets that the defence names.
        out: folder of the checkpoint.
        work: folder of the resumable state; removed when the checkpoint is whole.
        checkpoint_seconds: wall time between states.
    """
    facts = RunFacts("train-model")
    torch.set_num_threads(cfg["threads"])
    model_config = build(ModelConfig, cfg["model"], where="model")
    method = build_method(cfg["defence"])
    if initial is None:
        model = build_model(model_config, tokenizer=tokenizer, seed=cfg["seed"])
    else:
        model = load_model(initial)
    model = model.to(cfg["device"])
    training = {**cfg["training"], **cfg["defence"].get("training", {})}
    config = build(TrainingConfig, training, where="training")
    history = train(
        model,
        TrainingData.of(
            load_split(data, "train"),
            captions_per_image=config.captions_per_image,
            augmented=_augmented_sets(cfg["defence"], augmented, data),
        ).first_items(config.items),
        method,
        config,
        language=Language(**vars(load_lexicon(data))),
        seed=cfg["seed"],
        state_file=work / "state.pt",
        inputs=digest({"cfg": cfg, "files": _input_files(data, tokenizer, initial, augmented)}),
        checkpoint_seconds=checkpoint_seconds,
    )
    with together():
        save_model(out, model, model_config, tokenizer=tokenizer)
        with replacing(out / "history.csv") as temporary:
            pd.DataFrame(history, columns=list(HISTORY_COLUMNS)).to_csv(temporary, index=False)
        facts.write(out / "run.json")
    shutil.rmtree(work, ignore_errors=True)


def _augmented_sets(
    defence: Mapping[str, Any], folders: Mapping[str, Path], data: Path
) -> list[Augmented]:
    """The sets that a defence names, each cut to as many augmentations of an item as it wants."""
    sets = []
    for name, n in defence.get("augmentations", {}).items():
        if name not in folders:
            raise UserError(f"train-model: no --augmented for {name!r} (wanted: NAME=FOLDER)")
        sets.append(load_augmented(folders[name], data=data).first(n))
    return sets


def _input_files(
    data: Path, tokenizer: Path, initial: Path | None, augmented: Mapping[str, Path]
) -> list[Any]:
    """Digests of the files that a training run reads."""
    prepared = load_manifest(data)["sha256"]
    read = {name: value for name, value in prepared.items() if name.startswith("train/")}
    weights = sha256_file(initial / "model.safetensors") if initial else None
    sets = {name: sha256_file(folder / MANIFEST) for name, folder in augmented.items()}
    return [digest(read), prepared[LEXICON], sha256_file(tokenizer), weights, sets]


def build_method(section: Mapping[str, Any]) -> TrainingMethod:
    """The training method of a `defences` entry of a study."""
    shared = ("method", "initial", "training", "augmentations")
    fields = {key: value for key, value in section.items() if key not in shared}
    name = section["method"]
    cls = resolve(TRAINING_METHODS, name, kind="training method", base=TrainingMethod)
    return build(cls, fields, where=f"defences.{name}")
