"""Errors, artifacts, randomness, registries and quantities."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from mmrobust.artifacts import canonical_json, digest, read_json, replacing, write_json
from mmrobust.errors import UserError, unknown_name
from mmrobust.quantities import PixelDistance
from mmrobust.randomness import derived_seed, numpy_generator, torch_generator
from mmrobust.registry import resolve

SOURCE = Path(__file__).parents[1] / "src" / "mmrobust"


def test_an_error_is_one_line() -> None:
    assert str(UserError("two\n  lines")) == "two lines"


def test_an_unknown_name_tells_the_nearest() -> None:
    assert str(unknown_name("attack", "sgaa", ["pgd", "sga"])) == (
        "unknown attack 'sgaa'; did you mean 'sga'? (known: pgd, sga)"
    )


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_is_swept_and_nothing_of_one_that_lives(tmp_path: Path) -> None:
    path, other = tmp_path / "a.json", tmp_path / "b.json"
    with replacing(path) as one:
        killed = one.with_name(f".{path.stem}-killed.part.json")
        killed.write_text("half")
        foreign = one.with_name(".b-killed.part.json")
        foreign.write_text("half")
        with replacing(path) as two:
            assert one.exists()
            assert not killed.exists()
            two.write_text("two")
        one.write_text("one")
    assert path.read_text() == "one"
    assert sorted(tmp_path.iterdir()) == [foreign, path]
    write_json(other, 1)
    assert sorted(tmp_path.iterdir()) == [path, other]


def test_artifacts_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    write_json(tmp_path / "a.json", 1)
    assert (tmp_path / "a.json").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_json_is_canonical_and_refuses_nan(tmp_path: Path) -> None:
    assert canonical_json({"b": 1, "a": 2}) == canonical_json({"a": 2, "b": 1})
    assert digest({"b": 1, "a": 2}) == digest({"a": 2, "b": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", float("nan"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "told"), [(None, "missing"), (b"{", "JSON"), (b"\xff", "JSON")]
)
def test_a_broken_json_file_is_told(tmp_path: Path, content: bytes | None, told: str) -> None:
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        read_json(path)


def test_streams_depend_on_every_name() -> None:
    seeds = {derived_seed(0, "a", 1), derived_seed(0, "a", 2), derived_seed(1, "a", 1)}
    seeds |= {derived_seed(0, "a1"), derived_seed(0, "a")}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    draws = [numpy_generator(0, "a").random(3) for _ in range(2)]
    assert np.array_equal(*draws)
    one, same = (torch.rand(3, generator=torch_generator(0, "a")) for _ in range(2))
    assert torch.equal(one, same)


def test_resolving_checks_name_and_kind() -> None:
    registry = {"counter": "collections:Counter"}
    assert resolve(registry, "counter", kind="thing", base=dict).__name__ == "Counter"
    with pytest.raises(UserError, match="did you mean 'counter'"):
        resolve(registry, "conter", kind="thing", base=dict)
    with pytest.raises(TypeError, match="is no list"):
        resolve(registry, "counter", kind="thing", base=list)


@pytest.mark.parametrize(
    ("written", "value"), [("2/255", 2 / 255), ("0.5/255", 0.5 / 255), (0, 0.0)]
)
def test_pixel_distances_are_fractions(written: object, value: float) -> None:
    assert TypeAdapter(PixelDistance).validate_python(written) == value


@pytest.mark.parametrize("written", ["2/0", "300/255", -0.1, "two", "1/2/3"])
def test_impossible_pixel_distances_are_refused(written: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PixelDistance).validate_python(written)


def imported(path: Path) -> set[str]:
    """Packages of ours that a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names]
    return {name.split(".")[1] for name in names if name.startswith("mmrobust.")}


ABOVE = {"evaluation", "claims", "figures", "report", "cli"}
FORBIDDEN = {
    "data": {"attacks", "models", "augment", "training", *ABOVE},
    "models": {"attacks", "data", "augment", "training", *ABOVE},
    "augment": {"attacks", "training", *ABOVE},
    "attacks": {"data", "augment", "training", *ABOVE},
    "training": {"augment", *ABOVE},
    "evaluation": {"claims", "figures", "report", "cli"},
    "claims": {"training", "attacks", "models", "figures", "report", "cli"},
    "figures": {"data", "models", "attacks", "training", "evaluation", "claims", "report", "cli"},
    "report": {"data", "models", "attacks", "training", "claims", "cli"},
}
"""Layer -> layers above it, which it may not import."""


@pytest.mark.parametrize("layer", sorted(FORBIDDEN))
def test_layers_import_only_what_lies_below(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        assert not imported(path) & FORBIDDEN[layer], path


def test_attacks_import_no_concrete_model() -> None:
    for path in (SOURCE / "attacks").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "dual_encoder" not in text
        assert "open_clip" not in text


@pytest.mark.parametrize("package", ["attacks", "augment", "data", "training"])
def test_every_registered_name_is_the_name_of_its_file(package: str) -> None:
    registry = {
        "attacks": "ATTACKS",
        "augment": "AUGMENTERS",
        "data": "DATASETS",
        "training": "TRAINING_METHODS",
    }[package]
    module = __import__(f"mmrobust.{package}", fromlist=[registry])
    for name, place in getattr(module, registry).items():
        assert name in place.partition(":")[0].split(".")
        resolve(getattr(module, registry), name, kind=package, base=object)
