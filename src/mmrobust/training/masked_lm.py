"""The verb `train-masked-lm`: a BERT for the text attacks, from the training split's captions.

Devlin et al. 2019 (arXiv:1810.04805), section 3.1, task 1: predict masked pieces.

Deviations:
    - each piece is chosen by itself with 15 % probability, anew in each epoch; the paper's code
      chooses 15 % of a sequence's pieces once for ten copies of the corpus.
    - one caption a sequence, without the second task (next sentence prediction).
    - a step's masks come from a generator of its own, so that a run is repeatable.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from pydantic import ConfigDict
from torch import Tensor

from mmrobust.artifacts import building, move_built, write_json
from mmrobust.config import build
from mmrobust.data.prepared import load_split
from mmrobust.errors import UserError
from mmrobust.models.bert import (
    BertArchitecture,
    PretrainedBert,
    build_masked_lm,
    learn_wordpieces,
    read_masked_lm,
)
from mmrobust.models.masked_lm import padded
from mmrobust.models.pretrained import quiet_transformers
from mmrobust.progress import progress_bar
from mmrobust.quantities import NonNegativeInt
from mmrobust.randomness import numpy_generator, torch_generator
from mmrobust.runfacts import RunFacts
from mmrobust.training.loop import OptimiserConfig, descend, learning_rate_at, make_optimizer

FILES = (
    *("model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    *("history.csv", "metrics.json", "run.json", "config.json"),
)
"""What the verb writes; `config.json`, without which nothing loads, comes last."""
CHOSEN, MASKED, REPLACED = 0.15, 0.8, 0.1
"""Share of pieces to be predicted, and shares of these: as [MASK], as a random piece."""
BATCHES_PER_POOL = 50
"""Batches whose captions are sorted by length among themselves, so that little is padded."""
DEV_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class MaskedLMConfig:
    """Either an `architecture` with its `training`, or a `pretrained` model.

    Fields:
        training: the loop; its batches are of captions, all of which an epoch visits.
        seed: of weights, batches and masks. A study has one masked language model, so this is
            none of the study's own seeds.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    architecture: BertArchitecture | None = None
    training: OptimiserConfig | None = None
    pretrained: PretrainedBert | None = None
    seed: NonNegativeInt = 0

    def __post_init__(self) -> None:
        if (self.architecture is None) == (self.pretrained is None):
            raise UserError("masked_lm: give either `architecture` or `pretrained`, and not both")
        if (self.architecture is None) != (self.training is None):
            raise UserError("masked_lm: `training` belongs to `architecture`, and only to it")


def train_masked_lm(cfg: Mapping[str, Any], *, data: Path, out: Path) -> None:
    """Train, or fetch, a masked language model and write `FILES` to `out`.

    Args:
        cfg: section `masked_lm`, `threads` and `device`.
        data: the prepared dataset. Only training captions are learned from; those of the dev
            split are what `metrics.json` is measured on.
        out: folder in transformers' format, with the loss curve (empty for a pretrained model),
            the metrics and the run's facts beside it.
    """
    facts = RunFacts("train-masked-lm")
    torch.set_num_threads(cfg["threads"])
    config = build(MaskedLMConfig, cfg["masked_lm"], where="masked_lm")
    history: list[tuple[int, float]] = []
    if config.pretrained is not None:
        model, tokenizer = read_masked_lm(config.pretrained.name, where="masked_lm.pretrained")
        model.to(cfg["device"])
    else:
        assert config.architecture is not None
        assert config.training is not None
        captions = load_split(data, "train").captions
        vocabulary = learn_wordpieces(captions, config.architecture.vocab_size)
        model, tokenizer = build_masked_lm(config.architecture, vocabulary, seed=config.seed)
        model.to(cfg["device"])
        rows = encode(tokenizer, captions, context=config.architecture.max_position_embeddings)
        history = fit(model, tokenizer, rows, config.training, seed=config.seed)
    metrics = measure(model, tokenizer, load_split(data, "dev").captions, seed=config.seed)
    _write(out, model, tokenizer, history=history, metrics=metrics, facts=facts)


def encode(tokenizer: Any, captions: Sequence[str], *, context: int) -> list[list[int]]:
    """Ids of captions, framed by [CLS] and [SEP] and cut to the context."""
    # The tokenizer's own truncation would stay switched on and be saved with it.
    rows = tokenizer(list(captions), add_special_tokens=False, verbose=False)["input_ids"]
    start, end = tokenizer.cls_token_id, tokenizer.sep_token_id
    return [[start, *row[: context - 2], end] for row in rows]


def mask_pieces(ids: Tensor, tokenizer: Any, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Choose pieces to be predicted and disguise them; special tokens are never chosen.

    Args:
        ids: (B, T) on the CPU.
        tokenizer: whose special tokens are let alone.
        generator: of the choice.

    Returns:
        The ids that the model is shown (B, T), and which positions are chosen, bool (B, T).
    """
    special = torch.tensor(sorted(tokenizer.all_special_ids))
    every = torch.arange(len(tokenizer))
    ordinary = every[~torch.isin(every, special)]
    chosen = torch.rand(ids.shape, generator=generator) < CHOSEN
    chosen &= ~torch.isin(ids, special)
    fate = torch.rand(ids.shape, generator=generator)
    others = ordinary[torch.randint(len(ordinary), ids.shape, generator=generator)]
    shown = torch.where(chosen & (fate < MASKED), tokenizer.mask_token_id, ids)
    return torch.where(chosen & (fate >= 1 - REPLACED), others, shown), chosen


def caption_batches(lengths: Sequence[int], batch_size: int, *, seed: int, epoch: int) -> Any:
    """Rows (S, batch_size) of the steps of an epoch, each batch of about equal lengths.

    Captions that fill no batch at the end of the shuffled order are left out of the epoch.
    """
    generator = numpy_generator(seed, "masked language model", "order", epoch)
    order = generator.permutation(len(lengths))
    order = order[: len(order) // batch_size * batch_size]
    size = np.asarray(lengths)
    pools = np.split(
        order, range(batch_size * BATCHES_PER_POOL, len(order), batch_size * BATCHES_PER_POOL)
    )
    order = np.concatenate([pool[np.argsort(size[pool], kind="stable")] for pool in pools])
    return generator.permutation(order.reshape(-1, batch_size))


def fit(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Sequence[int]],
    config: OptimiserConfig,
    *,
    seed: int,
) -> list[tuple[int, float]]:
    """Train a `BertForMaskedLM` in place; (step, loss) of each step.

    Raises:
        UserError: a batch larger than the training split, or a loss that is not finite.
    """
    per_epoch = len(rows) // config.batch_size
    if per_epoch == 0:
        raise UserError(
            f"masked_lm.training.batch_size: {config.batch_size} exceeds the {len(rows)} "
            "training captions"
        )
    total = config.epochs * per_epoch
    optimizer = make_optimizer(model, config)
    lengths = [len(row) for row in rows]
    history: list[tuple[int, float]] = []
    model.train()
    for step in _progress(history, total, config.batch_size):
        if step % per_epoch == 0:
            batches = caption_batches(
                lengths, config.batch_size, seed=seed, epoch=step // per_epoch
            )
        batch = [rows[row] for row in batches[step % per_epoch]]
        generator = torch_generator(seed, "masked language model", "masks", step)
        loss = _loss(model, tokenizer, batch, generator)
        if not torch.isfinite(loss):
            raise UserError(
                f"masked_lm.training: the loss is {loss.item()} at step {step}; "
                "lower masked_lm.training.learning_rate"
            )
        rate = learning_rate_at(step, total, config)
        descend(loss, model, optimizer, rate, config.max_gradient_norm)
        history.append((step, float(loss.detach())))
    model.eval()
    return history


def _loss(
    model: Any, tokenizer: Any, batch: Sequence[Sequence[int]], generator: torch.Generator
) -> Tensor:
    """Mean cross-entropy of the chosen pieces; the vocabulary's head sees no other position."""
    ids, attention = padded(batch, pad=tokenizer.pad_token_id)
    shown, chosen = mask_pieces(ids, tokenizer, generator)
    hidden = model.bert(input_ids=shown.to(model.device), attention_mask=attention.to(model.device))
    logits = model.cls(hidden[0][chosen.to(model.device)])  # (chosen, V)
    targets = ids[chosen].to(model.device)
    return F.cross_entropy(logits, targets, reduction="sum") / max(1, len(targets))


def _progress(history: list[tuple[int, float]], total: int, batch_size: int) -> Iterator[int]:
    """Count the steps, showing loss, captions per second and time left."""
    with progress_bar(total=total * batch_size, unit="caption") as bar:
        for step in range(total):
            yield step
            bar.set_postfix(loss=f"{history[-1][1]:.3f}", refresh=False)
            bar.update(batch_size)


@torch.no_grad()
def measure(
    model: Any, tokenizer: Any, captions: Sequence[str], *, seed: int
) -> dict[str, float | int]:
    """Loss and accuracy on masked pieces of captions that were not learned from."""
    context = min(model.config.max_position_embeddings, tokenizer.model_max_length)
    rows = sorted(encode(tokenizer, captions, context=context), key=len)
    correct = pieces = 0
    loss = 0.0
    model.eval()
    for start in range(0, len(rows), DEV_BATCH):
        ids, attention = padded(rows[start : start + DEV_BATCH], pad=tokenizer.pad_token_id)
        generator = torch_generator(seed, "masked language model", "dev masks", start)
        shown, chosen = mask_pieces(ids, tokenizer, generator)
        logits = model(shown.to(model.device), attention.to(model.device)).logits.cpu()[chosen]
        targets = ids[chosen]
        correct += int((logits.argmax(dim=1) == targets).sum())
        loss += float(F.cross_entropy(logits, targets, reduction="sum"))
        pieces += len(targets)
    return {
        "dev_accuracy": correct / max(1, pieces),
        "dev_loss": loss / max(1, pieces),
        "dev_pieces": pieces,
    }


def _write(
    out: Path,
    model: Any,
    tokenizer: Any,
    *,
    history: list[tuple[int, float]],
    metrics: Mapping[str, float | int],
    facts: RunFacts,
) -> None:
    """Build the folder beside `out` and move its files there, what makes it loadable last."""
    for key in ("name_or_path", "is_local", "local_files_only"):
        tokenizer.init_kwargs.pop(key, None)  # where it was read from is no part of it
    with building(out) as folder:
        with quiet_transformers():
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        pd.DataFrame(history, columns=["step", "loss"]).to_csv(folder / "history.csv", index=False)
        write_json(folder / "metrics.json", metrics)
        facts.write(folder / "run.json")
        move_built(folder, out, FILES)
