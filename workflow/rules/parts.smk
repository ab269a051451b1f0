"""Parts of a study, by name: defence_NAME, seed_K, attack_NAME, claim_ID, figure_NAME.

A part that takes all cells of its models asks for what the whole study asks for. One that takes
some cells has them computed one by one: they are kept in the same store, so that the whole study
doesn't compute them again, and lie in a folder of their own, `parts`, with the part's table.
"""


# The flags of such a cell compare it only with the cells that it took to compute it.
rule evaluate_cell:
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
        json="results/{study}/parts/cells/{defence}/seed{seed}/{cell}.json",
        parquet="results/{study}/parts/cells/{defence}/seed{seed}/{cell}.parquet",
    log:
        "logs/{study}/evaluate_cell/{defence}_seed{seed}_{cell}.log",
    benchmark:
        "logs/{study}/evaluate_cell/{defence}_seed{seed}_{cell}.tsv"
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
        out=part_cells_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust evaluate-cell {wildcards.cell:q} --cfg {params.cfg:q}"
        " --data {params.data:q} --model {params.model:q} {params.masked_lm:q}"
        " {params.sources:q} --cells {params.out:q} --work work/cells > {log:q} 2>&1"


use rule tabulate_metrics as tabulate_part with:
    input:
        cells=part_cells,
    output:
        csv="results/{study}/parts/{part}/metrics.csv",
        json="results/{study}/parts/{part}/metrics.json",
        flags="results/{study}/parts/{part}/flags.csv",
    log:
        "logs/{study}/tabulate_part/{part}.log",
    benchmark:
        "logs/{study}/tabulate_part/{part}.tsv"
    params:
        cfg=tabulate_part_cfg,
        code=tabulate_code,
        cells=part_root,


use rule judge_claims as judge_claim with:
    input:
        claims=local("config/claims.yaml"),
        cells=part_cells,
    output:
        verdicts="results/{study}/parts/{part}/claims.csv",
    log:
        "logs/{study}/judge_claim/{part}.log",
    benchmark:
        "logs/{study}/judge_claim/{part}.tsv"
    params:
        cfg=judge_claim_cfg,
        code=claims_code,
        cells=part_root,


# Their names are told from those of rules: a study's own targets could be called anything.
for part in PARTS.values():
    if workflow.is_rule(part.name):
        taken = ", ".join(sorted(rule.name for rule in workflow.rules))
        raise WorkflowError(
            f"study {STUDY!r}: targets.{part.name}: the name is taken by a rule (taken: {taken})"
        )

    rule:
        name:
            part.name
        input:
            part_files(part),


for figure in FIGURES:

    rule:
        name:
            f"figure_{figure}"
        input:
            expand(
                "results/{study}/figures/{figure}.{suffix}",
                study=STUDY,
                figure=figure,
                suffix=["png", "svg"],
            ),
