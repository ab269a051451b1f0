"""What Snakemake plans for each study, and that DVC's stages say the same.

The graphs are built in a copy of the project that holds no results: planning must not depend on
what happens to lie on this machine.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

import mmrobust.study  # noqa: F401  (or the copy's Snakefile would bring its own in here)
from mmrobust.artifacts import read_json
from mmrobust.errors import UserError
from mmrobust.pipeline import fingerprint
from mmrobust.pipeline.graph import planned_workflow
from mmrobust.pipeline.jobs import PHASES, digests_path, phase_and_study, write_jobs
from mmrobust.pipeline.part_targets import part_targets
from mmrobust.pipeline.planned import planned_study
from mmrobust.study import load_study

PROJECT = Path(__file__).parents[2]
STUDIES = sorted(path.stem for path in PROJECT.glob("config/*.yaml") if path.stem != "claims")


@dataclass(frozen=True)
class Job:
    """One job of a graph."""

    rule: str
    wildcards: dict[str, str]
    inputs: frozenset[str]
    outputs: frozenset[str]
    command: str
    params: dict[str, Any]
    compared: list[Any]
    threads: int
    resources: dict[str, Any]
    retried: dict[str, Any]


@pytest.fixture(scope="module")
def clone(fresh_clone) -> Path:
    return fresh_clone("plan")


@pytest.fixture(scope="module")
def plan(clone):
    """Build the graph of a study, once for each way it is asked for."""
    built: dict[tuple[str, str, bool], list[Job]] = {}

    def jobs(study: str, target: str = "all", *, needed: bool = False) -> list[Job]:
        key = (study, target, needed)
        if key not in built:
            with contextlib.chdir(clone):
                built[key] = graph(Path("config") / f"{study}.yaml", target, needed=needed)
        return built[key]

    return jobs


def graph(config: Path, target: str, *, needed: bool) -> list[Job]:
    """List the jobs behind a target; with `needed`, only those that would run."""
    with planned_workflow(config, [target]) as workflow:
        dag = workflow.dag
        return [described(job) for job in dag.jobs if dag.needrun(job) or not needed]


def described(job: Any) -> Job:
    return Job(
        rule=job.rule.name,
        wildcards=dict(job.wildcards_dict),
        inputs=frozenset(map(str, job.input)),
        outputs=frozenset(map(str, job.output)),
        command=job.rule.shellcmd or "",
        params={name: job.params.get(name) for name in job.params.keys()},  # noqa: SIM118
        compared=list(job.non_derived_params),
        threads=job.threads,
        resources=dict(job.resources.items()),
        retried=dict(job.rule.expand_resources(job.wildcards, job.input, 2).items()),
    )


@pytest.mark.parametrize("study", STUDIES)
def test_each_study_plans_every_step(plan, study):
    config = yaml.safe_load((PROJECT / "config" / f"{study}.yaml").read_text())
    laid_out = load_study(PROJECT / "config" / f"{study}.yaml")
    cells = len(laid_out.defences) * len(laid_out.seeds)
    counts: dict[str, int] = {}
    for job in plan(study):
        counts[job.rule] = counts.get(job.rule, 0) + 1
    assert counts.pop("download_data", None) == (1 if study == "flickr8k" else None)
    assert counts.pop("train_masked_lm", None) == (1 if "masked_lm" in config else None)
    augmented = len(laid_out.augmentations)
    assert [counts.pop(rule) for rule in ("augment_data", "measure_augmentation")] == [
        augmented
    ] * 2
    # One rule a set of cells.
    evaluated = [counts.pop(rule) for rule in list(counts) if rule.startswith("evaluate_model")]
    assert sum(evaluated) == cells
    assert counts == {
        "prepare_data": 1,
        "train_tokenizer": 1,
        "train_judge": 1,
        "train_model": cells,
        "tabulate_augmentations": 1,
        "tabulate_sweeps": 1,
        "tabulate_metrics": 1,
        "judge_claims": 1,
        "draw_figures": 1,
        "draw_examples": 1,
        "write_report": 1,
        "all": 1,
    }


def test_what_a_job_is_told_is_compared_with_its_last_run(plan):
    """Snakemake passes over parameters that are made from inputs; code and cfg must not be."""
    for job in plan("smoke"):
        told = [job.params[name] for name in ("cfg", "code") if job.params.get(name) is not None]
        assert all(value in job.compared for value in told), job.rule
    assert sum("code" in job.params for job in plan("smoke")) >= 18


def test_a_committed_table_hides_nothing(plan, clone):
    """Tables are committed; what they were made from must be made all the same."""
    names = ("metrics.csv", "claims.csv", "flags.csv", "augmentations.csv", "sweeps.csv")
    tables = [clone / "results" / "smoke" / name for name in names]
    before = plan("smoke", "report", needed=True)
    tables[0].parent.mkdir(parents=True, exist_ok=True)
    for table in tables:
        table.touch()
    with contextlib.chdir(clone):
        after = graph(Path("config/smoke.yaml"), "report", needed=True)
    for table in tables:
        table.unlink()
    assert {job.rule for job in after} == {job.rule for job in before}


def test_a_job_is_told_only_what_it_reads(plan, clone):
    """A changed attack reruns evaluation and what shows it; a changed recipe retrains its model."""

    def changed(**sections: Any) -> set[tuple[str, str]]:
        config = yaml.safe_load((clone / "config" / "smoke.yaml").read_text())
        for path, value in sections.items():
            *outer, last = path.split("__")
            target = config
            for key in outer:
                target = target[key]
            target[last] = value
        edited = clone / "edited" / "smoke.yaml"
        edited.parent.mkdir(exist_ok=True)
        edited.write_text(yaml.safe_dump(config, sort_keys=False))
        with contextlib.chdir(clone):
            return told_otherwise(plan("smoke"), graph(edited, "all", needed=False))

    defences = load_study(clone / "config" / "smoke.yaml").defences
    evaluations = {("evaluate_model", name) for name in defences}
    shown = {("draw_figures", ""), ("draw_examples", ""), ("write_report", "")}
    assert changed(title="Another title") == shown
    assert changed(attacks__pgd__steps=7) == {*evaluations, ("write_report", "")}
    # The method of a text search is no attack's: planning doesn't look it up among them.
    attack = "attacks__word_substitution__text__method"
    assert changed(**{attack: "greedy"}) == {*evaluations, ("write_report", "")}
    assert changed(defences__mat__steps=7) == {("train_model", "mat"), ("write_report", "")}
    swept = {("train_model", "mat_plus"), ("train_model", "mat_plus_misaligned_0p5")}
    assert changed(defences__mat_plus__steps=7) == {*swept, ("write_report", "")}


def edited_graph(clone: Path, change: Callable[[dict[str, Any]], None], target: str = "all") -> Any:
    """The graph of the smoke study with a change of its configuration."""
    config = yaml.safe_load((clone / "config" / "smoke.yaml").read_text())
    change(config)
    edited = clone / "edited" / "smoke.yaml"
    edited.parent.mkdir(exist_ok=True)
    edited.write_text(yaml.safe_dump(config, sort_keys=False))
    with contextlib.chdir(clone):
        return graph(edited, target, needed=False)


def evaluations(jobs: list[Job]) -> dict[str, Job]:
    """Evaluations by the defence of their model."""
    return {job.wildcards["defence"]: job for job in jobs if job.rule.startswith("evaluate_model")}


def told(job: Job) -> dict[str, Any]:
    """The part of the study that a job is told."""
    content: dict[str, Any] = json.loads(job.params["cfg"])
    return content


EPS = {"apgd_eps_4_255", "apgd_eps_16_255"}


def in_part(config: dict[str, Any]) -> None:
    config["attacks"]["sga_transfer"]["defences"] = ["mat", "tecoa"]
    config["curves"]["eps"]["defences"] = ["mat", "tecoa"]
    config["ensembles"]["strongest"]["defences"] = ["standard"]


def test_a_model_is_evaluated_by_what_is_run_on_it(plan, clone):
    whole, part = evaluations(plan("smoke")), evaluations(edited_graph(clone, in_part))
    left_out = {
        name: {Path(file).stem for file in job.outputs - part[name].outputs}
        for name, job in whole.items()
    }
    assert left_out == {
        "standard": {"sga_transfer", *EPS},
        "tecoa": {"strongest"},
        "mat": {"strongest"},
        "mat_plus": {"sga_transfer", "strongest", *EPS},
        "mat_plus_misaligned_0p5": {"sga_transfer", "strongest", *EPS},
    }
    assert {name: job.rule for name, job in part.items()} == {
        "standard": "evaluate_model_1",
        "tecoa": "evaluate_model_2",
        "mat": "evaluate_model_2",
        "mat_plus": "evaluate_model_3",
        "mat_plus_misaligned_0p5": "evaluate_model_3",
    }
    source = "results/smoke/models/standard/seed0/model.safetensors"
    assert {name for name in part if source in part[name].inputs} == {"standard", "tecoa", "mat"}
    assert {name for name in part if part[name].params["sources"]} == {"tecoa", "mat"}
    for name, job in part.items():
        assert job.outputs < whole[name].outputs
        mine, of_all = told(job), told(whole[name])
        cells = {file for file in job.outputs if "/cells/" in file and "run.json" not in file}
        assert set(mine["code"]) == {Path(file).stem for file in cells}
        for section in ("code", "attacks", "ensembles", "threat_models"):
            assert mine[section].items() <= of_all[section].items()
        assert ("adaptive" in mine["attacks"]) is (name == "standard"), "an ensemble alone runs it"


def test_what_follows_asks_for_the_cells_that_are_run_and_no_more(clone):
    jobs = edited_graph(clone, in_part)
    made = {file for job in jobs for file in job.outputs}
    by_rule = {job.rule: job for job in jobs}
    folders = {"tabulate_metrics": "cells", "judge_claims": "cells", "draw_examples": "examples"}
    for rule, folder in folders.items():
        files = {file for file in made if f"/{folder}/" in file and "run.json" not in file}
        assert {file for file in by_rule[rule].inputs if f"/{folder}/" in file} == files
    only = {name: ["mat", "tecoa"] for name in ("sga_transfer", *EPS)} | {"strongest": ["standard"]}
    for rule in ("tabulate_metrics", "judge_claims"):
        assert told(by_rule[rule])["only"] == only
    for rule in ("draw_figures", "draw_examples"):
        assert json.loads(by_rule[rule].params["parts"]) == {"only": only}


def test_where_else_an_attack_is_run_changes_nothing_of_a_model(plan, clone):
    def narrower(config: dict[str, Any]) -> None:
        in_part(config)
        config["curves"]["eps"]["defences"] = ["mat"]

    def everywhere(config: dict[str, Any]) -> None:
        config["attacks"]["pgd"]["defences"] = [*config["defences"], "mat_plus_misaligned_0p5"]

    before, after = (evaluations(edited_graph(clone, change)) for change in (in_part, narrower))
    assert [name for name in before if before[name].params != after[name].params] == ["tecoa"]
    whole, named = evaluations(plan("smoke")), evaluations(edited_graph(clone, everywhere))
    assert {job.rule for job in named.values()} == {"evaluate_model"}
    assert {name: job.params for name, job in named.items()} == {
        name: job.params for name, job in whole.items()
    }


def test_a_target_asks_for_the_models_and_cells_of_its_defences(plan, clone):
    def named(config: dict[str, Any]) -> None:
        config["seeds"] = [0, 1]
        in_part(config)
        config["targets"] = {"words": ["tecoa", "mat_plus"], "first": ["standard"]}

    jobs = edited_graph(clone, named, "words")
    [target] = [job for job in jobs if job.rule == "words"]
    part = [job for job in jobs if job.wildcards.get("defence") in ("tecoa", "mat_plus")]
    models = {file for job in part for file in job.outputs if "/models/" in file}
    cells = {file for job in part for file in job.outputs if "/cells/" in file}
    assert len(models) == 5 * 4
    assert target.inputs == models | {"results/smoke/parts/words/metrics.csv"}
    [table] = [job for job in jobs if job.rule == "tabulate_part"]
    assert table.inputs == {file for file in cells if not file.endswith("run.json")}
    assert table.params["cells"] == "results/smoke/cells"
    assert told(table)["defences"] == ["tecoa", "mat_plus"]
    assert {(of.wildcards["defence"], of.wildcards["seed"]) for of in part} == {
        (name, seed) for name in ("tecoa", "mat_plus") for seed in ("0", "1")
    }
    others = {job.rule for job in jobs if job not in part}
    assert others == {
        *("words", "prepare_data", "train_tokenizer", "train_masked_lm", "augment_data"),
        *("tabulate_part", "train_model"),  # the undefended model, which both start from
    }


def seeded(config: dict[str, Any]) -> None:
    config["seeds"] = [0, 1]
    in_part(config)


def test_a_seed_or_a_defence_takes_whole_models(clone):
    jobs = edited_graph(clone, seeded, "seed_1")
    evaluated = [job for job in jobs if job.rule.startswith("evaluate_model")]
    assert {job.wildcards["seed"] for job in evaluated} == {"1"}
    assert len(evaluated) == 5
    jobs = edited_graph(clone, seeded, "defence_mat")
    evaluated = [job for job in jobs if job.rule.startswith("evaluate_model")]
    assert {job.wildcards["defence"] for job in evaluated} == {"mat"}
    assert len(evaluated) == 2
    assert not any(job.rule == "evaluate_cell" for job in jobs)


def test_an_attack_takes_its_own_cells_and_the_clean_ones(clone):
    jobs = edited_graph(clone, seeded, "attack_sga_transfer")
    cells = [job for job in jobs if job.rule == "evaluate_cell"]
    assert {(of.wildcards["defence"], of.wildcards["cell"]) for of in cells} == {
        (defence, cell) for defence in ("tecoa", "mat") for cell in ("clean", "sga_transfer")
    }
    assert len(cells) == 8
    source = "results/smoke/models/standard/seed1/model.safetensors"
    for job in cells:
        assert set(told(job)["attacks"]) == {job.wildcards["cell"]} - {"clean"}
        asks = job.wildcards == {**job.wildcards, "cell": "sga_transfer", "seed": "1"}
        assert (source in job.inputs) is asks
    [table] = [job for job in jobs if job.rule == "tabulate_part"]
    assert table.inputs == {file for job in cells for file in job.outputs}
    assert told(table)["attacks"] == ["clean", "sga_transfer"]
    assert table.params["cells"] == "results/smoke/parts/cells"
    assert not any(job.rule.startswith("evaluate_model") for job in jobs)


def test_an_ensemble_is_asked_for_with_its_members(clone):
    jobs = edited_graph(clone, seeded, "attack_strongest")
    cells = [job for job in jobs if job.rule == "evaluate_cell"]
    assert {job.wildcards["defence"] for job in cells} == {"standard"}
    worst = next(job for job in cells if job.wildcards["cell"] == "strongest")
    assert set(told(worst)["attacks"]) == {"pgd", "word_substitution", "sga", "adaptive"}
    assert set(told(worst)["code"]) == {"clean", "pgd", "word_substitution", "sga", "strongest"}


def test_a_claim_takes_what_it_compares_and_counts_the_others(clone):
    jobs = edited_graph(clone, seeded, "claim_undefended_collapses")
    cells = [job for job in jobs if job.rule == "evaluate_cell"]
    assert {(of.wildcards["defence"], of.wildcards["cell"]) for of in cells} == {
        ("standard", "sga"),
        ("standard", "clean"),
    }
    [judged] = [job for job in jobs if job.rule == "judge_claim"]
    assert told(judged)["claims"] == ["undefended_collapses"]
    assert told(judged)["beside"] == 1


def test_cells_asked_for_one_by_one_are_those_of_the_whole_study(plan, clone):
    """What they are computed from is told in the same words, so that they have the same key."""
    whole = {
        (of.wildcards["defence"], of.wildcards["seed"]): told(of)
        for of in plan("smoke")
        if of.rule.startswith("evaluate_model")
    }
    for target in ("attack_strongest", "attack_sga_transfer", "attack_bert_attack"):
        jobs = [job for job in plan("smoke", target) if job.rule == "evaluate_cell"]
        assert jobs
        for job in jobs:
            mine = told(job)
            of_all = whole[job.wildcards["defence"], job.wildcards["seed"]]
            for section in ("code", "attacks", "ensembles", "threat_models"):
                assert mine.pop(section).items() <= of_all[section].items()
            asks = mine.pop("asks_masked_lm")
            assert set(asks) == set(of_all["asks_masked_lm"]) & {job.wildcards["cell"]}
            assert mine.items() <= of_all.items()


@pytest.mark.parametrize("study", STUDIES)
def test_every_part_of_a_study_has_a_target(study):
    """By a name that says what it is."""
    config = load_study(PROJECT / "config" / f"{study}.yaml")
    alone = [name for name, of in config.attacks.items() if of.get("standalone", True)]
    assert set(part_targets(config, PROJECT / "config" / "claims.yaml")) == {
        *(f"defence_{name}" for name in config.defences),
        *(f"seed_{seed}" for seed in config.seeds),
        *(f"claim_{name}" for name in config.claims),
        *(f"attack_{name}" for name in [*alone, *config.ensembles]),
        *config.targets,
    }


@pytest.mark.parametrize("study", STUDIES)
def test_a_part_of_each_kind_takes_its_own_models_and_cells(plan, study):
    """Of each study: one that has a download, or several seeds, may fail where others plan."""
    config = load_study(PROJECT / "config" / f"{study}.yaml")
    for defence in list(config.defences)[:1]:
        whole = {(defence, str(seed)) for seed in config.seeds}
        assert models_and_cells(plan(study, f"defence_{defence}")) == (whole, set())
    for seed in config.seeds[:1]:
        whole = {(defence, str(seed)) for defence in config.defences}
        assert models_and_cells(plan(study, f"seed_{seed}")) == (whole, set())
    for name, defences in list(config.targets.items())[:1]:
        whole = {(defence, str(seed)) for defence in defences for seed in config.seeds}
        assert models_and_cells(plan(study, name)) == (whole, set())
    attack, ensemble = next(iter(config.attacks)), next(iter(config.ensembles))
    for name in (attack, ensemble):
        on = {**config.attacks, **config.ensembles}[name].get("defences", config.defences)
        cells = {
            (defence, str(seed), cell)
            for defence in on
            for seed in config.seeds
            for cell in ("clean", name)
        }
        jobs = plan(study, f"attack_{name}")
        assert models_and_cells(jobs) == (set(), cells)
        assert [job.rule for job in jobs].count("tabulate_part") == 1
    for claim in config.claims[:1]:
        jobs = plan(study, f"claim_{claim}")
        assert [job.rule for job in jobs].count("judge_claim") == 1
        whole, cells = models_and_cells(jobs)
        assert whole == set()
        assert {seed for _, seed, _ in cells} == {str(seed) for seed in config.seeds}
    rules = [job.rule for job in plan(study, "figure_worst_case")]
    assert rules.count("draw_figures") == rules.count("tabulate_metrics") == 1
    assert not {*rules} & {"draw_examples", "write_report", "judge_claims"}


def models_and_cells(
    jobs: list[Job],
) -> tuple[set[tuple[str, str]], set[tuple[str, str, str]]]:
    """Models that are evaluated whole, by defence and seed; and cells that are computed alone."""
    of = [(job.rule, job.wildcards) for job in jobs]
    whole = {(at["defence"], at["seed"]) for rule, at in of if rule.startswith("evaluate_model")}
    alone = {(at["defence"], at["seed"], at["cell"]) for rule, at in of if rule == "evaluate_cell"}
    return whole, alone


def test_targets_change_no_job(plan, clone):
    def named(config: dict[str, Any]) -> None:
        config["targets"] = {"words": ["mat"]}

    assert told_otherwise(plan("smoke"), edited_graph(clone, named)) == set()


def told_otherwise(before: list[Job], after: list[Job]) -> set[tuple[str, str]]:
    """Rule and defence of the jobs whose parameters differ; any of them would run again."""

    def named(jobs: list[Job]) -> dict[tuple[str, str], Job]:
        return {(job.rule, str(job.wildcards)): job for job in jobs}

    old, new = named(before), named(after)
    return {
        (rule, job.wildcards.get("defence", ""))
        for (rule, wildcards), job in new.items()
        if job.params != old[rule, wildcards].params
    }


def test_another_schema_of_configurations_reruns_nothing(plan, fresh_clone):
    """It is generated anew with each attack or defence that is added."""
    other = fresh_clone("schema")
    schema = other / "src" / "mmrobust" / "study.schema.json"
    schema.write_text(json.dumps({**json.loads(schema.read_text()), "$comment": "altered"}))
    with contextlib.chdir(other):
        after = graph(Path("config/smoke.yaml"), "all", needed=False)
    assert all(job.params.get("code") for job in after if job.rule != "all")
    assert told_otherwise(plan("smoke"), after) == set()


@pytest.mark.parametrize("study", STUDIES)
def test_fingerprints_cover_what_the_verbs_import(clone, study, monkeypatch):
    """All but the modules that a registry selects: those are added by name."""
    source = PROJECT / "src"

    monkeypatch.setattr(fingerprint, "digest_of", " ".join)
    with contextlib.chdir(clone):
        jobs = graph(Path("config") / f"{study}.yaml", "all", needed=False)
    verbs = set()
    for job in jobs:
        for verb in re.findall(r"python -m mmrobust (\S+)", job.command):
            verbs.add(verb)
            imported = modules_of_verb(verb, source)
            assert imported, verb
            covered = {*job.params["code"].split(), *fingerprint.REGISTRIES}
            assert imported <= covered, job.rule
    config = yaml.safe_load((PROJECT / "config" / f"{study}.yaml").read_text())
    assert len(verbs) == 12 + (study == "flickr8k") + ("masked_lm" in config)


def modules_of_verb(verb: str, source: Path) -> set[str]:
    """The package's modules that a verb of the command line imports, directly or not."""
    tree = ast.parse((source / "mmrobust" / "cli" / "jobs.py").read_bytes())
    [function] = [
        node
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name == verb.replace("-", "_")
    ]
    names = {
        name
        for name, is_module in fingerprint._imported(function, "mmrobust.cli.jobs")
        if name.startswith("mmrobust") and (is_module or fingerprint._found(name, source))
    }
    return set(fingerprint.closure(names, source=source)) if names else set()


def test_threads_and_devices_follow_the_study_and_not_the_cores(plan):
    sets = load_study(PROJECT / "config" / "smoke.yaml").augmentations
    assert {of.get("workers", 1) for of in sets.values()} == {1, 2}
    for job in plan("smoke"):
        made = job.wildcards["augmentation"] if job.rule == "augment_data" else None
        assert job.threads == (sets[made].get("workers", 1) if made else 1)
        assert job.resources.get("gpu", 0) == 0
        if job.rule == "train_model":
            assert '"threads": 1' in job.params["cfg"]


@pytest.mark.parametrize("study", STUDIES)
def test_every_job_asks_for_memory_and_time_and_for_twice_as_much_when_it_failed(plan, study):
    for job in plan(study):
        if job.command:
            assert job.resources["mem_mb"] >= 1000, job.rule
            assert job.resources["runtime"] >= 15, job.rule
            for name in ("mem_mb", "runtime"):
                assert job.retried[name] == 2 * job.resources[name], job.rule
        assert not {"mem_mb", "runtime", "attempt"} & job.params.keys(), "or a retry reran others"


@pytest.mark.parametrize("study", STUDIES)
def test_a_defence_starts_from_the_model_that_it_names(plan, study):
    defences = load_study(PROJECT / "config" / f"{study}.yaml").defences
    for job in plan(study):
        if job.rule == "train_model":
            initial = defences[job.wildcards["defence"]].get("initial")
            models = f"results/{study}/models"
            folder = f"{models}/{initial}/seed{job.wildcards['seed']}"
            read = {file for file in job.inputs if file.startswith(models)}
            names = ("model.safetensors", "model.json", "tokenizer.json")
            assert read == ({f"{folder}/{name}" for name in names} if initial else set())
            assert job.params["initial"] == (["--initial", folder] if initial else [])


def test_a_model_from_a_place_of_ones_own_is_an_input_of_what_reads_it(fresh_clone):
    def weighted(config: dict[str, Any]) -> None:
        config["judge"]["model"] = {"pretrained": {"name": "RN101", "weights": "own/judge.pt"}}
        config["model"] = {"pretrained": {"name": "RN50", "weights": "own/clip.pt"}}
        config["masked_lm"] = {"pretrained": {"name": "own/bert"}}
        captioner = {"method": "captioner", "model": "own/captioner", "n": 1}
        config["augmentations"]["described"] = captioner

    clone = fresh_clone("weights")
    read_by = {
        "own/clip.pt": {"train_model"},
        "own/judge.pt": {"train_judge"},
        "own/bert/config.json": {"train_masked_lm"},
        "own/captioner/deep/model.safetensors": {"augment_data"},
    }
    for name in read_by:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).touch()
    jobs = edited_graph(clone, weighted)
    for name, rules in read_by.items():
        assert {job.rule for job in jobs if name in job.inputs} == rules
    made = [job.wildcards["augmentation"] for job in jobs if name in job.inputs]
    assert made == ["described"], "other sets are not made by that model"

    def digests() -> object:
        with contextlib.chdir(clone):
            write_jobs(Path("edited/smoke.yaml"))
        return read_json(clone / digests_path("smoke"))

    here = digests()
    shutil.rmtree(clone / "own")
    assert here == digests(), "what a study's jobs are is the same on any machine"


def test_a_point_of_a_sweep_learns_from_its_own_set(plan):
    [point] = [
        job
        for job in plan("smoke")
        if job.rule == "train_model" and job.wildcards["defence"] == "mat_plus_misaligned_0p5"
    ]
    [made] = [
        job
        for job in plan("smoke")
        if job.wildcards.get("augmentation") == "paraphrases_misaligned_0p5"
        and job.rule == "augment_data"
    ]
    assert '"misaligned": 0.5' in made.params["cfg"]
    assert made.outputs <= point.inputs
    assert "data/augmented/smoke/paraphrases/items.parquet" not in point.inputs


def test_no_two_models_share_a_place_to_resume_from(plan):
    places = [job.params["work"] for job in plan("smoke") if job.rule == "train_model"]
    assert len(set(places)) == len(places)


def test_the_workflow_is_free_of_lint(tool, clone):
    done = tool("snakemake", "--lint", cwd=clone)
    assert "Congratulations" in done.stdout


SMOKE = yaml.safe_load((PROJECT / "config" / "smoke.yaml").read_text())


def planned(values: dict[str, Any], *, warn: Callable[[str], None] = pytest.fail) -> Any:
    claims = PROJECT / "config" / "claims.yaml"
    return planned_study(values, files=["config/smoke.yaml"], claims=claims, warn=warn)


def test_planning_warns_of_claims_that_will_be_missing():
    warned: list[str] = []
    values = copy.deepcopy(SMOKE)
    assert planned(values).claims == SMOKE["claims"]
    values["claims"] = ["mat_beats_fare_at_worst"]
    planned(values, warn=warned.append)
    assert warned == [
        "config/smoke.yaml: claims: 'mat_beats_fare_at_worst' will be missing: the study has no "
        "cell fare/strongest"
    ]


def test_a_source_is_a_checkpoint_or_will_be_made(tmp_path):
    values = copy.deepcopy(SMOKE)
    transfer = values["threat_models"]["transfer_2_255_1word"]
    transfer["source"] = str(tmp_path / "another")
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "model.json").touch()
    with pytest.raises(UserError, match=r"transfer_2_255_1word\.source: .*another holds no check"):
        planned(values)
    (tmp_path / "another" / "model.safetensors").touch()
    assert planned(values).threat_models["transfer_2_255_1word"] == transfer
    transfer["source"] = "results/other/models/standard/seed0"
    assert planned(values).threat_models["transfer_2_255_1word"] == transfer


def test_a_changed_list_of_checksums_checks_the_raw_files_again(plan):
    [download] = [job for job in plan("flickr8k") if job.rule == "download_data"]
    assert download.inputs == {"data/raw/flickr8k.sha256", "data/raw/lexicon.sha256"}


# DVC's stages against Snakemake's graph


@pytest.fixture(scope="module")
def stages(clone) -> dict[tuple[str, str], Any]:
    """DVC's stages by study and phase, as DVC itself resolves them."""
    with Repo(str(clone)) as repo:
        found = {}
        for stage in repo.index.stages:
            phase, study = phase_and_study(stage.name)
            found[study, phase] = stage
        return found


def paths(items: list[Any], clone: Path) -> set[str]:
    return {os.path.relpath(item.fs_path, clone) for item in items}


def covered(path: str, tops: set[str]) -> bool:
    return any(path == top or path.startswith(f"{top}/") for top in tops)


def test_every_study_has_a_stage_for_each_phase(stages):
    assert set(stages) == {(study, phase) for study in STUDIES for phase in ("jobs", *PHASES)}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("study", STUDIES)
def test_stages_say_what_the_graph_does(plan, stages, clone, study, phase):
    stage = stages[study, phase]
    outs = paths(stage.outs, clone)
    jobs = [job for job in plan(study) if any(covered(file, outs) for file in job.outputs)]
    assert jobs
    made = {file for job in jobs for file in job.outputs}
    assert {file for file in made if not covered(file, outs)} == set(), "made, not in outs"
    assert {out for out in outs if not any(covered(file, {out}) for file in made)} == set(), (
        "in outs, no job makes it"
    )
    dependencies = {
        os.path.relpath(dep.fs_path, clone) for dep in stage.deps if not hasattr(dep, "params")
    }
    read = {file for job in jobs for file in job.inputs} - made
    assert {file for file in read if not covered(file, dependencies)} == set(), "read, not in deps"
    for dependency in dependencies:
        assert any(covered(file, {dependency}) for file in read), f"nothing reads {dependency}"


@pytest.mark.parametrize("study", STUDIES)
def test_every_output_belongs_to_one_stage(plan, stages, clone, study):
    outs = [paths(stages[study, phase].outs, clone) for phase in PHASES]
    for job in plan(study):
        for file in job.outputs:
            assert sum(covered(file, tops) for tops in outs) == 1, file


@pytest.mark.parametrize("study", STUDIES)
def test_what_jobs_are_planned_from_is_what_their_digests_depend_on(stages, clone, study):
    stage = stages[study, "jobs"]
    config = f"config/{study}.yaml"
    assert stage.cmd == f"python -m mmrobust write-jobs --configfile {config}"
    planned_from = {"Snakefile", "notebooks", "requirements.lock", "src/mmrobust", "workflow/rules"}
    assert paths(stage.deps, clone) == {config, *planned_from}
    assert paths(stage.outs, clone) == {str(digests_path(study))}
    assert not stage.frozen


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("study", STUDIES)
def test_stages_call_snakemake_for_their_phase_and_depend_on_their_study(
    stages, clone, study, phase
):
    stage = stages[study, phase]
    config = f"config/{study}.yaml"
    assert stage.cmd == f"snakemake --cores all --configfile {config} -- {phase}"
    known = yaml.safe_load((PROJECT / config).read_text())
    keys = {
        os.path.relpath(dep.fs_path, clone): dep.params
        for dep in stage.deps
        if hasattr(dep, "params")
    }
    assert keys.pop(str(digests_path(study))) == [phase]
    assert list(keys) == [config]
    assert keys[config]
    assert set(keys[config]) <= set(known)
    assert all(out.persist for out in stage.outs)
    is_table = [out for out in stage.outs if out.metric or str(out).endswith(".csv")]
    assert not any(out.use_cache for out in is_table)


@pytest.mark.parametrize("study", STUDIES)
def test_what_is_not_ours_to_pass_on_is_not_pushed(stages, study, clone):
    """Data that may not be redistributed: pixels and captions stay here, and so do its stages."""
    from mmrobust.pipeline import registered

    config = yaml.safe_load((PROJECT / "config" / f"{study}.yaml").read_text())
    registry, name, source = "mmrobust.data:DATASETS", config["dataset"]["name"], PROJECT / "src"
    redistributable = registered.class_constant(
        registry, name, "redistributable", False, source=source
    )
    shown = [f"results/{study}/{name}" for name in ("examples", "figures", "report.html")]
    private = {f"data/processed/{study}", *shown}
    for phase in PHASES:
        stage = stages[study, phase]
        assert stage.frozen is not (study in ("scenes", "smoke"))
        for out in stage.outs:
            path = os.path.relpath(out.fs_path, clone)
            if path in private:
                assert out.can_push is redistributable, path
                private.remove(path)
    assert not private, "made by no stage"
