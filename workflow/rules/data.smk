"""The data of a study: raw files checked, decoded once into arrays, and augmented."""


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
        mem_mb=1000,
    params:
        cfg=download_cfg,
        code=download_code,
    shell:
        "python -m mmrobust download-data --cfg {params.cfg:q} --raw data/raw"
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
        mem_mb=3000,
    params:
        cfg=data_cfg,
        code=data_code,
        out=prepared_folder,
    shell:
        "python -m mmrobust prepare-data --cfg {params.cfg:q} --out {params.out:q} > {log:q} 2>&1"


rule augment_data:
    input:
        manifest="data/processed/{study}/manifest.json",
        lexicon="data/processed/{study}/lexicon.json",
        splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
    output:
        expand(
            "data/augmented/{{study}}/{{augmentation}}/{file}", file=AUGMENTED_FILES
        ),
    log:
        "logs/{study}/augment_data/{augmentation}.log",
    benchmark:
        "logs/{study}/augment_data/{augmentation}.tsv"
    # Before trainings, which wait for it.
    priority: 2
    threads: augment_threads
    resources:
        mem_mb=4000,
        gpu=GPUS,
    params:
        cfg=augment_cfg,
        code=augment_code,
        data=data_folder,
        out=augmented_folder,
    shell:
        "python -m mmrobust augment-data --cfg {params.cfg:q} --data {params.data:q}"
        " --out {params.out:q} --work work/augment > {log:q} 2>&1"
