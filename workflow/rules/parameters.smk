"""What a job is told: its part of the study, as JSON, and the fingerprint of the code it runs.

Snakemake compares both with those of the last run. They hold what the job reads and no more, so
that nothing else reruns it.
"""

import json
import os
from dataclasses import asdict
from functools import cache

from mmrobust.pipeline.fingerprint import digest_of, notebook_modules, parts
from mmrobust.study import asking_masked_lm
from mmrobust.sweeps import points

# The part of the study that a job needs


def as_json(content):
    """One line of JSON that is equal for equal content."""
    return json.dumps(content, sort_keys=True)


def sections(*names):
    """Some sections of the study."""
    return {name: getattr(study, name) for name in names}


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


def augment_cfg(wildcards):
    """What `augment-data` needs for one augmentation."""
    return as_json(
        {
            **sections("dataset", "data_seed", "threads", "device"),
            "augmentation": study.augmentations[wildcards.augmentation],
            "code": augment_code(wildcards),
        }
    )


def augment_threads(wildcards):
    """Compute threads of all its processes."""
    return THREADS * study.augmentations[wildcards.augmentation].get("workers", 1)


def measure_cfg(wildcards):
    """What `measure-augmentation` needs."""
    asked = {key: study.judge[key] for key in ["max_items"] if key in study.judge}
    return as_json(
        {**sections("threads", "device"), "name": wildcards.augmentation, **asked}
    )


def augmentation_table_cfg(wildcards):
    """What `tabulate-augmentations` needs; the order is the table's."""
    methods = {name: entry["method"] for name, entry in study.augmentations.items()}
    return json.dumps({"study": STUDY, "augmentations": methods})


def sweep_table_cfg(wildcards):
    """What `tabulate-sweeps` needs; the order is the table's."""
    return as_json({"points": [asdict(point) for point in points(study)]})


def judge_cfg(wildcards):
    """What `train-model` needs for the judge."""
    return as_json(
        {
            **sections("training", "threads", "device"),
            "model": study.judge.get("model", study.model),
            "defence": {
                "method": "standard",
                "training": study.judge.get("training", {}),
            },
            "seed": study.judge["seed"],
        }
    )


def tokenizer_cfg(wildcards):
    """What `train-tokenizer` needs."""
    return as_json(study.tokenizer)


def masked_lm_cfg(wildcards):
    """What `train-masked-lm` needs."""
    return as_json(sections("masked_lm", "threads", "device"))


def train_cfg(wildcards):
    """What `train-model` needs for one defence and seed."""
    return as_json(
        {
            **sections("model", "training", "threads", "device"),
            "defence": study.defences[wildcards.defence],
            "seed": int(wildcards.seed),
        }
    )


def evaluate_cfg(wildcards):
    """What `evaluate-model` and `evaluate-cell` need: attacks with the code behind them."""
    run = evaluated(study, computed_cells(wildcards))
    # What a cell takes is computed as a cell of its own.
    taken = [
        name for name, entry in run["attacks"].items() if entry.get("standalone", True)
    ]
    entries = [*run["attacks"].values(), *run["ensembles"].values()]
    named = {entry["threat_model"] for entry in entries}
    return as_json(
        {
            **sections("study", "dataset", "data_seed", "evaluation"),
            **sections("threads", "device"),
            **run,
            "defence": wildcards.defence,
            "seed": int(wildcards.seed),
            "threat_models": {
                name: value
                for name, value in study.threat_models.items()
                if name in named
            },
            "asks_masked_lm": [
                name for name in asking_masked_lm(study) if name in run["attacks"]
            ],
            "code": {
                cell: cell_code(cell) for cell in ["clean", *taken, *run["ensembles"]]
            },
        }
    )


def grid():
    """The names of the study's cells, in its order: what else lies beside them isn't its own."""
    names = ["clean", *study.attacks, *study.ensembles]
    return {
        "defences": DEFENCES,
        "seeds": study.seeds,
        "attacks": [name for name in names if any(name in of for of in CELLS.values())],
        "only": limited(study.attacks, study.ensembles),
    }


def tabulate_cfg(wildcards):
    """What `tabulate` needs."""
    return as_json(grid())


def claims_cfg(wildcards):
    """What `judge-claims` needs."""
    return as_json({**sections("study", "claims", "evaluation"), **grid()})


def part_grid(wildcards):
    """As `grid`, of a part of the study."""
    part = PARTS[wildcards.part]
    cells = {cell for of in part.cells.values() for cell in of}
    whole = grid()
    return {
        **whole,
        "defences": [name for name in DEFENCES if name in part.cells],
        "seeds": list(part.seeds),
        "attacks": [name for name in whole["attacks"] if name in cells],
    }


def tabulate_part_cfg(wildcards):
    """What `tabulate` needs for a part of the study."""
    return as_json(part_grid(wildcards))


def judge_claim_cfg(wildcards):
    """What `judge-claims` needs for one claim."""
    judged = {
        "claims": [PARTS[wildcards.part].claim],
        "beside": len(study.claims) - 1,
    }
    return as_json(
        {**sections("study", "evaluation"), **part_grid(wildcards), **judged}
    )


def drawn_parts():
    """What a notebook can't find in the table: which of its gaps are none."""
    return json.dumps({"only": limited(study.attacks, study.ensembles)})


def report_cfg(wildcards):
    """What `write-report` needs: the whole study, in the order that its author gave it.

    Not how its parts are asked for.
    """
    content = asdict(study)
    del content["targets"]
    return json.dumps(content)


# Fingerprints of the code of one job


# What each fingerprint covers.
CODE = {}


@cache
def code_of(*roots):
    """The fingerprint of some modules and all that they import."""
    covered = parts(roots, source=SOURCE)
    made = digest_of(covered)
    CODE[made] = covered
    return made


def attack_modules(entries):
    """The modules of some attacks; a text search has a `method` too, which is none of theirs."""
    return registered.modules(
        "mmrobust.attacks:ATTACKS",
        [entry["method"] for entry in entries],
        source=SOURCE,
    )


def dataset_modules():
    """The module of the study's dataset."""
    return registered.modules(
        "mmrobust.data:DATASETS", [study.dataset["name"]], source=SOURCE
    )


def download_code(wildcards):
    return code_of("mmrobust.data.download", *dataset_modules())


def data_code(wildcards):
    return code_of("mmrobust.data.prepare", *dataset_modules())


def augment_code(wildcards):
    augmenter = registered.modules(
        "mmrobust.augment:AUGMENTERS",
        [study.augmentations[wildcards.augmentation]["method"]],
        source=SOURCE,
    )
    return code_of("mmrobust.augment.run", *augmenter, *dataset_modules())


def tokenizer_code(wildcards):
    return code_of("mmrobust.training.tokenizer")


def masked_lm_code(wildcards):
    return code_of("mmrobust.training.masked_lm")


def measure_code(wildcards):
    return code_of("mmrobust.augment.measure")


def augmentation_table_code(wildcards):
    return code_of("mmrobust.augment.table")


def sweep_table_code(wildcards):
    return code_of("mmrobust.sweep_table")


def code_of_method(method):
    """The code behind a training job."""
    modules = registered.modules(
        "mmrobust.training:TRAINING_METHODS", [method], source=SOURCE
    )
    return code_of("mmrobust.training.run", *modules)


def train_code(wildcards):
    return code_of_method(study.defences[wildcards.defence]["method"])


def judge_code(wildcards):
    return code_of_method("standard")


def judge_work(wildcards):
    """Where a killed training of the judge is resumed."""
    return os.path.join(
        "work", "train", wildcards.study, f"judge-{judge_code(wildcards)}"
    )


def train_work(wildcards):
    """Where a killed training job is resumed: never from a state that other code made.

    The state itself says from which configuration and files it was made.
    """
    name = f"seed{wildcards.seed}-{train_code(wildcards)}"
    return os.path.join("work", "train", wildcards.study, wildcards.defence, name)


def cell_code(cell):
    """The code behind one cell: of its attack, of all members of an ensemble, or of none."""
    members = study.ensembles.get(cell, {"members": [cell]})["members"]
    attacks = [study.attacks[name] for name in members if name in study.attacks]
    return code_of(
        "mmrobust.evaluation.evaluator", *dataset_modules(), *attack_modules(attacks)
    )


def evaluate_code(wildcards):
    return code_of("mmrobust.evaluation.run", *dataset_modules())


def tabulate_code(wildcards):
    return code_of("mmrobust.evaluation.tables")


def notebook_code(notebook):
    """Known before the graph is: Snakemake compares no parameter that is made from inputs."""
    modules = notebook_modules(ROOT / "notebooks" / f"{notebook}.ipynb")
    return code_of("mmrobust.figures.notebook", *modules)


def claims_code(wildcards):
    return code_of("mmrobust.claims.ledger")


def report_code(wildcards):
    return code_of("mmrobust.report.page")
