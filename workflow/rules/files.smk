"""The files of a study."""

import os


def fetched(files):
    """Files that a job opens beside those it is compared by.

    They lie there anyway, unless a study's files lie in a storage: a job finds only what it names.
    """
    return list(files) if workflow.storage_settings.default_storage_provider else []


def prepared_files():
    """All files of the prepared dataset."""
    return expand(
        "data/processed/{study}/{file}",
        study=STUDY,
        file=["manifest.json", "lexicon.json", *SPLIT_FILES],
    )


def augmented_files():
    """All files of all augmented sets."""
    return expand(
        "data/augmented/{study}/{augmentation}/{file}",
        study=STUDY,
        augmentation=study.augmentations,
        file=AUGMENTED_FILES,
    )


def judge_files():
    """The model that measures augmented sets, for a study that has one."""
    return expand(
        "results/{study}/judge/{file}",
        study=STUDY,
        file=[] if study.judge is None else MODEL_FILES,
    )


def measured_files():
    """What was measured of each augmented set."""
    return expand(
        "results/{study}/augmentations/{augmentation}.json",
        study=STUDY,
        augmentation=study.augmentations,
    )


def augmentation_tables():
    """The table of those measurements, for a study that augments."""
    return [f"results/{STUDY}/augmentations.csv"] if study.augmentations else []


def sweep_table():
    """Which defence stands for which value of each sweep; only a header where there is none."""
    return f"results/{STUDY}/sweeps.csv"


def model_files():
    """The tokenizer, the masked language model and all files of all trained models."""
    tokenizer = f"results/{STUDY}/tokenizer.json"
    models = defence_files(DEFENCES)
    return [tokenizer, *masked_lm_files(), *judge_files(), *models]


def defence_files(defences, seeds=study.seeds):
    """All files of the trained models of some defences."""
    return expand(
        "results/{study}/models/{defence}/seed{seed}/{file}",
        study=STUDY,
        defence=defences,
        seed=seeds,
        file=MODEL_FILES,
    )


def masked_lm_files():
    """The folder of the masked language model, for a study that has one."""
    return expand(
        "results/{study}/masked_lm/{file}",
        study=STUDY,
        file=[] if study.masked_lm is None else MASKED_LM_FILES,
    )


def cell_files(cells=CELLS, seeds=study.seeds, root="cells"):
    """The results of some cells, given by defence; every cell if none is."""
    return [
        file
        for defence in cells
        for file in expand(
            "results/{study}/{root}/{defence}/seed{seed}/{cell}.{suffix}",
            study=STUDY,
            root=root,
            defence=defence,
            seed=seeds,
            cell=cells[defence],
            suffix=["json", "parquet"],
        )
    ]


def example_files():
    """A few attacked items of every model and attack, to look at."""
    return [
        file
        for defence in DEFENCES
        for file in expand(
            "results/{study}/examples/{defence}/seed{seed}/{attack}.parquet",
            study=STUDY,
            defence=defence,
            seed=study.seeds,
            attack=ATTACKS[defence],
        )
    ]


def evaluation_run_files():
    """The run facts of every evaluation job."""
    return expand(
        "results/{study}/cells/{defence}/seed{seed}/run.json",
        study=STUDY,
        defence=DEFENCES,
        seed=study.seeds,
    )


def training_record_files():
    """The loss curves and run facts of every training job."""
    return expand(
        "results/{study}/models/{defence}/seed{seed}/{file}",
        study=STUDY,
        defence=DEFENCES,
        seed=study.seeds,
        file=["history.csv", "run.json"],
    )


def evaluation_files():
    """All cells and the tables made of them."""
    tables = expand(
        "results/{study}/{file}",
        study=STUDY,
        file=["metrics.csv", "metrics.json", "flags.csv"],
    )
    return [
        *cell_files(),
        *example_files(),
        *evaluation_run_files(),
        *measured_files(),
        *augmentation_tables(),
        sweep_table(),
        *tables,
    ]


def part_cells(wildcards):
    """The results of the cells of a part of the study."""
    part = PARTS[wildcards.part]
    return cell_files(part.cells, part.seeds, "cells" if part.whole else "parts/cells")


def part_files(part):
    """What a part of the study is asked for: its table, and its models or its verdict."""
    folder = f"results/{STUDY}/parts/{part.name}"
    models = defence_files(part.cells, part.seeds) if part.whole else []
    verdict = [f"{folder}/claims.csv"] if part.claim else []
    return [*models, f"{folder}/metrics.csv", *verdict]


def figure_files():
    """The pictures that the notebooks draw."""
    return expand(
        "results/{study}/figures/{figure}.{suffix}",
        study=STUDY,
        figure=FIGURES,
        suffix=["png", "svg"],
    )


def claims_file():
    """The verdicts on the study's claims."""
    return f"results/{STUDY}/claims.csv"


def report_file():
    """The page to open first."""
    return f"results/{STUDY}/report.html"


def everything():
    """All that a study makes."""
    return [
        *prepared_files(),
        *augmented_files(),
        *model_files(),
        *evaluation_files(),
        *figure_files(),
        claims_file(),
        report_file(),
    ]


def initial_model(wildcards):
    """The weights that a defence starts from: another defence's, of the same seed, or none."""
    initial = study.defences[wildcards.defence].get("initial")
    return expand(
        "results/{study}/models/{defence}/seed{seed}/{file}",
        study=wildcards.study,
        defence=[] if initial is None else initial,
        seed=wildcards.seed,
        file=["model.safetensors", "model.json", "tokenizer.json"],
    )


def model_weights(wildcards):
    """The weights that all defences start from, if they are of one's own."""
    return own_models.files_of(own_models.pretrained(study.model))


def judge_weights(wildcards):
    """Those of the judge."""
    return own_models.files_of(own_models.pretrained(own_models.judge_model(study)))


def masked_lm_weights(wildcards):
    """The masked language model that is taken as it is, if it is of one's own."""
    return own_models.files_of(own_models.masked_lm(study))


def augmenter_weights(wildcards):
    """The model that makes an augmented set, if it is of one's own."""
    return own_models.files_of(own_models.augmenter(study, wildcards.augmentation))


def augmented_sets(wildcards):
    """The sets that a defence learns from beside its own captions and pictures."""
    return expand(
        "data/augmented/{study}/{augmentation}/{file}",
        study=wildcards.study,
        augmentation=study.defences[wildcards.defence].get("augmentations", {}),
        file=AUGMENTED_FILES,
    )


def computed_cells(wildcards):
    """The cells that an evaluation is asked for: one by name, or all of its model."""
    if "cell" in wildcards.keys():
        return [wildcards.cell]
    return CELLS[wildcards.defence]


def source_folders(wildcards):
    """The checkpoints that a model's transferred attacks are crafted on, by their names."""
    attacks = evaluated(study, computed_cells(wildcards))["attacks"]
    used = {entry["threat_model"] for entry in attacks.values()}
    sources = {study.threat_models[name].get("source") for name in used} - {None}
    return {
        source: (
            source
            if "/" in source
            else os.path.join(
                "results", wildcards.study, "models", source, f"seed{wildcards.seed}"
            )
        )
        for source in sorted(sources)
    }


def source_models(wildcards):
    """The files of those checkpoints."""
    folders = source_folders(wildcards)
    models = [
        os.path.join(folders[source], file)
        for source in folders
        for file in ["model.safetensors", "model.json"]
    ]
    own = [folders[source] for source in folders if "/" not in source]
    return [*models, *fetched(os.path.join(folder, "tokenizer.json") for folder in own)]


def committed_checksums():
    """The lists that raw files are held against; the first download starts one that is missing."""
    lists = expand("data/raw/{name}.sha256", name=RAW_DATASETS)
    return [file for file in lists if os.path.exists(file)]


def raw_sources(wildcards):
    """The record of the checked raw files, for a dataset that is made from any."""
    dataset = [study.dataset["name"]] if RAW_DATASETS else []
    return expand("data/raw/{dataset}/sources.json", dataset=dataset)
