"""What all rules share: the study that was asked for, and what every job's shell starts with."""

import os
import re
import shlex
import sys
from pathlib import Path

ROOT = Path(workflow.basedir)
SOURCE = ROOT / "src"
sys.path.insert(0, str(SOURCE))

from mmrobust.errors import UserError
from mmrobust.figures.catalogue import FIGURES, figures_of
from mmrobust.parts import attacks_on, cells_on, evaluated, limited
from mmrobust.pipeline import own_models, registered
from mmrobust.pipeline.code_notes import keep_notes
from mmrobust.pipeline.contents import read_from, renew_times
from mmrobust.pipeline.ledger import LOADED, record_run
from mmrobust.pipeline.locks import explain_locks, note_run
from mmrobust.pipeline.part_targets import part_targets
from mmrobust.pipeline.planned import planned_study
from mmrobust.pipeline.space import check_space
from mmrobust.pipeline.touched import begin_touching, settle_touched
from snakemake.logging import logger

try:
    if not workflow.output_settings.dryrun:
        check_space(Path.cwd())
    study = planned_study(
        config,
        files=workflow.configfiles,
        claims=Path("config/claims.yaml"),
        warn=logger.warning,
    )
except UserError as error:
    raise WorkflowError(str(error)) from None

STUDY = study.study
# As the command line takes it, from here.
CONFIGFILE = os.path.relpath(workflow.configfiles[0])

# Jobs of a cluster read this file too.
if workflow.is_main_process:
    renew_times(read_from(study), warn=logger.warning)

explain_locks(STUDY)
DEFENCES = list(study.defences)
ATTACKS = {defence: attacks_on(study, defence) for defence in DEFENCES}
CELLS = {defence: cells_on(study, defence) for defence in DEFENCES}
PARTS = part_targets(study, Path("config/claims.yaml"))
# Jobs whose defences have the same cells share a rule.
DEFENCES_BY_CELLS = {}
for defence, cells in CELLS.items():
    DEFENCES_BY_CELLS.setdefault(tuple(cells), []).append(defence)
THREADS = study.threads
GPUS = 1 if study.device == "cuda" else 0
SPLIT_FILES = expand(
    "{split}/{file}",
    split=["train", "dev", "test"],
    file=["images.npy", "captions.parquet", "positives.npz"],
)
AUGMENTED_FILES = [
    "manifest.json",
    "items.parquet",
    "images.npy",
    "positives.npz",
    "run.json",
]
MODEL_FILES = [
    "model.safetensors",
    "model.json",
    "tokenizer.json",
    "history.csv",
    "run.json",
]
MASKED_LM_FILES = [
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "metrics.json",
    "history.csv",
    "run.json",
]
RAW_DATASETS = registered.class_constant(
    "mmrobust.data:DATASETS", study.dataset["name"], "raw_datasets", {}, source=SOURCE
)


wildcard_constraints:
    study=re.escape(STUDY),
    dataset=re.escape(study.dataset["name"]),
    augmentation="|".join(map(re.escape, study.augmentations)) or "none",
    defence="|".join(map(re.escape, DEFENCES)),
    cell="|".join(
        map(re.escape, sorted({cell for of in CELLS.values() for cell in of}))
    ),
    part="|".join(map(re.escape, PARTS)),
    seed=r"\d+",


# What every job's shell starts with. Python is the one that runs Snakemake, activated or not, and
# the package is the one that the fingerprints were taken of, in a worktree or a clone too.
# Snakemake sets the libraries' thread counts to the cores it granted, which --cores can lower;
# results depend on the count, so the study's own comes after.
shell.prefix(
    "set -euo pipefail; "
    f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; "
    f"export PYTHONPATH={shlex.quote(str(SOURCE))}; "
    f"export OMP_NUM_THREADS={THREADS} MKL_NUM_THREADS={THREADS}"
    f" OPENBLAS_NUM_THREADS={THREADS} NUMEXPR_NUM_THREADS={THREADS}"
    f" RAYON_NUM_THREADS={THREADS} TOKENIZERS_PARALLELISM=false; "
)
