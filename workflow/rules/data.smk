"""The data of a study: raw files checked, decoded once into arrays, augmented and measured."""


# Raw files are no outputs: Snakemake deletes a job's outputs before it runs, and what was
# downloaded or linked by hand must stay. A list of checksums that the first download of a dataset
# starts is an input from the second run on, which holds the files against it once more.
rule download_data:
    input:
        checksums=committed_checksums(),
    output:
        sources="data/raw/{dataset}/sources.json",
    log:
        "logs/download_data/{dataset}.log",
    benchmark:
        "logs/download_data/{dataset}.tsv"
    retries: 2
    resources:
        mem_mb=growing(1000),
        runtime=growing(120),
    params:
        cfg=download_cfg,
        code=download_code,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust download-data --cfg {params.cfg:q} --raw data/raw"
        " --out {output.sources:q} > {log:q} 2>&1"


rule prepare_data:
    input:
        sources=raw_sources,
    output:
        manifest="data/processed/{study}/manifest.json",
        lexicon="data/processed/{study}/lexicon.json",
        splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
    log:
        "logs/{study}/prepare_data.log",
    benchmark:
        "logs/{study}/prepare_data.tsv"
    threads: THREADS
    resources:
        mem_mb=growing(3000),
        runtime=growing(30),
    params:
        cfg=data_cfg,
        code=data_code,
        out=prepared_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust prepare-data --cfg {params.cfg:q} --out {params.out:q} > {log:q} 2>&1"


rule augment_data:
    input:
        manifest="data/processed/{study}/manifest.json",
        lexicon="data/processed/{study}/lexicon.json",
        splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
        own_model=augmenter_weights,
    output:
        expand("data/augmented/{{study}}/{{augmentation}}/{file}", file=AUGMENTED_FILES),
    log:
        "logs/{study}/augment_data/{augmentation}.log",
    benchmark:
        "logs/{study}/augment_data/{augmentation}.tsv"
    # Before trainings, which wait for it.
    priority: 2
    threads: augment_threads
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=GPUS,
    params:
        cfg=augment_cfg,
        code=augment_code,
        data=data_folder,
        out=augmented_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust augment-data --cfg {params.cfg:q} --data {params.data:q}"
        " --out {params.out:q} --work work/augment > {log:q} 2>&1"


rule measure_augmentation:
    input:
        prepared="data/processed/{study}/manifest.json",
        splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
        augmented=expand(
            "data/augmented/{{study}}/{{augmentation}}/{file}", file=AUGMENTED_FILES
        ),
        judge=expand("results/{{study}}/judge/{file}", file=MODEL_FILES),
    output:
        measured="results/{study}/augmentations/{augmentation}.json",
    log:
        "logs/{study}/measure_augmentation/{augmentation}.log",
    benchmark:
        "logs/{study}/measure_augmentation/{augmentation}.tsv"
    threads: THREADS
    resources:
        mem_mb=growing(4000),
        runtime=growing(30),
        gpu=GPUS,
    params:
        cfg=measure_cfg,
        code=measure_code,
        data=measured_data,
        augmented=augmented_folder,
        judge=judge_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust measure-augmentation --cfg {params.cfg:q} --data {params.data:q}"
        " --augmented {params.augmented:q} --judge {params.judge:q} --out {output.measured:q}"
        " > {log:q} 2>&1"


rule tabulate_augmentations:
    input:
        measured=measured_files(),
    output:
        table="results/{study}/augmentations.csv",
    log:
        "logs/{study}/tabulate_augmentations.log",
    benchmark:
        "logs/{study}/tabulate_augmentations.tsv"
    group:
        "closing"
    resources:
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        cfg=augmentation_table_cfg,
        code=augmentation_table_code,
        measured=measured_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust tabulate-augmentations --cfg {params.cfg:q}"
        " --measured {params.measured:q} --out {output.table:q} > {log:q} 2>&1"


# Of the configuration alone, so that what reads tables needs none. The table is committed: without
# an input that no commit holds, the one of another configuration would stand in a fresh clone.
rule tabulate_sweeps:
    input:
        manifest="data/processed/{study}/manifest.json",
    output:
        table="results/{study}/sweeps.csv",
    log:
        "logs/{study}/tabulate_sweeps.log",
    benchmark:
        "logs/{study}/tabulate_sweeps.tsv"
    group:
        "closing"
    resources:
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        cfg=sweep_table_cfg,
        code=sweep_table_code,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust tabulate-sweeps --cfg {params.cfg:q} --out {output.table:q}"
        " > {log:q} 2>&1"
