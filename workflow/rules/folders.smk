"""The folders that the command line takes, from the files that Snakemake knows."""

import os


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
        name: os.path.join("data", "augmented", wildcards.study, name) for name in sets
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
    return named_folders("--source", source_folders(wildcards))


def examples_folder(wildcards):
    """The folder of the examples that `evaluate-model` fills."""
    return os.path.join(
        "results",
        wildcards.study,
        "examples",
        wildcards.defence,
        f"seed{wildcards.seed}",
    )


def cells_folder(wildcards):
    """The folder of all cells of the study."""
    return os.path.join("results", wildcards.study, "cells")


def results_folder(wildcards):
    """The folder of all results of the study."""
    return os.path.join("results", wildcards.study)


def figures_folder(wildcards):
    """The folder of the study's figures."""
    return os.path.join("results", wildcards.study, "figures")


def prepared_folder(wildcards):
    """The folder that `prepare-data` fills."""
    return os.path.join("data", "processed", wildcards.study)


def augmented_folder(wildcards):
    """The folder that `augment-data` fills."""
    return os.path.join("data", "augmented", wildcards.study, wildcards.augmentation)


def measured_data(wildcards, input):
    """The folder of the prepared dataset, of a job that has two."""
    return os.path.dirname(input.prepared)


def measured_folder(wildcards):
    """The folder of the measurements of all augmented sets."""
    return os.path.join("results", wildcards.study, "augmentations")


def judge_folder(wildcards):
    """The folder of the judge."""
    return os.path.join("results", wildcards.study, "judge")


def masked_lm_folder(wildcards):
    """The folder that `train-masked-lm` fills."""
    return os.path.join("results", wildcards.study, "masked_lm")


def trained_folder(wildcards):
    """The folder that `train-model` fills."""
    return os.path.join(
        "results", wildcards.study, "models", wildcards.defence, f"seed{wildcards.seed}"
    )


def part_root(wildcards):
    """The folder of the cells that a part of the study is tabulated from."""
    cells = "cells" if PARTS[wildcards.part].whole else os.path.join("parts", "cells")
    return os.path.join("results", wildcards.study, cells)


def part_cells_folder(wildcards):
    """The folder that `evaluate-cell` writes into."""
    return os.path.join(
        "results",
        wildcards.study,
        "parts",
        "cells",
        wildcards.defence,
        f"seed{wildcards.seed}",
    )


def evaluated_folder(wildcards):
    """The folder that `evaluate-model` fills."""
    return os.path.join(
        "results", wildcards.study, "cells", wildcards.defence, f"seed{wildcards.seed}"
    )
