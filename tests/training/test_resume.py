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
