"""The verb `evaluate-model`: one model under every attack of a study, a cell for each."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from mmrobust.artifacts import sha256_file
from mmrobust.attacks import ATTACKS
from mmrobust.attacks.base import Attack, RetrievalBatch
from mmrobust.attacks.text_search import Substitutes
from mmrobust.config import EvaluationConfig, build
from mmrobust.data.prepared import Split, load_lexicon, load_manifest, load_split
from mmrobust.evaluation.cells import CLEAN, Cell, Origin, build_cell, gallery_counts, write_cell
from mmrobust.evaluation.retrieval import Embeddings, split_ranks
from mmrobust.evaluation.store import CellStore
from mmrobust.models.dual_encoder import OpenClipDualEncoder, load_model
from mmrobust.models.encoding import embed_captions, embed_images, to_pixels
from mmrobust.randomness import torch_generator
from mmrobust.registry import resolve
from mmrobust.runfacts import RunFacts
from mmrobust.threat import ThreatModel


@dataclass(frozen=True)
class Subject:
    """A model with the split it is evaluated on, and the clean embeddings of both."""

    model: OpenClipDualEncoder
    split: Split
    substitutes: Substitutes
    clean_image: np.ndarray[Any, np.dtype[np.float32]]
    clean_text: np.ndarray[Any, np.dtype[np.float32]]

    def embeddings(
        self,
        adversarial_image: np.ndarray[Any, np.dtype[np.float32]] | None = None,
        adversarial_text: np.ndarray[Any, np.dtype[np.float32]] | None = None,
    ) -> Embeddings:
        """Clean beside adversarial embeddings; without the latter, the clean ones twice."""
        return Embeddings(
            clean_image=self.clean_image,
            clean_text=self.clean_text,
            adversarial_image=self.clean_image if adversarial_image is None else adversarial_image,
            adversarial_text=self.clean_text if adversarial_text is None else adversarial_text,
            caption_image=self.split.caption_image,
            positives=self.split.positives,
        )


def evaluate_model(
    cfg: Mapping[str, Any], *, data: Path, model_folder: Path, out: Path, work: Path
) -> None:
    """Write the clean cell, one cell an attack, and `run.json` to `out`.

    Args:
        cfg: `study`, `defence`, `seed`, `threads`, `device`, sections `evaluation`, `attacks` and
            `threat_models`, and `code`: a fingerprint of the code behind each cell, by name.
        data: the prepared dataset.
        model_folder: the checkpoint.
        out: folder of the cells, `<defence>/seed<k>`.
        work: folder of the cell store.
    """
    facts = RunFacts("evaluate-model")
    torch.set_num_threads(cfg["threads"])
    evaluation = build(EvaluationConfig, cfg["evaluation"], where="evaluation")
    manifest = load_manifest(data)
    origin = Origin(
        study=cfg["study"],
        dataset=manifest["dataset"],
        split=evaluation.split,
        source_resolution=manifest["source_resolution"],
        defence=cfg["defence"],
        seed=cfg["seed"],
    )
    store = CellStore(work)
    shared_inputs = {
        "origin": asdict(origin),
        "evaluation": asdict(evaluation),
        "manifest": manifest["sha256"],
        "model": sha256_file(model_folder / "model.safetensors"),
        "architecture": sha256_file(model_folder / "model.json"),
        "tokenizer": tokenizer_digest(model_folder),
        "device": cfg["device"],
        "threads": cfg["threads"],
    }
    subject: Subject | None = None
    clean: Cell | None = None
    computed = []
    for name, attack in {CLEAN: None, **cfg["attacks"]}.items():
        inputs = {
            **shared_inputs,
            "attack": attack,
            "threat_model": attack and cfg["threat_models"][attack["threat_model"]],
            "name": name,
            "code": cfg["code"][name],
        }
        cell = store.get(inputs)
        if cell is None:
            computed.append(name)
            subject = subject or load_subject(cfg, evaluation, data, model_folder)
            cell = compute_cell(subject, origin, evaluation, name, inputs, clean)
            store.put(inputs, cell)
        clean = clean or cell
        write_cell(out / f"{name}.json", cell)
    facts.write(out / "run.json", cells_computed=computed)


def tokenizer_digest(model_folder: Path) -> str | None:
    """Digest of a checkpoint's own tokenizer; None for a model that brings open_clip's."""
    path = model_folder / "tokenizer.json"
    return sha256_file(path) if path.exists() else None


def load_subject(
    cfg: Mapping[str, Any], evaluation: EvaluationConfig, data: Path, model_folder: Path
) -> Subject:
    """Load the model and the split and embed both clean."""
    model = load_model(model_folder).to(cfg["device"])
    split = load_split(data, evaluation.split)
    lexicon = load_lexicon(data)
    images = [
        embed_images(model, batch.images.to(model.device))
        for batch in batches(split, evaluation.batch_images)
    ]
    return Subject(
        model=model,
        split=split,
        substitutes=lambda word: lexicon.get(word, ()),
        clean_image=torch.cat(images).cpu().numpy(),
        clean_text=embed_captions(model, split.captions).cpu().numpy(),
    )


def batches(split: Split, batch_images: int) -> Iterator[RetrievalBatch]:
    """Consecutive images of a split with all their captions."""
    for start in range(0, len(split.images), batch_images):
        stop = min(start + batch_images, len(split.images))
        first, last = np.searchsorted(split.caption_image, [start, stop])
        yield RetrievalBatch(
            images=to_pixels(split.images[start:stop]),
            captions=tuple(split.captions[first:last]),
            caption_image=torch.from_numpy(split.caption_image[first:last] - start),
        )


def compute_cell(
    subject: Subject,
    origin: Origin,
    evaluation: EvaluationConfig,
    name: str,
    inputs: Mapping[str, Any],
    clean: Cell | None,
) -> Cell:
    """Attack the split (or not, for the clean cell) and measure what is left of recall."""
    attack_config: dict[str, Any] = {}
    threat_model: dict[str, Any] | None = None
    embeddings = subject.embeddings()
    checks: dict[str, float] = {}
    if inputs["attack"] is not None:
        attack = build_attack(name, inputs["attack"])
        threat = build(ThreatModel, inputs["threat_model"], where="threat_models")
        attack_config = {"method": inputs["attack"]["method"], **asdict(attack)}
        threat_model = {"name": inputs["attack"]["threat_model"], **asdict(threat)}
        embeddings, checks = attack_split(
            subject, attack, threat, name=name, seed=origin.seed, batch=evaluation.batch_images
        )
    return build_cell(
        origin,
        attack=name,
        attack_config=attack_config,
        threat_model=threat_model,
        counts=gallery_counts(embeddings, gallery_images=evaluation.gallery_images),
        outcomes=split_ranks(embeddings, gallery_images=evaluation.gallery_images),
        clean_outcomes=None if clean is None else clean.outcomes,
        ks=evaluation.ks,
        n_resamples=evaluation.n_resamples,
        confidence=evaluation.confidence,
        checks=checks,
    )


def build_attack(name: str, section: Mapping[str, Any]) -> Attack:
    """The attack of an `attacks` entry of a study."""
    fields = {k: v for k, v in section.items() if k not in ("method", "threat_model")}
    cls = resolve(ATTACKS, section["method"], kind="attack", base=Attack)
    return build(cls, fields, where=f"attacks.{name}")


def attack_split(
    subject: Subject, attack: Attack, threat: ThreatModel, *, name: str, seed: int, batch: int
) -> tuple[Embeddings, dict[str, float]]:
    """Embeddings of the attacked split, and the budgets that the wrapper counted."""
    images, moved, changed = [], [], []
    captions: list[str] = []
    found = tqdm(
        batches(subject.split, batch),
        desc=name,
        total=-(-len(subject.split.images) // batch),
        unit="batch",
        file=sys.stderr,
        mininterval=0.5 if sys.stderr.isatty() else 10,
    )
    for number, clean in enumerate(found):
        device = subject.model.device
        adversarial = attack(
            subject.model,
            RetrievalBatch(clean.images.to(device), clean.captions, clean.caption_image),
            threat_model=threat,
            substitutes=subject.substitutes,
            generator=torch_generator(seed, "attack", name, number),
        )
        images.append(embed_images(subject.model, adversarial.images).cpu())
        captions += adversarial.captions
        moved.append(adversarial.perturbation.cpu())
        changed.append(adversarial.words_changed)
    checks = {
        "max_abs_perturbation": float(torch.cat(moved).max()),
        "max_words_changed": int(torch.cat(changed).max()),
        "mean_words_changed": float(torch.cat(changed).double().mean()),
    }
    return subject.embeddings(torch.cat(images).numpy(), embed_attacked(subject, captions)), checks


def embed_attacked(
    subject: Subject, captions: Sequence[str]
) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Embeddings (C, D) of attacked captions; one that reads like a clean caption takes its row.

    The last bits of an embedding depend on what else is in its batch. Equal captions must tie
    exactly, whoever wrote them, since ties count against the model.
    """
    rows = {caption: row for row, caption in enumerate(subject.split.captions)}
    new = {caption: None for caption in captions if caption not in rows}
    known = subject.clean_text
    if new:
        known = np.concatenate([known, embed_captions(subject.model, list(new)).cpu().numpy()])
        rows |= {caption: row for row, caption in enumerate(new, start=len(subject.clean_text))}
    return known[[rows[caption] for caption in captions]]
