"""What a reader opens: figures and the report."""


# The executed notebook is a log: a failed run keeps it with its traceback, and its bytes, which
# hold times, are nothing that later jobs depend on. Every notebook takes the same parameters, so
# that the rules differ in names alone.
rule draw_figures:
    input:
        notebook=local("notebooks/recall_by_defence.ipynb"),
        metrics="results/{study}/metrics.csv",
        sweeps="results/{study}/sweeps.csv",
        augmentations=augmentation_tables(),
    output:
        png=report(
            expand(
                "results/{{study}}/figures/{figure}.png",
                figure=figures_of("recall_by_defence"),
            ),
            caption="../report/figures.rst",
            category="Figures",
        ),
        svg=expand(
            "results/{{study}}/figures/{figure}.svg",
            figure=figures_of("recall_by_defence"),
        ),
    log:
        notebook="logs/{study}/draw_figures/recall_by_defence.ipynb",
        text="logs/{study}/draw_figures/recall_by_defence.log",
    benchmark:
        "logs/{study}/draw_figures/recall_by_defence.tsv"
    group:
        "closing"
    resources:
        mem_mb=growing(2000),
        runtime=growing(15),
    params:
        title=study.title,
        parts=drawn_parts(),
        code=notebook_code("recall_by_defence"),
        results=results_folder,
        out=figures_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust draw-figures {input.notebook:q} {log.notebook:q}"
        " --results {params.results:q} --out {params.out:q} --title {params.title:q}"
        " --parts {params.parts:q} > {log.text:q} 2>&1"


use rule draw_figures as draw_examples with:
    input:
        notebook=local("notebooks/examples.ipynb"),
        metrics="results/{study}/metrics.csv",
        sweeps="results/{study}/sweeps.csv",
        examples=example_files(),
    output:
        png=report(
            expand(
                "results/{{study}}/figures/{figure}.png", figure=figures_of("examples")
            ),
            caption="../report/examples.rst",
            category="Figures",
        ),
        svg=expand(
            "results/{{study}}/figures/{figure}.svg", figure=figures_of("examples")
        ),
    log:
        notebook="logs/{study}/draw_examples/examples.ipynb",
        text="logs/{study}/draw_examples/examples.log",
    benchmark:
        "logs/{study}/draw_examples/examples.tsv"
    params:
        title=study.title,
        parts=drawn_parts(),
        code=notebook_code("examples"),
        results=results_folder,
        out=figures_folder,


rule write_report:
    input:
        metrics="results/{study}/metrics.csv",
        summary="results/{study}/metrics.json",
        claims="results/{study}/claims.csv",
        flags="results/{study}/flags.csv",
        augmentations=augmentation_tables(),
        sweeps="results/{study}/sweeps.csv",
        figures=figure_files(),
        cells=cell_files(),
        runs=evaluation_run_files(),
        training=training_record_files(),
        manifest="data/processed/{study}/manifest.json",
    output:
        page=report(
            "results/{study}/report.html",
            caption="../report/report.rst",
            category="Report",
        ),
    log:
        "logs/{study}/write_report.log",
    benchmark:
        "logs/{study}/write_report.tsv"
    group:
        "closing"
    resources:
        mem_mb=growing(1000),
        runtime=growing(15),
    params:
        cfg=report_cfg,
        code=report_code,
        results=results_folder,
        data=data_folder,
    shell:
        "MMROBUST_CODE={params.code} python -m mmrobust write-report --cfg {params.cfg:q} --results {params.results:q}"
        " --data {params.data:q} --out {output.page:q} > {log:q} 2>&1"
