"""Small jobs that ask of Slurm what the study's jobs ask: memory, time and GPUs."""


include: "../../workflow/rules/resources.smk"


rule all:
    input:
        "jobs/hog",
        expand("jobs/gpu{number}", number=[0, 1]),


# Takes 400 MB beside Snakemake itself, which is more than its first attempt asks for.
rule hog:
    output:
        "jobs/hog",
    resources:
        mem_mb=growing(400),
        runtime=growing(2),
    shell:
        "echo {resources.mem_mb} >> jobs/attempts;"
        " python -c 'import time; held = bytes(1) * (400 << 20); time.sleep(5)';"
        " cp jobs/attempts {output}"


# Each waits for the other, so that both hold their GPU at once or fail.
rule gpu:
    output:
        "jobs/gpu{number}",
    resources:
        mem_mb=growing(400),
        runtime=growing(2),
        gpu=1,
    shell:
        "echo $CUDA_VISIBLE_DEVICES > jobs/met{wildcards.number};"
        " timeout 60 sh -c 'until test -f jobs/met0 -a -f jobs/met1; do sleep 0.2; done';"
        " cp jobs/met{wildcards.number} {output}"
