"""The cells of a study, its tables and the verdicts on its claims."""

# One job loops over all attacks on one model; cells that are in the store under work/ are not
# computed again, so a new attack costs its own cells only. Outputs can't be a function of
# wildcards, so that defences with other cells have a rule of their own.
for number, (cells, defences) in enumerate(DEFENCES_BY_CELLS.items(), start=1):

    rule:
        name:
            "evaluate_model"
            if len(DEFENCES_BY_CELLS) == 1
            else f"evaluate_model_{number}"
        input:
            manifest="data/processed/{study}/manifest.json",
            lexicon="data/processed/{study}/lexicon.json",
            splits=expand("data/processed/{{study}}/{file}", file=SPLIT_FILES),
            weights="results/{study}/models/{defence}/seed{seed}/model.safetensors",
            model="results/{study}/models/{defence}/seed{seed}/model.json",
            tokenizer="results/{study}/models/{defence}/seed{seed}/tokenizer.json",
            masked_lm=masked_lm_files(),
            sources=source_models,
        output:
            cells=expand(
                "results/{{study}}/cells/{{defence}}/seed{{seed}}/{attack}.{suffix}",
                attack=cells,
                suffix=["json", "parquet"],
            ),
            examples=expand(
                "results/{{study}}/examples/{{defence}}/seed{{seed}}/{attack}.parquet",
                attack=ATTACKS[defences[0]],
            ),
            run="results/{study}/cells/{defence}/seed{seed}/run.json",
        log:
            "logs/{study}/evaluate_model/{defence}_seed{seed}.log",
        benchmark:
            "logs/{study}/evaluate_model/{defence}_seed{seed}.tsv"
        wildcard_constraints:
            defence="|".join(map(re.escape, defences)),
        threads: THREADS
        resources:
            mem_mb=growing(4000),
            runtime=growing(120),
            gpu=GPUS,
        params:
            cfg=evaluate_cfg,
            code=evaluate_code,
            data=data_folder,
            model=model_folder,
            masked_lm=masked_lm_option,
            sources=source_options,
            out=evaluated_folder,
            examples=examples_folder,
        shell:
            "MMROBUST_CODE={params.code} python -m mmrobust evaluate-model --cfg {params.cfg:q} --data {params.data:q}"
            " --model {params.model:q} {params.masked_lm:q} {params.sources:q}"
            " --cells {params.out:q} --examples {params.examples:q} --work work/cells"
            " > {log:q} 2>&1"


rule tabulate_metrics:
    input:
        cells=cell_files(),
    output:
        csv="results/{study}/metrics.csv",
        json="results/{study}/metrics.json",
        flags="results/{study}/flags.csv",
    log:
        "logs/{study}/tabulate_metrics.log",
    benchmark:
        "logs/{study}/tabulate_metrics.tsv"
    group:
        "closing"
    resources:
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        cfg=tabulate_cfg,
        code=tabulate_code,
        cells=cells_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust tabulate --cfg {params.cfg:q} --cells {params.cells:q}"
        " --out-csv {output.csv:q} --out-json {output.json:q} --out-flags {output.flags:q}"
        " > {log:q} 2>&1"


rule judge_claims:
    input:
        claims=local("config/claims.yaml"),
        cells=cell_files(),
    output:
        verdicts="results/{study}/claims.csv",
    log:
        "logs/{study}/judge_claims.log",
    benchmark:
        "logs/{study}/judge_claims.tsv"
    group:
        "closing"
    resources:
        mem_mb=growing(2000),
        runtime=growing(30),
    params:
        cfg=claims_cfg,
        code=claims_code,
        cells=cells_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust judge-claims --cfg {params.cfg:q} --claims {input.claims:q}"
        " --cells {params.cells:q} --out {output.verdicts:q} > {log:q} 2>&1"
