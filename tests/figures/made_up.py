"""A made-up study with plausible numbers, written in the layout of a real one."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from mmrobust.claims.ledger import COLUMNS as CLAIM_COLUMNS
from mmrobust.evaluation.tables import COLUMNS, FLAG_COLUMNS
from mmrobust.example_records import SCHEMA, write_examples

DEFENCES = ("standard", "tecoa", "mat")
ATTACKS = ("clean", "pgd", "word_substitution", "sga")
RECALL_AT_1 = {
    "standard": (0.655, 0.121, 0.402, 0.032),
    "tecoa": (0.548, 0.391, 0.297, 0.231),
    "mat": (0.601, 0.428, 0.541, 0.487),
}
POSITIVES = {"i2t": 7.25, "t2i": 1.45}


EPS, WORDS = 2 / 255, 2
PIXELS = {"knowledge": "white_box", "image_norm": "linf", "image_eps": EPS}
TRUE_WORDS = {"knowledge": "white_box", "text_words": WORDS, "keeps_truth": True}
FREE_WORDS = TRUE_WORDS | {"keeps_truth": False}
FACTS: dict[str, dict[str, Any]] = {
    "clean": {},
    "pgd": PIXELS | {"attack_method": "pgd"},
    "word_substitution": TRUE_WORDS | {"attack_method": "word_substitution"},
    "sga": PIXELS | TRUE_WORDS | {"attack_method": "sga"},
}
"""What the table says of an attack and its threat model; empty columns are left out."""

BOTH = ("full_gallery", "own_pair")
SUITE: dict[str, dict[str, Any]] = {
    "apgd": {"facts": PIXELS | {"attack_method": "apgd"}, "kept": (0.12, 0.66, 0.64)},
    "square": {
        "facts": PIXELS | {"attack_method": "square", "knowledge": "query"},
        "kept": (0.7, 0.9, 0.88),
        "items": 200,
    },
    "sga_transfer": {
        "facts": PIXELS
        | TRUE_WORDS
        | {"attack_method": "sga", "knowledge": "transfer", "source": "standard"},
        "kept": (0.05, 0.7, 0.92),
    },
    "bert_attack": {
        "facts": FREE_WORDS | {"attack_method": "bert_attack"},
        "kept": (0.5, 0.45, 0.7),
        "truth": 0.34,
    },
    "bert_attack_released": {
        "facts": FREE_WORDS | {"attack_method": "bert_attack_released"},
        "kept": (0.62, 0.57, 0.78),
        "truth": 0.52,
    },
    "co_attack": {
        "facts": PIXELS | FREE_WORDS | {"attack_method": "co_attack"},
        "kept": (0.1, 0.45, 0.7),
        "truth": 0.4,
    },
    "dra": {"facts": PIXELS | TRUE_WORDS | {"attack_method": "dra"}, "kept": (0.04, 0.4, 0.78)},
    "adaptive": {
        "facts": PIXELS | TRUE_WORDS | {"attack_method": "adaptive"},
        "kept": (0.02, 0.37, 0.7),
        "items": 200,
    },
    "strongest": {
        "facts": PIXELS | TRUE_WORDS | {"worst_case": "both"},
        "kept": (0.01, 0.33, 0.66),
        "items": 200,
    },
}
"""Further attacks: what they keep of the clean recall of `DEFENCES`, on how many items of how many
captions they stay true. `strongest` is an ensemble; an attack on some items has no full gallery."""

CURVES = {"pixels": ("pgd", "eps", (1, 2, 4, 8, 16)), "words": ("sga", "words", (0, 1, 2, 3))}


def metric_rows(
    *,
    seeds: Sequence[int] = (0,),
    dataset: str = "scenes",
    source_resolution: str = "",
    scale: float = 1.0,
    suite: bool = False,
) -> list[dict[str, Any]]:
    """Rows of a full `metrics.csv`: 3 defences x 4 attacks, both protocols, both label kinds.

    With `suite` also those of `SUITE` and of the points of `CURVES`.
    """
    rng = np.random.default_rng(0)
    rows: list[dict[str, Any]] = []
    study = {"study": dataset, "dataset": dataset, "source_resolution": source_resolution}
    for at, defence in enumerate(DEFENCES):
        for seed in seeds:
            drift = rng.normal(0, 0.015)
            clean = RECALL_AT_1[defence][0]
            model = study | {"defence": defence, "seed": seed}
            for attack, base in zip(ATTACKS, RECALL_AT_1[defence], strict=True):
                head = model | {"attack": attack} | FACTS[attack]
                rows += _cell_rows(head, scale * (base + drift), scale * (clean + drift))
            for attack, of in SUITE.items() if suite else ():
                head = model | {"attack": attack} | of["facts"]
                recall = scale * (of["kept"][at] * clean + drift / 4)
                rows += _cell_rows(head, recall, scale * (clean + drift), items=of.get("items"))
                rows += _truth_rows(head, of.get("truth", 1.0), items=of.get("items"))
            for head, kept in curve_points(at) if suite else ():
                recall = scale * (kept * clean + drift / 4)
                rows += _cell_rows(model | head, recall, scale * (clean + drift), items=200)
    return rows


def curve_points(defence: int) -> list[tuple[dict[str, Any], float]]:
    """What the table says of each point of each curve, and the share of recall that it leaves."""
    points = []
    for curve, (attack, over, budgets) in CURVES.items():
        for budget in budgets:
            name = f"{attack}_{over}_{budget}" + ("_255" if over == "eps" else "")
            changed = {"image_eps": budget / 255} if over == "eps" else {"text_words": budget}
            head = FACTS[attack] | changed | {"attack": name, "curve": curve}
            start = 1.0 if over == "eps" else 0.5
            kept = start * float(np.exp(-budget / (1.2, 7.0, 6.0)[defence]))
            points.append((head, kept))
    return points


def _cell_rows(
    facts: dict[str, Any], base: float, clean: float, *, items: int | None = None
) -> list[dict[str, Any]]:
    head = _head(facts, items)
    images = items or 2000
    rows = []
    for protocol, kept in (("full_gallery", 1.0), ("own_pair", 1.05)):
        if items is not None and protocol == "full_gallery":
            continue
        for direction, part, n in (("i2t", 1.0, images), ("t2i", 0.72, 5 * images)):
            for labels, more in (("one_image", 1.0), ("positives", 1.13)):
                value = max(part * more * base * kept, 0.002)
                row = head | {
                    "protocol": protocol,
                    "direction": direction,
                    "labels": labels,
                    "positives_per_query": POSITIVES[direction],
                }
                for k, growth in ((1, 1.0), (5, 0.45), (10, 0.33)):
                    rows.append(row | _measure("recall_at_k", k, value**growth, n))
                if facts["attack"] != "clean":
                    lost = float(np.clip(1 - base / clean, 0.02, 0.99))
                    right = int(n * clean * part * more)
                    rows.append(row | _measure("attack_success_rate", 1, lost, right))
                    drop = part * more * (clean - base)
                    rows.append(row | _measure("recall_drop", 1, drop, n))
    return rows


def _truth_rows(facts: dict[str, Any], share: float, *, items: int | None) -> list[dict[str, Any]]:
    """The share of true captions of an attack that changes words."""
    if "text_words" not in facts:
        return []
    row = _head(facts, items) | {
        "protocol": "own_pair",
        "direction": "t2i",
        "labels": "one_image",
        "positives_per_query": POSITIVES["t2i"],
    }
    return [row | _measure("caption_truth", 1, share, 5 * (items or 2000)) | {"k": ""}]


def _head(facts: dict[str, Any], items: int | None) -> dict[str, Any]:
    attack = facts["attack"]
    return {
        **facts,
        "threat_model": "" if attack == "clean" else "white_box_2_255_2words",
        "images": 2000,
        "captions": 10000,
        "attacked_images": items or 2000,
        "gallery_images": 400,
        "gallery_captions": 2000,
        "confidence": 0.95,
    }


def _measure(metric: str, k: int, value: float, n: int) -> dict[str, Any]:
    successes = round(value * n)
    value = successes / n
    spread = abs(value)
    half = 1.96 * float(np.sqrt(spread * (1 - spread) / n)) * 1.3
    exact = metric == "attack_success_rate"
    return {
        "metric": metric,
        "k": k,
        "value": value,
        "low": max(value - half, -1.0 if metric == "recall_drop" else 0.0),
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


def laid_out(table: pd.DataFrame, scales: Mapping[str, float]) -> pd.DataFrame:
    """The table with defences of a sweep over MAT, of which each keeps a share of its recall."""
    base = table[table["defence"] == "mat"]
    added = [
        base.assign(defence=name, **{key: base[key] * scale for key in ("value", "low", "high")})
        for name, scale in scales.items()
    ]
    return pd.concat([table, *added], ignore_index=True)


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
        "curves": {},
        "ensembles": {},
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
    write_flags(results / "flags.csv")
    write_all_examples(results)
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
    checks = {
        "max_perturbation": EPS,
        "max_words_changed": 2,
        "mean_words_changed": 1.9,
        "max_characters_changed": 9,
        "zero_gradients": None,
        "image_passes": 20.0,
        "captions_true": {
            **{"value": 0.9, "low": 0.88, "high": 0.92, "n": 10000},
            "interval": "bootstrap_percentile",
        },
    }
    gallery = {"gallery_images": 400, "galleries": 5, "gallery_captions": 2000}
    return names | {
        "schema_version": 2,
        "study": "scenes",
        "dataset": "scenes",
        "split": "test",
        "source_resolution": None,
        "attack": attack,
        "attack_config": {},
        "threat_model": None,
        "curve": None,
        "protocols": list(BOTH),
        "flags": [],
        "counts": {
            "images": 2000,
            "captions": 10000,
            "attacked_images": 2000,
            "attacked_captions": 10000,
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


CAPTIONS = (
    "a small crimson circle above a large navy square on a pale background",
    "there is a tiny red circle over a big blue square",
    "a picture of a little ruby disc which is above one huge dark blue square on a pale ground",
)
ATTACKED_CAPTIONS = (
    "a small crimson circle above a sizable indigo square on a pale background",
    "there is a tiny green circle over a big blue square",
    "a picture of a little ruby disk which is above one enormous dark blue square on a pale ground",
)
CAPTIONS_TRUE = (1, 0, 1)


def example_rows(*, defence: int = 0, images: Sequence[int] = (3, 8, 15, 21)) -> pd.DataFrame:
    """Attacked items: the second caption became false; the better the defence, the less is lost."""
    rng = np.random.default_rng(defence)
    rows = []
    for image in images:
        clean = np.full((32, 32, 3), 0.85) - 0.02 * (image % 5)
        clean[18:30, 10:26] = (0.1, 0.1, 0.5)
        y, x = np.mgrid[:32, :32]
        clean[(y - 9) ** 2 + (x - 8 - image % 7) ** 2 < 20] = (0.8, 0.1, 0.15)
        delta = EPS * rng.choice([-1.0, 1.0], clean.shape)
        lost = (14, 3, 1)[defence]
        rows.append(
            {
                "image": image,
                "clean": png(clean),
                "adversarial": png(clean + delta),
                "perturbation": png(0.5 + 0.5 / EPS * delta),
                "magnification": 0.5 / EPS,
                "captions": list(CAPTIONS),
                "adversarial_captions": list(ATTACKED_CAPTIONS),
                "captions_true": list(CAPTIONS_TRUE),
                "i2t_rank": 1,
                "adversarial_i2t_rank": lost,
                "t2i_ranks": [1, 2, 1],
                "adversarial_t2i_ranks": [lost, 2 * lost + 1, lost],
            }
        )
    return pd.DataFrame(rows, columns=SCHEMA.names)


def png(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.rint(255 * np.clip(pixels, 0, 1)).astype(np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_all_examples(results: Path, attacks: Sequence[str] = ("pgd", "sga")) -> Path:
    """Examples of every defence under some attacks, in the layout of a study."""
    for order, defence in enumerate(DEFENCES):
        for attack in attacks:
            path = results / "examples" / defence / "seed0" / f"{attack}.parquet"
            write_examples(path, example_rows(defence=order))
    return results


FLAGS: list[dict[str, Any]] = [
    {
        "defence": "tecoa",
        "attack": "pgd",
        "flag": "zero_gradients",
        "raised": True,
        "value": 0.125,
    },
    {
        "defence": "tecoa",
        "attack": "pgd",
        "flag": "query_beats_gradients",
        "raised": True,
        "value": -0.08,
        "low": -0.13,
        "high": -0.03,
        "against": "square",
    },
    *(
        {
            "defence": defence,
            "attack": "sga",
            "flag": "zero_gradients",
            "raised": False,
            "value": 0.0,
        }
        for defence in DEFENCES
    ),
    {
        "defence": "mat",
        "attack": "sga",
        "flag": "transfer_beats_white_box",
        "raised": False,
        "value": 0.11,
        "low": 0.06,
        "high": 0.17,
        "against": "sga_transfer",
    },
]


def write_flags(path: Path, flags: Sequence[dict[str, Any]] = FLAGS) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, FLAG_COLUMNS)
        writer.writeheader()
        writer.writerows([{"study": "scenes", "seed": 0, "n": 200} | flag for flag in flags])
    return path


def suite_config() -> dict[str, Any]:
    """The configuration of a study with `SUITE` and `CURVES`, its curves laid out."""
    cfg = config()
    for attack, of in SUITE.items():
        if "attack_method" in of["facts"]:
            entry = {
                "method": of["facts"]["attack_method"],
                "threat_model": "white_box_2_255_1word",
            }
            cfg["attacks"][attack] = entry | ({"items": of["items"]} if "items" in of else {})
    for head, _ in curve_points(0):
        model = f"white_box_{head['attack']}"
        cfg["threat_models"][model] = cfg["threat_models"]["white_box_2_255_1word"]
        cfg["attacks"][head["attack"]] = {
            "method": head["attack_method"],
            "threat_model": model,
            "curve": head["curve"],
            "items": 200,
        }
    cfg["attacks"]["spare"] = cfg["attacks"]["dra"] | {"standalone": False}
    cfg["threat_models"]["transferred"] = {
        "knowledge": "transfer",
        "source": "standard",
        "image": {"norm": "l2", "eps": 0.5},
        "text": {"words": 2, "characters": 5, "keeps_truth": True},
    }
    cfg["attacks"]["sga_transfer"]["threat_model"] = "transferred"
    cfg["curves"] = {
        name: {"attack": attack, over: list(budgets)}
        for name, (attack, over, budgets) in CURVES.items()
    }
    cfg["ensembles"] = {
        "strongest": {
            "threat_model": "white_box_2_255_1word",
            "members": ["sga", "dra", "adaptive"],
            "items": 200,
        }
    }
    return cfg
