"""The folders that the command line takes, from the files that Snakemake knows."""

import os


def placed(*parts):
    """A folder of the project or, where a study's files lie in a storage, Snakemake's copy of it."""
    return str(
        workflow.modifier.path_modifier.apply_default_storage(os.path.join(*parts))
    )


def named_folders(option, folders):
    """An option that is given once for each folder, as NAME=FOLDER."""
    return [word for name in folders for word in [option, f"{name}={folders[name]}"]]


def data_folder(wildcards, input):
    """The folder of the prepared dataset."""
    return os.path.dirname(input.manifest)


def initial_option(wildcards, input):
    """The option that names the folder of the initial weights, if there are any."""
    return ["--initial", os.path.dirname(input.initial[0])] if input.initial else []


def augmented_options(wildcards):
    """The options that name the folders of those sets."""
    sets = study.defences[wildcards.defence].get("augmentations", {})
    folders = {
        name: placed("data", "augmented", wildcards.study, name) for name in sets
    }
    return named_folders("--augmented", folders)


def model_folder(wildcards, input):
    """The folder of one trained model."""
    return os.path.dirname(input.weights)


def masked_lm_option(wildcards, input):
    """The option that names the folder of the masked language model, if there is one."""
    return (
        ["--masked-lm", os.path.dirname(input.masked_lm[0])] if input.masked_lm else []
    )


def source_options(wildcards):
    """The options that name the checkpoints of transferred attacks."""
    folders = source_folders(wildcards)
    return named_folders("--source", {name: placed(folders[name]) for name in folders})


def examples_folder(wildcards):
    """The folder of the examples that `evaluate-model` fills."""
    return placed(
        "results",
        wildcards.study,
        "examples",
        wildcards.defence,
        f"seed{wildcards.seed}",
    )


def cells_folder(wildcards):
    """The folder of all cells of the study."""
    return placed("results", wildcards.study, "cells")


def results_folder(wildcards):
    """The folder of all results of the study."""
    return placed("results", wildcards.study)


def figures_folder(wildcards):
    """The folder of the study's figures."""
    return placed("results", wildcards.study, "figures")


def prepared_folder(wildcards):
    """The folder that `prepare-data` fills."""
    return placed("data", "processed", wildcards.study)


def augmented_folder(wildcards):
    """The folder that `augment-data` fills."""
    return placed("data", "augmented", wildcards.study, wildcards.augmentation)


def measured_data(wildcards, input):
    """The folder of the prepared dataset, of a job that has two."""
    return os.path.dirname(input.prepared)


def measured_folder(wildcards):
    """The folder of the measurements of all augmented sets."""
    return placed("results", wildcards.study, "augmentations")


def judge_folder(wildcards):
    """The folder of the judge."""
    return placed("results", wildcards.study, "judge")


def masked_lm_folder(wildcards):
    """The folder that `train-masked-lm` fills."""
    return placed("results", wildcards.study, "masked_lm")


def trained_folder(wildcards):
    """The folder that `train-model` fills."""
    return placed(
        "results", wildcards.study, "models", wildcards.defence, f"seed{wildcards.seed}"
    )


def part_root(wildcards):
    """The folder of the cells that a part of the study is tabulated from."""
    cells = "cells" if PARTS[wildcards.part].whole else os.path.join("parts", "cells")
    return placed("results", wildcards.study, cells)


def part_cells_folder(wildcards):
    """The folder that `evaluate-cell` writes into."""
    return placed(
        "results",
        wildcards.study,
        "parts",
        "cells",
        wildcards.defence,
        f"seed{wildcards.seed}",
    )


def evaluated_folder(wildcards):
    """The folder that `evaluate-model` fills."""
    return placed(
        "results", wildcards.study, "cells", wildcards.defence, f"seed{wildcards.seed}"
    )
