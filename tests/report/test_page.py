"""The report shows every verdict and number, needs nothing else, and trusts no text."""

from __future__ import annotations

import csv
import json
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from mmrobust.errors import UserError
from mmrobust.figures.catalogue import FIGURES, figures_of, shown_figures
from mmrobust.figures.style import label
from mmrobust.report.inputs import read_inputs
from mmrobust.report.page import write_report
from mmrobust.sweep_table import tabulate

SVG = '<svg xmlns="http://www.w3.org/2000/svg"/>'


class Page(HTMLParser):
    """Tags with attributes, and the text outside style."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._inside.append("/" + tag)

    def handle_data(self, data: str) -> None:
        if not self._inside or self._inside[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def study(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results: Path = made_up.write_study(tmp_path_factory.mktemp("results") / "scenes")
    for name in FIGURES:
        path = results / "figures" / f"{name}.svg"
        path.parent.mkdir(exist_ok=True)
        path.write_text(SVG, encoding="utf-8")
    manifest = {
        "licence": "made for this project",
        "redistributable": True,
        "source_resolution": None,
        "splits": {"test": {"images": 2000, "captions": 10000}},
    }
    (results / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return results


@pytest.fixture(scope="module")
def html(made_up: ModuleType, study: Path) -> str:
    out = study / "report.html"
    write_report(made_up.config(), study, out, manifest=study / "manifest.json")
    return out.read_text(encoding="utf-8")


def report(made_up: ModuleType, results: Path, **changes: object) -> Page:
    out = results / "report.html"
    write_report(made_up.config() | changes, results, out)
    return Page(out.read_text(encoding="utf-8"))


def test_the_answer_and_the_pictures_come_before_the_verdicts(html: str) -> None:
    text = Page(html).text
    answer = text.index("SGA takes the undefended model from 65.7 % to 3.4 % recall at 1")
    best = text.index("MAT keeps the most, 49.6 %")
    verdicts = text.index(
        "Verdicts on one training run each: 2 reproduced, 1 contradicted, 1 inconclusive, 1 missing"
    )
    assert answer < best < text.index("Pictures") < verdicts < text.index("Each claim is a")
    first, last = html.index("<img"), html.rindex("<img", 0, html.index('<section id="recall"'))
    assert html.index("<h1") < first < last < html.index('<section id="claims"')


def test_every_claim_has_its_verdict_and_numbers(made_up: ModuleType, html: str) -> None:
    text = Page(html).text
    for claim in made_up.CLAIMS:
        for key in ("id", "statement", "source", "statistic", "note"):
            assert claim[key] in text
        for key in ("estimate", "low", "high", "margin"):
            if claim[key] != "":
                assert f"{claim[key]:.4f}".replace("-", "\N{MINUS SIGN}") in text
    verdicts = re.findall(r'<td><span class="badge (\w+)">', html)
    assert verdicts == [claim["verdict"] for claim in made_up.CLAIMS]
    drawn = [tag for tag in Page(html).all("svg") if "strip" in str(tag["class"])]
    assert len(drawn) == sum(claim["estimate"] != "" for claim in made_up.CLAIMS)


def test_every_number_of_the_table_is_shown(study: Path, html: str) -> None:
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))
    with (study / "metrics.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            value, low, high = (f"{100 * float(row[key]):.1f}" for key in ("value", "low", "high"))
            number = re.escape(f"{value} [{low}, {high}]")
            assert re.search(rf"{number} (flag )?n = {int(row['n']):,}", text)


def test_tables_have_a_row_for_every_defence_and_direction(html: str) -> None:
    # 2 protocols x 2 label kinds x (3 k of recall, 1 of each attack success rate) x 6 rows
    rows = re.findall(r"<tr><td>(?:i2t|t2i)</td>", html)
    assert len(rows) == 2 * 2 * 5 * 6


def test_mean_number_of_positives_stands_beside_values_of_the_positives_matrix(
    made_up: ModuleType, html: str
) -> None:
    shown = '<th scope="col">positives a query, mean</th>'
    tables = re.findall(r"<summary>([^<]*)</summary>(.*?)</details>", html, re.DOTALL)
    for title, content in tables:
        counted = title.startswith("Recall at") and "positives matrix" in title
        assert (shown in content) is counted, title
        for direction, mean in made_up.POSITIVES.items():
            cells = re.findall(rf'<tr><td>{direction}</td><th scope="row">[^<]*</th>(.*)', content)
            assert all((f'<td class="number">{mean}</td>' in row) is counted for row in cells)
            assert cells or "Recall" not in title
    # recall at 1, 5 and 10 under two protocols
    assert html.count(shown) == 3 * 2


def test_the_main_gallery_size_makes_the_headline_and_comes_first(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = made_up.metric_rows()
    larger = [row | {"gallery_images": 2000, "value": 0.5} for row in rows]
    made_up.write_metrics(tmp_path / "metrics.csv", [*rows, *larger])
    text = report(made_up, tmp_path).text
    assert "SGA takes the undefended model from 65.7 % to 3.4 % recall at 1" in text
    assert "MAT keeps the most, 49.6 %" in text
    first = text.index("Recall at 1, whole gallery attacked, one-image labels, galleries of 400")
    assert first < text.index("galleries of 2,000 images")


def test_the_headline_is_of_those_measured_where_some_are_missing(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = made_up.metric_rows()
    made_up.write_metrics(tmp_path / "metrics.csv", rows)
    more = {**made_up.config()["defences"], "fare": {"method": "fare"}}
    text = report(made_up, tmp_path, defences=more).text
    assert "MAT keeps the most of those measured, 49.6 %" in text
    one = [row for row in rows if row["defence"] == "mat"]
    made_up.write_metrics(tmp_path / "metrics.csv", one)
    text = report(made_up, tmp_path).text
    assert "MAT keeps the most" not in text
    assert re.search(r"Under [\w ]+, MAT keeps \d", text)


def test_the_page_needs_nothing_but_itself(html: str) -> None:
    page = Page(html)
    assert not page.all("script")
    for tag, attributes in page.tags:
        for name in ("src", "srcset", "href", "data", "action", "poster"):
            address = attributes.get(name) or ""
            plain = ("#", "https://example.org/") if tag == "a" else ("data:",)
            assert not address or address.startswith(plain)
    assert "@import" not in html
    assert "url(" not in html


def test_what_sweeps_laid_out_stands_in_the_tables_alone(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = made_up.metric_rows()
    best = [
        row | {"defence": "mat_n_1", "value": min(row["value"] + 0.1, 1.0)}
        for row in rows
        if row["defence"] == "mat"
    ]
    made_up.write_metrics(tmp_path / "metrics.csv", rows + best)
    cfg = made_up.config()
    cfg["defences"]["mat_n_1"] = cfg["defences"]["mat"]
    for defence in cfg["defences"]:
        history = tmp_path / "models" / defence / "seed0" / "history.csv"
        history.parent.mkdir(parents=True)
        history.write_text("step,loss\n1,2.0\n2,1.0\n", encoding="utf-8")
    found = read_inputs(cfg, tmp_path)
    assert found.grid == found.own
    point = {"sweep": "number", "field": "n", "value": "1", "n": 1, "augmentation": "caption"}
    point |= {"defence": "mat_n_1", "base": "mat", "swept": "caption", "without": ""}
    tabulate({"points": [point]}, out=tmp_path / "sweeps.csv")
    found = read_inputs(cfg, tmp_path)
    assert (set(found.grid.defences) - set(found.own.defences)) == {"mat_n_1"}
    out = tmp_path / "report.html"
    write_report(cfg, tmp_path, out)
    page = Page(out.read_text(encoding="utf-8"))
    assert "MAT n 1" in page.text
    assert "MAT n 1 keeps the most" not in page.text
    assert "MAT keeps the most" in page.text


def test_many_defences_have_small_cards_and_a_short_sentence(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = made_up.metric_rows(suite=True)
    names = [f"mat_{letter}" for letter in "abcdefghijkl"]
    more = [row | {"defence": name} for name in names for row in rows if row["defence"] == "mat"]
    made_up.write_metrics(tmp_path / "metrics.csv", rows + more)
    cfg = made_up.config()
    cfg["defences"] |= dict.fromkeys(names, cfg["defences"]["mat"])
    cfg["attacks"] |= {"strongest": cfg["attacks"]["sga"]}
    out = tmp_path / "report.html"
    write_report(cfg, tmp_path, out)
    html = out.read_text(encoding="utf-8")
    tiles = html[html.index('<div class="tiles compact"') : html.index("<nav")]
    assert re.findall("<h2>(.*?)</h2>", tiles) == [label(name) for name in cfg["defences"]]
    assert "swatch" not in tiles
    said = Page(html).text
    worst = said[said.index("In the worst case over several attacks") :].split("left:")[1]
    worst = worst[: worst.index("%.") + 2]
    assert worst.count("%") == 4
    assert "of 15 defences standard keeps the least" in worst


def test_a_figure_of_sweeps_is_shown_where_there_are_any() -> None:
    assert {*FIGURES} - {*shown_figures(sweeps=False)} == {"dose_response", "dose_curves"}
    assert shown_figures(sweeps=True) == FIGURES


def test_figures_stand_in_the_order_of_the_page_and_no_others(
    made_up: ModuleType, study: Path, html: str, tmp_path: Path
) -> None:
    places = [html.index(f'alt="Chart: {label(name)}.') for name in shown_figures(sweeps=False)]
    assert places == sorted(places)
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "an_older_figure.svg").write_text(SVG, encoding="utf-8")
    page = report(made_up, tmp_path)
    assert not page.all("img")
    assert "older" not in page.text


def test_figures_are_embedded_with_a_description(html: str) -> None:
    images = Page(html).all("img")
    assert len(images) == len(shown_figures(sweeps=False)) + 1  # and the training loss
    assert all(str(image["src"]).startswith("data:image/svg+xml;base64,") for image in images)
    assert all(len(str(image["alt"])) > 20 for image in images)


def test_tables_have_headers(html: str) -> None:
    page = Page(html)
    assert all(cell.get("scope") in ("col", "row") for cell in page.all("th"))
    assert html.count("<table") == html.count("<thead>")


def test_markup_in_a_claim_stays_text(made_up: ModuleType, tmp_path: Path) -> None:
    attack = "<script>alert('gone')</script><img src=x onerror=alert(1)>"
    source = 'javascript:alert(1) https://example.org/"onmouseover="alert(1)'
    claim = made_up.CLAIMS[0] | {"statement": attack, "source": source, "note": attack}
    made_up.write_claims(tmp_path / "claims.csv", [claim])
    page = report(made_up, tmp_path, title=attack)
    assert not page.all("script")
    assert not page.all("img")
    assert attack in page.text
    links = [tag["href"] for tag in page.all("a") if not str(tag["href"]).startswith("#")]
    assert links == ["https://example.org/"]
    assert not any("onmouseover" in attributes for _, attributes in page.tags)


def test_a_study_without_results_is_all_missing(made_up: ModuleType, tmp_path: Path) -> None:
    text = report(made_up, tmp_path).text
    for what in ("Claims ledger", "Figure recall_by_defence", "Table of recall"):
        assert f"{what} missing" in text
    for what in ("Table of attack success", "Table of recall drop", "Table of flags"):
        assert f"{what} missing" in text
    assert "Training history missing" in text
    assert "Verdicts: none yet" in text
    assert "train mat, seed 0 missing" in text


def test_missing_and_undefined_cells_are_said(made_up: ModuleType, tmp_path: Path) -> None:
    undefined = {"value": "", "low": "", "high": "", "n": 0, "interval": "none"}
    rows = [
        row | (undefined if row["attack"] == "pgd" else {})
        for row in made_up.metric_rows()
        if (row["defence"], row["attack"]) != ("mat", "sga")
    ]
    made_up.write_metrics(tmp_path / "metrics.csv", rows)
    page = report(made_up, tmp_path)
    assert "i2t recall at 1 under SGA: missing" in page.text
    gaps = [cell for cell in page.all("td") if "gap" in str(cell.get("class"))]
    # 4 settings x (3 k of recall, 2 of success) x 2 directions: mat under sga, pgd three times
    assert len([cell for cell in gaps if "number" in str(cell["class"])]) == 4 * 5 * 2 * (1 + 3)
    assert "undefined n = 0" in page.text


def test_what_is_not_run_on_a_defence_is_a_dash_and_not_missing(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = [
        row for row in made_up.metric_rows() if (row["defence"], row["attack"]) != ("mat", "sga")
    ]
    made_up.write_metrics(tmp_path / "metrics.csv", rows)
    attacks = made_up.config()["attacks"]
    attacks["sga"]["defences"] = ["standard", "tecoa"]
    page = report(made_up, tmp_path, attacks=attacks)
    assert "recall at 1 under SGA" not in page.text, "not run on all, it is not the strongest"
    assert not [
        cell for cell in page.all("td") if {"gap", "number"} <= set(str(cell.get("class")).split())
    ]
    tables = page.text[page.text.index("Recall i2t:") : page.text.index("Curves The numbers")]
    # 4 settings x (3 k of recall, 2 of success) x 2 directions
    assert len(re.findall(r"n = [\d,]+ \N{EN DASH}", tables)) == 4 * 5 * 2


def test_an_interval_without_a_lower_end_is_drawn_and_told(
    made_up: ModuleType, tmp_path: Path
) -> None:
    claim = made_up.CLAIMS[1] | {"low": -math.inf, "verdict": "inconclusive"}
    made_up.write_claims(tmp_path / "claims.csv", [claim])
    page = report(made_up, tmp_path)
    assert "[\N{MINUS SIGN}\N{INFINITY}, 0.0405]" in page.text
    assert [tag["class"] for tag in page.all("path")] == ["arrow"]
    for tag in ("line", "circle", "path", "text"):
        for attributes in page.all(tag):
            assert not {"inf", "-inf", "nan"} & set(map(str, attributes.values()))


def test_seeds_of_a_claim_are_named(made_up: ModuleType, html: str, tmp_path: Path) -> None:
    assert html.count(">seed 0</td>") == len(made_up.CLAIMS)
    made_up.write_claims(tmp_path / "claims.csv", [made_up.CLAIMS[0] | {"seeds": "0 1 2"}])
    assert "seeds 0, 1, 2" in report(made_up, tmp_path).text


def test_how_verdicts_are_to_be_read_depends_on_seeds_and_sources(
    made_up: ModuleType, html: str, tmp_path: Path
) -> None:
    one = Page(html).text
    assert "with an interval over test images, held against" in one
    assert "about that training run" in one
    assert "Student" not in one
    assert "check of our own" not in one
    made_up.write_metrics(tmp_path / "metrics.csv", made_up.metric_rows(seeds=(0, 1)))
    own = made_up.CLAIMS[0] | {"source": "none: a control of this study, docs/findings.md"}
    made_up.write_claims(tmp_path / "claims.csv", [made_up.CLAIMS[1], own])
    several = report(made_up, tmp_path, seeds=[0, 1]).text
    assert "over test images and training seeds, held against" in several
    assert "Student's interval over the seeds alone" in several
    assert "about that training run" not in several
    assert 'Where the source is "none", the claim is a check of our own.' in several


def test_several_seeds_have_a_row_each_and_a_mean(made_up: ModuleType, tmp_path: Path) -> None:
    made_up.write_metrics(tmp_path / "metrics.csv", made_up.metric_rows(seeds=(0, 1)))
    page = report(made_up, tmp_path, seeds=[0, 1])
    shares = [
        row["value"]
        for row in made_up.metric_rows(seeds=(0, 1))
        if (row["defence"], row["attack"], row["k"]) == ("mat", "sga", 1)
        and (row["protocol"], row["labels"]) == ("full_gallery", "one_image")
        and (row["direction"], row["metric"]) == ("i2t", "recall_at_k")
    ]
    assert len(shares) == 2
    ends = " to ".join(f"{100 * share:.1f}" for share in sorted(shares))
    assert f"{100 * sum(shares) / 2:.1f} 2 seeds, {ends}" in page.text


def test_small_copies_of_photographs_are_said_at_the_top(
    made_up: ModuleType, tmp_path: Path
) -> None:
    rows = made_up.metric_rows(dataset="flickr8k", source_resolution="128x128", scale=0.06)
    made_up.write_metrics(tmp_path / "metrics.csv", rows)
    page = report(made_up, tmp_path, dataset={"name": "flickr8k"})
    captions = re.findall(r"<caption>([^<]*)", (tmp_path / "report.html").read_text("utf-8"))
    assert captions
    assert all("photographs at 128x128 pixels" in caption for caption in captions)
    note = "photographs squashed to 128 x 128 pixels and recompressed"
    assert page.text.index(note) < page.text.index("Verdicts")
    assert page.text.count("not comparable with published flickr8k numbers") == 2


def test_facts_of_data_runs_and_threats_are_told(html: str) -> None:
    text = Page(html).text
    for fact in (
        "made for this project",
        "2,000 images, 10,000 captions",
        "Made-up Processor 9000, 2 cores, 24 GB of memory",
        "Python 3.11.7, numpy 2.4.1, torch 2.15.0 ",
        "0123456789abcdef0123456789abcdef01234567",
        "1 min 42 s",
        "812 MB",
        "Every pixel value may change by at most 2/255 of its range",
        "At most 1 word of a caption may be replaced.",
        "largest change of an image: 2/255",
        "captions still true: 90.0 %",
    ):
        assert fact in text


def test_data_that_may_not_be_passed_on_is_marked(made_up: ModuleType, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    terms = {"licence": "research only", "redistributable": False}
    manifest.write_text(json.dumps(terms | {"source_resolution": "varying", "splits": {}}))
    out = tmp_path / "report.html"
    write_report(made_up.config(), tmp_path, out, manifest=manifest)
    assert "not allowed: this page holds none of its pictures" in out.read_text(encoding="utf-8")
    (tmp_path / "figures").mkdir()
    for name, holds in (("recall_at_k", True), ("examples", False)):
        (tmp_path / "figures" / f"{name}.svg").write_text(SVG, encoding="utf-8")
        write_report(made_up.config(), tmp_path, out, manifest=manifest)
        html = out.read_text(encoding="utf-8")
        assert ("this page holds none of its pictures" in html) is holds
    assert "shows some of its pictures and captions, so it may not be passed on" in html


def test_the_same_results_give_the_same_page(made_up: ModuleType, study: Path, html: str) -> None:
    again = study / "again.html"
    write_report(made_up.config(), study, again, manifest=study / "manifest.json")
    assert again.read_text(encoding="utf-8") == html


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"verdict": "proved"}, r"claims\.csv: line 2: verdict is 'proved' \(allowed: reproduced"),
        ({"low": "wide"}, r"claims\.csv: line 2: could not convert string to float: 'wide'"),
    ],
)
def test_a_broken_ledger_is_refused(
    made_up: ModuleType, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    made_up.write_claims(tmp_path / "claims.csv", [made_up.CLAIMS[0] | change])
    with pytest.raises(UserError, match=message):
        report(made_up, tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_broken_run_facts_are_refused(made_up: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "models" / "mat" / "seed0" / "run.json"
    path.parent.mkdir(parents=True)
    path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError, match=r"run\.json: not valid JSON"):
        report(made_up, tmp_path)


def test_figures_and_report_do_not_import_torch() -> None:
    folder = Path(write_report.__code__.co_filename).parents[1] / "figures"
    modules = [f"mmrobust.figures.{path.stem}" for path in sorted(folder.glob("[a-z]*.py"))]
    assert "mmrobust.figures.examples" in modules
    modules.append("mmrobust.report.page")
    code = f"import sys, {', '.join(modules)}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_planning_reads_the_list_of_figures_without_any_library() -> None:
    code = "import sys, mmrobust.figures.catalogue; sys.exit('pandas' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert figures_of("examples") == ["examples"]
    assert {*figures_of("recall_by_defence"), "examples"} == set(FIGURES)
    assert {entry.notebook for entry in FIGURES.values()} == {"examples", "recall_by_defence"}


def test_notebooks_save_the_figures_of_the_list() -> None:
    for notebook in {entry.notebook for entry in FIGURES.values()}:
        path = Path(__file__).parents[2] / "notebooks" / f"{notebook}.ipynb"
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        saved = re.findall(r'(?:grid\), |out_dir\) / )"(\w+)"', code)
        assert sorted(saved) == sorted(figures_of(notebook))


@pytest.fixture(scope="module")
def suite(made_up: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    results: Path = made_up.write_study(tmp_path_factory.mktemp("suite") / "scenes", suite=True)
    write_report(made_up.suite_config(), results, results / "report.html")
    return results


@pytest.fixture(scope="module")
def suite_page(suite: Path) -> Page:
    return Page((suite / "report.html").read_text(encoding="utf-8"))


def test_every_number_of_many_attacks_and_curves_is_shown(suite: Path, suite_page: Page) -> None:
    text = suite_page.text
    with (suite / "metrics.csv").open(encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            value, low, high = (f"{100 * float(row[key]):.1f}" for key in ("value", "low", "high"))
            number = f"{value} [{low}, {high}]"
            assert re.search(rf"{re.escape(number)} (flag )?n = {int(row['n']):,}", text)
    assert not [cell for cell in suite_page.all("td") if "gap" in str(cell.get("class"))]


def test_raised_flags_come_one_by_one_and_the_rest_counted(suite: Path, suite_page: Page) -> None:
    text = suite_page.text
    assert "Gradient masking: 2 of 6 checks raised" in text
    for words in (
        "zero gradients Too many gradients are exactly zero: the attack had nothing to follow. "
        "TeCoA PGD \N{EN DASH} 0.1250 200",
        "TeCoA PGD square \N{MINUS SIGN}0.0800 [\N{MINUS SIGN}0.1300, \N{MINUS SIGN}0.0300] 200",
        "query beats gradients 1 1",
        "transfer beats white box 1 0",
        "zero gradients 4 1",
    ):
        assert words in text
    html = (suite / "report.html").read_text(encoding="utf-8")
    section = html[html.index('id="masking"') : html.index('id="recall"')]
    assert section.count('class="badge contradicted"') == 2
    # TeCoA under PGD: 2 protocols x 2 label kinds x (3 + 1 + 1) x 2 directions
    assert html.count('class="flag"') == 2 * 2 * 5 * 2


def test_no_raised_flag_is_said(made_up: ModuleType, tmp_path: Path) -> None:
    quiet = [flag for flag in made_up.FLAGS if not flag["raised"]]
    made_up.write_flags(tmp_path / "flags.csv", quiet)
    assert "Gradient masking: 0 of 4 checks raised" in report(made_up, tmp_path).text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"raised": "yes"}, r"flags\.csv: line 2: raised is 'yes' \(allowed: True, False\)"),
        ({"low": "wide"}, r"flags\.csv: line 2: could not convert string to float: 'wide'"),
    ],
)
def test_a_broken_table_of_flags_is_refused(
    made_up: ModuleType, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    made_up.write_flags(tmp_path / "flags.csv", [made_up.FLAGS[0] | change])
    with pytest.raises(UserError, match=message):
        report(made_up, tmp_path)


def test_a_table_of_flags_without_a_column_is_refused(made_up: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "flags.csv").write_text("study,defence\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"flags\.csv: column missing: attack, flag, raised"):
        report(made_up, tmp_path)


def test_definitions_ensembles_and_truth_are_told(suite_page: Page) -> None:
    text = suite_page.text
    for words in (
        "Conditional attack success rate (as SGA reports it): share of the queries answered right",
        "Recall drop (as Co-Attack reports it): clean recall minus recall under attack",
        "strongest is an ensemble, the worst case per query: whichever of SGA, DRA, adaptive",
        "In the worst case over several attacks (strongest, on 200 images",
        "this is left: MAT 42.0 %, TeCoA 19.0 %, standard 0.5 %.",
        "BERT-Attack may become false standard 34.0 [",
        "word substitution must stay true undecided",
        "transfer from standard · 2/255 · 2 words",
        "34 % of captions true",
        "Curve pixels: Recall at 1, only the query's own pair attacked",
        "PGD, eps 16/255",
    ):
        assert words in text


def test_partial_attacks_stand_in_the_tables_of_their_protocol_only(suite_page: Page) -> None:
    text = suite_page.text
    whole = text.index("Recall at 1, whole gallery attacked, one-image labels")
    own = text.index("Recall at 1, 5, 10, only the query's own pair attacked, one-image labels")
    assert "strongest" not in text[whole:own]
    assert "strongest 200 images worst case per query" in " ".join(text[own:].split("·"))
    assert "missing" not in text[whole:own]


def test_threat_models_of_curve_points_are_not_listed(suite_page: Page) -> None:
    text = suite_page.text
    threats = text[text.index("Threat models white_box_2_255_1word") :]
    threats = threats[: threats.index("Are attacked captions still true?")]
    assert "white_box_pgd_eps_4_255" not in threats
    assert "transferred" in threats
    assert "crafted, and nothing of the model that it is used on (transfer)" in threats
    assert "strongest" in threats


def test_a_study_without_curves_says_so(html: str) -> None:
    assert "This study has no robustness curves." in html
