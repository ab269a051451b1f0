"""A killed training job ends with the same bytes as one that was left alone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mmrobust.errors import UserError
from mmrobust.training.run import train_model


def start(cfg: dict[str, Any], data: Path, folder: Path) -> subprocess.Popen[bytes]:
    """A training job of its own, which saves its state after every step."""
    command = [sys.executable, "-m", "mmrobust", "train-model", "--cfg", json.dumps(cfg)]
    command += ["--data", str(data), "--tokenizer", str(data / "tokenizer.json")]
    command += ["--out", str(folder / "out"), "--work", str(folder / "work")]
    return subprocess.Popen([*command, "--checkpoint-seconds", "0"], stderr=subprocess.DEVNULL)


def saved_step(state: Path) -> int:
    import torch

    return int(torch.load(state, weights_only=True)["step"]) if state.exists() else 0


def test_sigkill_in_mid_epoch_changes_no_byte(
    data: Path, tokenizer: Path, cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    job = cfg("mat", epochs=30, steps=2)  # 90 steps, 3 an epoch
    undisturbed = tmp_path / "undisturbed"
    train_model(
        job,
        data=data,
        tokenizer=tokenizer,
        initial=None,
        augmented={},
        out=undisturbed / "out",
        work=undisturbed / "work",
        checkpoint_seconds=1e9,
    )
    killed = tmp_path / "killed"
    state = killed / "work" / "state.pt"
    process = start(job, data, killed)
    deadline = time.monotonic() + 120
    while saved_step(state) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    step = saved_step(state)
    assert 4 <= step < 90
    assert not (killed / "out").exists()
    assert start(job, data, killed).wait() == 0
    for name in ("model.safetensors", "model.json", "tokenizer.json", "history.csv"):
        assert (killed / "out" / name).read_bytes() == (undisturbed / "out" / name).read_bytes()
    assert not (killed / "work").exists()


def test_a_defence_can_start_from_another(
    data: Path, tokenizer: Path, cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    import torch

    from mmrobust.models.dual_encoder import load_model

    common: dict[str, Any] = {
        "data": data,
        "tokenizer": tokenizer,
        "augmented": {},
        "checkpoint_seconds": 1e9,
    }
    train_model(
        cfg("standard"),
        initial=None,
        out=tmp_path / "one",
        work=tmp_path / "w",
        **common,
    )
    still = cfg("tecoa", initial="standard", training={"epochs": 1, "learning_rate": 1e-12})
    train_model(
        still,
        initial=tmp_path / "one",
        out=tmp_path / "two",
        work=tmp_path / "w",
        **common,
    )
    one, two = (dict(load_model(tmp_path / name).named_parameters()) for name in ("one", "two"))
    for name, value in one.items():
        torch.testing.assert_close(two[name], value)
    assert len((tmp_path / "two" / "history.csv").read_text().splitlines()) == 1 + 3


def test_a_state_of_other_data_is_not_used(
    data: Path, tokenizer: Path, cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    """A job killed on old photographs must not go on with new ones."""
    from mmrobust.data.scenes.dataset import Scenes

    other = tmp_path / "other"
    Scenes(splits={"train": 48, "dev": 8, "test": 8}, image_size=32).prepare(other, seed=8)
    killed = tmp_path / "killed"
    process = start(cfg("standard", epochs=60), data, killed)
    state = killed / "work" / "state.pt"
    deadline = time.monotonic() + 120
    while saved_step(state) < 4 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    job: dict[str, Any] = {
        "tokenizer": tokenizer,
        "initial": None,
        "augmented": {},
        "checkpoint_seconds": 1e9,
    }
    short = cfg("standard", epochs=1)
    train_model(short, data=other, out=killed / "out", work=killed / "work", **job)
    train_model(short, data=other, out=tmp_path / "anew", work=tmp_path / "none", **job)
    resumed, anew = (
        (folder / "model.safetensors").read_bytes()
        for folder in (killed / "out", tmp_path / "anew")
    )
    assert resumed == anew


def test_a_broken_state_is_told(
    data: Path, tokenizer: Path, cfg: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "state.pt").write_bytes(b"not a state")
    with pytest.raises(UserError, match=r"state\.pt: not a training state .* delete it"):
        train_model(
            cfg("standard"),
            data=data,
            tokenizer=tokenizer,
            initial=None,
            augmented={},
            out=tmp_path / "out",
            work=tmp_path,
            checkpoint_seconds=1e9,
        )


@pytest.fixture
def given(
    data: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """Starts a job that learns nothing, and says what its loop was given."""
    told: dict[str, Any] = {}

    def loop(model: Any, pairs: Any, method: Any, config: Any, **rest: Any) -> list[Any]:
        told.update(rest, pairs=pairs, config=config)
        return []

    monkeypatch.setattr("mmrobust.training.run.train", loop)

    def run(job: dict[str, Any], **sets: Any) -> dict[str, Any]:
        files: dict[str, Any] = {"initial": None, "augmented": {}, "tokenizer": tokenizer} | sets
        folders = {"out": tmp_path / "out", "work": tmp_path / "work"}
        train_model(job, data=data, checkpoint_seconds=1e9, **files, **folders)
        return dict(told)

    return run


@pytest.fixture
def augmented(data: Path, tmp_path: Path) -> Callable[[int], Path]:
    """Makes a set of further captions, as many for each item as asked for."""
    from mmrobust.augment.run import augment_data

    splits = {"train": 48, "dev": 8, "test": 8}

    def make(n: int) -> Path:
        out = tmp_path / f"set{n}"
        cfg = {
            "augmentation": {"method": "human_captions", "n": n},
            "dataset": {"name": "scenes", "splits": splits, "image_size": 32},
            **{"data_seed": 7, "device": "cpu", "threads": 1, "code": "1"},
        }
        augment_data(cfg, data=data, out=out, work=tmp_path / "chunks")
        return out

    return make


def test_a_job_learns_from_the_items_and_captions_that_it_is_told(
    cfg: Callable[..., dict[str, Any]],
    given: Callable[..., dict[str, Any]],
    augmented: Callable[[int], Path],
) -> None:
    """Of 48 items with five captions and three more in a set; a defence's own training counts."""
    sets = {"more": augmented(3)}
    whole = given(cfg("mat", augmentations={"more": 2}), augmented=sets)
    assert (whole["pairs"].n_items, len(whole["pairs"].captions)) == (48, 48 * (5 + 2))
    assert (whole["config"].epochs, whole["config"].batch_size, whole["seed"]) == (2, 16, 3)
    own = {"items": 20, "captions_per_image": 2, "epochs": 7}
    part = given(cfg("mat", augmentations={"more": 1}, training=own), augmented=sets)
    assert (part["pairs"].n_items, len(part["pairs"].captions)) == (20, 20 * (2 + 1))
    assert (part["config"].epochs, part["config"].batch_size) == (7, 16)
    with pytest.raises(UserError, match="train-model: no --augmented for 'more'"):
        given(cfg("mat", augmentations={"more": 1}))


def test_a_state_counts_for_the_same_settings_and_files_alone(
    cfg: Callable[..., dict[str, Any]],
    given: Callable[..., dict[str, Any]],
    augmented: Callable[[int], Path],
    tokenizer: Path,
    tmp_path: Path,
) -> None:
    import shutil

    job = cfg("mat", augmentations={"more": 1})
    one, other = ({"more": augmented(n)} for n in (1, 2))
    shutil.copytree(tokenizer.parent, tmp_path / "copy")
    again = tmp_path / "copy" / tokenizer.name
    first = given(job, augmented=one)["inputs"]
    assert given(job, augmented=one, tokenizer=again)["inputs"] == first
    shutil.copytree(tmp_path / "out", tmp_path / "start")
    again.write_text(tokenizer.read_text() + "\n")
    changed = [
        given(cfg("mat", words=2, augmentations={"more": 1}), augmented=one),
        given({**job, "seed": 4}, augmented=one),
        given(job, augmented=other),
        given(job, augmented=one, tokenizer=again),
        given(job, augmented=one, initial=tmp_path / "start"),
    ]
    assert len({first, *(of["inputs"] for of in changed)}) == 6
