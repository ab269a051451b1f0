"""What a job is told: its part of the study, as JSON, and the fingerprint of the code it runs.

Snakemake compares both with those of the last run. They hold what the job reads and no more, so
that nothing else reruns it.
"""

import hashlib
import json
import os
from dataclasses import asdict
from functools import cache

from fingerprint import fingerprint, notebook_modules

# The part of the study that a job needs


def as_json(content):
    """One line of JSON that is equal for equal content."""
    return json.dumps(content, sort_keys=True)


def sections(*names):
    """Some sections of the study."""
    return {name: getattr(study, name) for name in names}


def values_of(key, tree):
    """All values under a key, at any depth."""
    if isinstance(tree, list):
        return [value for item in tree for value in values_of(key, item)]
    if not isinstance(tree, dict):
        return []
    own = [tree[key]] if isinstance(tree.get(key), str) else []
    return own + [value for item in tree.values() for value in values_of(key, item)]


def download_cfg(wildcards):
    """What `download-data` needs: where raw files come from, and what was agreed to."""
    keys = ["name", "sources", "accept_terms", *RAW_DATASETS.values()]
    return as_json({key: study.dataset[key] for key in keys if key in study.dataset})


def data_cfg(wildcards):
    """What `prepare-data` needs: not where the raw files were fetched from."""
    dataset = {
        key: value
        for key, value in study.dataset.items()
        if key not in ("sources", "accept_terms")
    }
    return as_json({"dataset": dataset, "data_seed": study.data_seed})


def tokenizer_cfg(wildcards):
    """What `train-tokenizer` needs."""
    return as_json(study.tokenizer)


def train_cfg(wildcards):
    """What `train-model` needs for one defence and seed."""
    return recipe(wildcards.defence, int(wildcards.seed))


def recipe(defence, seed):
    """What `train-model` needs for a defence and a seed."""
    return as_json(
        {
            **sections("model", "training", "threads", "device"),
            "defence": study.defences[defence],
            "seed": seed,
        }
    )


def evaluate_cfg(wildcards):
    """What `evaluate-model` needs for one model: every attack with the code behind it."""
    named = set(values_of("threat_model", study.attacks))
    return as_json(
        {
            **sections("study", "attacks", "evaluation", "threads", "device"),
            "defence": wildcards.defence,
            "seed": int(wildcards.seed),
            "threat_models": {
                name: value
                for name, value in study.threat_models.items()
                if name in named
            },
            "code": {attack: attack_code(attack) for attack in ATTACKS},
        }
    )


def tabulate_cfg(wildcards):
    """What `tabulate` needs: the study's cells, in its order."""
    return as_json(
        {"defences": DEFENCES, "seeds": study.seeds, "attacks": ATTACKS}
    )


def claims_cfg(wildcards):
    """What `judge-claims` needs."""
    return as_json(sections("study", "seeds", "claims", "evaluation"))


def report_cfg(wildcards):
    """What `write-report` needs: the whole study, in the order that its author gave it."""
    return json.dumps(asdict(study))


def train_work(wildcards):
    """Where a killed training job is resumed: one place for each way to make a model."""
    made_by = [
        STUDY,
        data_cfg(wildcards),
        data_code(wildcards),
        tokenizer_cfg(wildcards),
        tokenizer_code(wildcards),
    ]
    defence = wildcards.defence
    while defence is not None:
        made_by += [defence, recipe(defence, int(wildcards.seed)), method_code(defence)]
        defence = study.defences[defence].get("initial")
    key = hashlib.sha256(as_json(made_by).encode()).hexdigest()[:16]
    return os.path.join("work", "train", key)


# Fingerprints of the code of one job


@cache
def code_of(*roots):
    """The fingerprint of some modules and all that they import."""
    return fingerprint(roots, source=SOURCE)


def attack_modules(tree):
    """The modules of the attacks that a part of the study names."""
    return registered.modules(
        "mmrobust.attacks:ATTACKS", values_of("method", tree), source=SOURCE
    )


def dataset_modules():
    """The module of the study's dataset."""
    return registered.modules(
        "mmrobust.data:DATASETS", [study.dataset["name"]], source=SOURCE
    )


def download_code(wildcards):
    return code_of("mmrobust.data.download", *dataset_modules())


def data_code(wildcards):
    return code_of("mmrobust.data.prepared", *dataset_modules())


def tokenizer_code(wildcards):
    return code_of("mmrobust.models.tokenizer")


def train_code(wildcards):
    return method_code(wildcards.defence)


def method_code(name):
    """The code behind the training of one defence."""
    defence = study.defences[name]
    method = registered.modules(
        "mmrobust.training:TRAINING_METHODS", [defence["method"]], source=SOURCE
    )
    inner = [value for key, value in defence.items() if key != "method"]
    return code_of("mmrobust.training.run", *method, *attack_modules(inner))


def attack_code(attack):
    """The code behind one cell; `clean` has no attack."""
    return code_of(
        "mmrobust.evaluation.run", *attack_modules(study.attacks.get(attack))
    )


def evaluate_code(wildcards):
    return code_of("mmrobust.evaluation.run")


def tabulate_code(wildcards):
    return code_of("mmrobust.evaluation.tables")


def figures_code(wildcards, input):
    return code_of(*notebook_modules(ROOT / input.notebook))


def claims_code(wildcards):
    return code_of("mmrobust.claims.ledger")


def report_code(wildcards):
    return code_of("mmrobust.report.page")
