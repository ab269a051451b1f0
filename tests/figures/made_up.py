"""A made-up study with plausible numbers, written in the layout of a real one."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmrobust.claims.ledger import COLUMNS as CLAIM_COLUMNS
from mmrobust.evaluation.tables import COLUMNS

DEFENCES = ("standard", "tecoa", "mat")
ATTACKS = ("clean", "pgd", "word_substitution", "sga")
RECALL_AT_1 = {
    "standard": (0.655, 0.121, 0.402, 0.032),
    "tecoa": (0.548, 0.391, 0.297, 0.231),
    "mat": (0.601, 0.428, 0.541, 0.487),
}
POSITIVES = {"i2t": 7.25, "t2i": 1.45}


def metric_rows(
    *,
    seeds: Sequence[int] = (0,),
    dataset: str = "scenes",
    source_resolution: str = "",
    scale: float = 1.0,
) -> list[dict[str, Any]]:
    """Rows of a full `metrics.csv`: 3 defences x 4 attacks, both protocols, both label kinds."""
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    for defence in DEFENCES:
        for seed in seeds:
            drift = rng.normal(0, 0.015)
            for attack, base in zip(ATTACKS, RECALL_AT_1[defence], strict=True):
                head = {
                    "study": dataset,
                    "dataset": dataset,
                    "source_resolution": source_resolution,
                    "defence": defence,
                    "seed": seed,
                    "attack": attack,
                    "threat_model": "" if attack == "clean" else "white_box_2_255_1word",
                    "images": 2000,
                    "captions": 10000,
                    "gallery_images": 400,
                    "gallery_captions": 2000,
                }
                clean = RECALL_AT_1[defence][0]
                for protocol, kept in (("full_gallery", 1.0), ("own_pair", 1.05)):
                    for direction, part, n in (("i2t", 1.0, 2000), ("t2i", 0.72, 10000)):
                        for labels, more in (("one_image", 1.0), ("positives", 1.13)):
                            value = max(scale * part * more * (base + drift) * kept, 0.002)
                            row = head | {
                                "protocol": protocol,
                                "direction": direction,
                                "labels": labels,
                                "confidence": 0.95,
                                "positives_per_query": POSITIVES[direction],
                            }
                            for k, growth in ((1, 1.0), (5, 0.45), (10, 0.33)):
                                rows.append(row | _measure("recall_at_k", k, value**growth, n))
                            if attack != "clean":
                                lost = float(np.clip(1 - base / clean, 0.02, 0.99))
                                right = int(scale * n * clean * part * more)
                                rows.append(row | _measure("attack_success_rate", 1, lost, right))
    return rows


def _measure(metric: str, k: int, value: float, n: int) -> dict[str, Any]:
    successes = round(value * n)
    value = successes / n
    half = 1.96 * float(np.sqrt(value * (1 - value) / n)) * 1.3
    exact = metric == "attack_success_rate"
    return {
        "metric": metric,
        "k": k,
        "value": value,
        "low": max(value - half, 0.0),
        "high": min(value + half, 1.0),
        "n": n,
        "successes": successes,
        "interval": "clopper_pearson" if exact else "bootstrap_percentile",
    }


def write_metrics(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


CLAIMS = [
    {
        "id": "mat_beats_image_adversarial_training",
        "statement": "Under the joint attack, MAT retrieves more than image-only adversarial "
        "training.",
        "source": "arXiv:2405.18770, Table 1",
        "statistic": "recall at 1, i2t, one-image labels: mat under sga minus tecoa under sga",
        "estimate": 0.2560,
        "low": 0.2290,
        "high": 0.2815,
        "margin": 0.0,
        "verdict": "reproduced",
        "note": "The world and the recipe were chosen on dev scenes so that the effect is visible.",
    },
    {
        "id": "undefended_collapses",
        "statement": "The undefended model collapses under the joint attack.",
        "source": "arXiv:2405.18770, Section 5",
        "statistic": "recall at 1, i2t, one-image labels: standard under sga",
        "estimate": 0.0320,
        "low": 0.0245,
        "high": 0.0405,
        "margin": 0.15,
        "verdict": "reproduced",
        "note": "",
    },
    {
        "id": "image_defence_protects_words",
        "statement": "Image-only adversarial training also protects against changed words.",
        "source": "arXiv:2405.18770, Section 4",
        "statistic": "recall at 1, i2t: tecoa minus standard, both under word_substitution",
        "estimate": -0.1085,
        "low": -0.1320,
        "high": -0.0850,
        "margin": 0.02,
        "verdict": "contradicted",
        "note": "",
    },
    {
        "id": "one_to_many_helps",
        "statement": "Several captions an image make the defence stronger.",
        "source": "https://example.org/paper#table-3",
        "statistic": "recall at 1, i2t: mat_plus under sga minus mat under sga",
        "estimate": 0.0110,
        "low": -0.0080,
        "high": 0.0305,
        "margin": 0.0,
        "verdict": "inconclusive",
        "note": "",
    },
    {
        "id": "paper_scale",
        "statement": "The gain holds for the paper's model.",
        "source": "arXiv:2405.18770, Table 2",
        "statistic": "recall at 1, t2i: mat under sga minus tecoa under sga",
        "estimate": "",
        "low": "",
        "high": "",
        "margin": 0.0,
        "verdict": "missing",
        "note": "cell mat/seed0/sga of study paper has not been run",
    },
]


def write_claims(path: Path, claims: Sequence[dict[str, Any]] = CLAIMS) -> Path:
    common = {"study": "scenes", "confidence": 0.95, "n": 2000, "seeds": "0"}
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, CLAIM_COLUMNS)
        writer.writeheader()
        writer.writerows([common | claim for claim in claims])
    return path


def config(dataset: str = "scenes") -> dict[str, Any]:
    budget = {"knowledge": "white_box", "image": {"norm": "linf", "eps": "2/255"}}
    return {
        "study": dataset,
        "title": "Who survives a joint attack on pixels and words?",
        "seeds": [0],
        "data_seed": 0,
        "threads": 1,
        "dataset": {"name": dataset, "test": 2000},
        "tokenizer": {"vocab_size": 512},
        "model": {"embed_dim": 128, "image_size": 40},
        "training": {"epochs": 12, "batch_size": 128, "learning_rate": 0.001},
        "threat_models": {"white_box_2_255_1word": budget | {"text": {"words": 1}}},
        "defences": {name: {"method": name} for name in DEFENCES},
        "attacks": {
            name: {"method": name, "threat_model": "white_box_2_255_1word"} for name in ATTACKS[1:]
        },
        "evaluation": {
            "split": "test",
            "gallery_images": [400],
            "ks": [1, 5, 10],
            "n_resamples": 2000,
            "confidence": 0.95,
        },
        "claims": [claim["id"] for claim in CLAIMS],
    }


def write_study(results: Path, **options: Any) -> Path:
    """A whole `results/<study>/` without figures."""
    write_metrics(results / "metrics.csv", metric_rows(**options))
    write_claims(results / "claims.csv")
    rng = np.random.default_rng(1)
    for order, defence in enumerate(DEFENCES):
        for seed in options.get("seeds", (0,)):
            model = results / "models" / defence / f"seed{seed}"
            cell = results / "cells" / defence / f"seed{seed}"
            model.mkdir(parents=True)
            cell.mkdir(parents=True)
            _write_run(model / "run.json", "train-model", 61.5 + 40 * order)
            _write_run(cell / "run.json", "evaluate-model", 95.0)
            for attack in ATTACKS:
                record = _record(defence=defence, seed=seed, attack=attack)
                (cell / f"{attack}.json").write_text(json.dumps(record), encoding="utf-8")
            steps = np.arange(1, 401)
            loss = (4.2 + 0.3 * order) * np.exp(-steps / (140 + 40 * order)) + 0.9 + 0.2 * order
            lines = ["step,epoch,learning_rate,loss"] + [
                f"{step},{step // 40},{1e-3 * (1 - step / 400):.6g},{value:.6g}"
                for step, value in zip(steps, loss + rng.normal(0, 0.08, len(steps)), strict=True)
            ]
            (model / "history.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return results


def _record(*, attack: str, **names: Any) -> dict[str, Any]:
    """A cell's record as far as the report reads it: the metrics stand in `metrics.csv`."""
    checks = {"max_abs_perturbation": 2 / 255, "max_words_changed": 1, "mean_words_changed": 0.9}
    gallery = {"gallery_images": 400, "galleries": 5, "gallery_captions": 2000}
    return names | {
        "schema_version": 1,
        "study": "scenes",
        "dataset": "scenes",
        "split": "test",
        "source_resolution": None,
        "attack": attack,
        "attack_config": {},
        "threat_model": None,
        "counts": {
            "images": 2000,
            "captions": 10000,
            "galleries": [gallery | {"positives_per_query": POSITIVES}],
        },
        "metrics": [],
        "checks": {} if attack == "clean" else checks,
    }


def _write_run(path: Path, verb: str, wall: float) -> None:
    facts = {
        "verb": verb,
        "wall_s": wall,
        "peak_memory_mb": 812.4,
        "processor": "Made-up Processor 9000",
        "cores": 2,
        "memory_gb": 24,
        "python": "3.11.7",
        "versions": {"numpy": "2.4.1", "torch": "2.15.0", "open_clip_torch": None},
        "git_commit": "0123456789abcdef0123456789abcdef01234567",
    }
    path.write_text(json.dumps(facts), encoding="utf-8")
