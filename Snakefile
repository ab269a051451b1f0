"""A study as a graph of jobs.

snakemake --cores all [--configfile config/<study>.yaml] [-- <target>]
"""

from snakemake.utils import min_version

min_version("9.27")


# A study given by --configfile stands alone: laid over the default study it would inherit its keys.
if not workflow.overwrite_configfiles:

    configfile: "config/scenes.yaml"


# Jobs run in the environment that Snakemake itself runs in. This line satisfies the linter and names
# the base for sites that build an image of their own with the environment inside and put its name
# here: the image below holds Python alone, so `--software-deployment-method apptainer` fails on it.
container: "docker://python:3.11-slim-bookworm"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/files.smk"
include: "workflow/rules/folders.smk"
include: "workflow/rules/parameters.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/report.smk"


onstart:
    note_run(STUDY)
    keep_notes(CODE, as_of=LOADED)
    settle_touched(STUDY)
    if workflow.touch:
        jobs = workflow.dag.needrun_jobs()
        begin_touching(STUDY, (file for job in jobs for file in job.output))


onerror:
    # Of a study without a cell there is no report yet.
    if any(Path("results", STUDY, "cells").glob("*/seed*/*.parquet")):
        logger.error(
            "What is there of the study, with the rest marked as missing: "
            f"`python -m mmrobust report-so-far --configfile {CONFIGFILE}`"
        )


onsuccess:
    record_run(workflow, parts=PARTS, code=CODE.values())


# Each target asks for all that comes before it by name: a file that is at hand (a committed table)
# would otherwise hide that what it was made from is not.


rule all:
    default_target: True
    input:
        everything(),


rule data:
    input:
        prepared_files(),


rule augmentation:
    input:
        prepared_files(),
        augmented_files(),


rule models:
    input:
        prepared_files(),
        augmented_files(),
        model_files(),


rule evaluation:
    input:
        prepared_files(),
        augmented_files(),
        model_files(),
        evaluation_files(),


rule figures:
    input:
        prepared_files(),
        augmented_files(),
        model_files(),
        evaluation_files(),
        figure_files(),


rule claims:
    input:
        prepared_files(),
        augmented_files(),
        model_files(),
        evaluation_files(),
        claims_file(),


rule report:
    input:
        everything(),


include: "workflow/rules/parts.smk"
