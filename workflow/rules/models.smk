"""The models of a study: a tokenizer, a masked language model, each defence with each seed."""


rule train_tokenizer:
    input:
        manifest="data/processed/{study}/manifest.json",
        captions="data/processed/{study}/train/captions.parquet",
        checked=fetched(expand("data/processed/{{study}}/{file}", file=SPLIT_FILES)),
    output:
        tokenizer="results/{study}/tokenizer.json",
    log:
        "logs/{study}/train_tokenizer.log",
    benchmark:
        "logs/{study}/train_tokenizer.tsv"
    threads: THREADS
    resources:
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        cfg=tokenizer_cfg,
        code=tokenizer_code,
        data=data_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust train-tokenizer --cfg {params.cfg:q} --data {params.data:q}"
        " --out {output.tokenizer:q} > {log:q} 2>&1"


rule train_masked_lm:
    input:
        manifest="data/processed/{study}/manifest.json",
        captions=expand(
            "data/processed/{{study}}/{split}/captions.parquet", split=["train", "dev"]
        ),
        checked=fetched(expand("data/processed/{{study}}/{file}", file=SPLIT_FILES)),
        own_model=masked_lm_weights,
    output:
        expand("results/{{study}}/masked_lm/{file}", file=MASKED_LM_FILES),
    log:
        "logs/{study}/train_masked_lm.log",
    benchmark:
        "logs/{study}/train_masked_lm.tsv"
    # Before evaluations, which wait for it.
    priority: 1
    threads: THREADS
    resources:
        mem_mb=growing(2000),
        runtime=growing(60),
        gpu=GPUS,
    params:
        cfg=masked_lm_cfg,
        code=masked_lm_code,
        data=data_folder,
        out=masked_lm_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust train-masked-lm --cfg {params.cfg:q} --data {params.data:q}"
        " --out {params.out:q} > {log:q} 2>&1"


rule train_model:
    input:
        manifest="data/processed/{study}/manifest.json",
        lexicon="data/processed/{study}/lexicon.json",
        splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
        tokenizer="results/{study}/tokenizer.json",
        initial=initial_model,
        augmented=augmented_sets,
        own_model=model_weights,
    output:
        expand(
            "results/{{study}}/models/{{defence}}/seed{{seed}}/{file}",
            file=MODEL_FILES,
        ),
    log:
        "logs/{study}/train_model/{defence}_seed{seed}.log",
    benchmark:
        "logs/{study}/train_model/{defence}_seed{seed}.tsv"
    # Before evaluations: others may wait for these weights, and nothing waits for a cell.
    priority: 1
    threads: THREADS
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
        gpu=GPUS,
    params:
        cfg=train_cfg,
        code=train_code,
        data=data_folder,
        initial=initial_option,
        augmented=augmented_options,
        out=trained_folder,
        work=train_work,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust train-model --cfg {params.cfg:q} --data {params.data:q}"
        " --tokenizer {input.tokenizer:q} {params.initial:q} {params.augmented:q}"
        " --out {params.out:q} --work {params.work:q} > {log:q} 2>&1"


# The model that measures augmented sets: trained like the undefended one, with a seed of its own.
use rule train_model as train_judge with:
    input:
        manifest="data/processed/{study}/manifest.json",
        lexicon="data/processed/{study}/lexicon.json",
        splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
        tokenizer="results/{study}/tokenizer.json",
        initial=[],
        augmented=[],
        own_model=judge_weights,
    output:
        expand("results/{{study}}/judge/{file}", file=MODEL_FILES),
    log:
        "logs/{study}/train_judge.log",
    benchmark:
        "logs/{study}/train_judge.tsv"
    params:
        cfg=judge_cfg,
        code=judge_code,
        data=data_folder,
        initial=[],
        augmented=[],
        out=judge_folder,
        work=judge_work,
