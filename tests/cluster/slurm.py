"""A Slurm of one node on the loopback, for as long as this script runs: `make test-cluster`.

    python tests/cluster/slurm.py     # until Ctrl-C, SIGTERM, or the end of its input

It needs root and the packages slurm-wlm and munge, installs nothing and says what is missing. The
node has the machine's cores and memory, two GPUs that are none, and kills what takes more memory
than it asked for. All that it writes lies in one folder, to which two links in /etc/slurm lead;
munge gets a key and a socket of its own there. Where a Slurm is configured or runs, or munge has a
key or runs, it refuses: the machine may belong to a cluster. Links and folder are gone when it
ends; what a killed run left behind the next one recognises and removes.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

FOLDER = Path("/run/mmrobust-slurm")
# Slurm's own commands and the jobs of its Snakemake plugin look for the configuration here.
ETC = Path("/etc/slurm")
OURS = ("slurm.conf", "gres.conf")
MUNGE_KEY = Path("/etc/munge/munge.key")
FOREIGN = (*OURS, "cgroup.conf", "slurmdbd.conf")
# The order in which they start; they end in the other.
DAEMONS = ("munged", "slurmctld", "slurmd")
PROGRAMS = (*DAEMONS, "sbatch", "scancel", "sinfo", "squeue", "srun")
PATIENCE_S = 60.0
ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Refusal(Exception):
    """Why no Slurm is started here, in one line."""


def alone() -> socket.socket:
    """What one script at a time can hold: a name that is free again however its holder ends."""
    held = socket.socket(socket.AF_UNIX)
    try:
        held.bind("\0mmrobust-slurm")
    except OSError:
        raise Refusal("another one runs") from None
    return held


def refuse_elsewhere() -> None:
    """Start on no machine that lacks what is needed or has a Slurm of its own."""
    if os.geteuid() != 0:
        raise Refusal("it needs root, since it writes to /etc/slurm")
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        names = ", ".join(missing)
        raise Refusal(f"{names} not found; apt-get install slurm-wlm munge")
    if not ETC.is_dir():
        raise Refusal(f"{ETC} is missing; apt-get install slurm-wlm munge")
    if "SLURM_CONF" in os.environ:
        raise Refusal("SLURM_CONF is set: a Slurm is configured that is not its own")
    for path in (ETC / name for name in FOREIGN):
        if os.path.lexists(path) and not is_ours(path):
            raise Refusal(f"{path} is not its own: a Slurm is configured here")
    if os.path.lexists(MUNGE_KEY):
        raise Refusal(
            f"{MUNGE_KEY} is not its own: this may be a machine of a cluster; "
            "if it is none and the key came with the package, delete it"
        )
    if FOLDER.exists() and any(FOLDER.iterdir()) and not (FOLDER / "slurm.conf").is_file():
        raise Refusal(f"{FOLDER} is not its own")
    ours = {number_of(name) for name in DAEMONS if alive(name)}
    for pid, name in running():
        if name in DAEMONS and pid not in ours:
            raise Refusal(f"{name} runs here (process {pid}), and it is not its own")


def is_ours(path: Path) -> bool:
    """Whether it is a link to the folder of this script."""
    return path.is_symlink() and path.readlink() == FOLDER / path.name


def running() -> list[tuple[int, str]]:
    """All processes of the machine with their names."""
    found = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            found.append((int(path.parent.name), path.read_text().strip()))
    return found


def write() -> None:
    """Write the configuration, a new key, and the links."""
    FOLDER.mkdir(mode=0o755)
    known = {
        "folder": FOLDER,
        "host": socket.gethostname().split(".")[0],
        "cpus": len(os.sched_getaffinity(0)),
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
    }
    for name in OURS:
        template = Path(__file__).with_name(f"{name}.template").read_text()
        (FOLDER / name).write_text(template.format(**known))
        (ETC / name).symlink_to(FOLDER / name)
    for name in ("spool", "state"):
        (FOLDER / name).mkdir()
    key = FOLDER / "munge.key"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))


def start() -> None:
    """Start the daemons and wait until the node takes jobs."""
    places = {"key-file": "munge.key", "socket": "munge.socket", "seed-file": "munge.seed"}
    places["pid-file"] = "munge.own.pid"
    options = [f"--{option}={FOLDER / name}" for option, name in places.items()]
    daemons = [started("munged", "--foreground", "--force", *options)]
    wait_for((FOLDER / "munge.socket").exists, daemons)
    daemons += [started("slurmctld", "-D"), started("slurmd", "-D")]
    wait_for(lambda: told("sinfo", "--noheader", "--format=%T") == "idle", daemons)


def started(name: str, *options: str) -> subprocess.Popen[bytes]:
    """Start a daemon, with a log, and note its number for the one who ends it."""
    with (FOLDER / f"{name}.log").open("wb") as log:
        # In a session of its own: Ctrl-C must reach this script alone, which ends them in order.
        process = subprocess.Popen(
            [name, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    (FOLDER / f"{name}.pid").write_text(str(process.pid))
    return process


def wait_for(condition: Callable[[], bool], daemons: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for what the daemons come to; if one ends or time runs out, their logs say why."""
    until(lambda: condition() or any(daemon.poll() is not None for daemon in daemons))
    if not condition():
        logs = sorted(FOLDER.glob("*.log"))
        raise Refusal("".join(f"\n{log}:\n{log.read_text()[-1000:]}" for log in logs))


def until(condition: Callable[[], bool]) -> None:
    """Wait for something, but not for ever."""
    ends = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < ends:
        time.sleep(0.2)


def told(*command: str) -> str:
    """What one of Slurm's commands prints."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
    return done.stdout.strip()


def stop() -> None:
    """End all jobs and daemons and remove all that was written, here or by a killed run."""
    answered = alive("slurmctld")
    if answered:
        with contextlib.suppress(subprocess.TimeoutExpired):
            told("scancel", "--user=root")
            until(lambda: not told("squeue", "--noheader"))
    # Jobs that nobody answers for any more end with what watches them.
    for watcher in watchers():
        for job in children(watcher):
            with contextlib.suppress(psutil.NoSuchProcess):
                job.kill()
    for name in reversed(DAEMONS):
        end(name)
    # What watched a job outlives the job for a moment, or as long as it finds nobody to tell.
    if answered:
        until(lambda: not watchers())
    for watcher in watchers():
        with contextlib.suppress(ProcessLookupError):
            os.kill(watcher, signal.SIGKILL)
    until(lambda: not watchers())
    for path in (ETC / name for name in OURS):
        if is_ours(path):
            path.unlink()
    shutil.rmtree(FOLDER, ignore_errors=True)


def watchers() -> list[int]:
    """The processes of Slurm that watch a job each."""
    return [pid for pid, name in running() if name == "slurmstepd"]


def children(pid: int) -> list[psutil.Process]:
    """All processes below one that may be gone."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def end(name: str) -> None:
    """End a daemon, in peace if it can."""
    for sent in (signal.SIGTERM, signal.SIGKILL):
        if alive(name):
            os.kill(number_of(name), sent)
            until(lambda: not alive(name))


def number_of(name: str) -> int:
    """The process that was started under this name."""
    return int((FOLDER / f"{name}.pid").read_text())


def alive(name: str) -> bool:
    """Whether a daemon that was started here runs, and its number is no other process's by now."""
    try:
        pid = number_of(name)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
        return Path(f"/proc/{pid}/comm").read_text().strip() == name
    except (OSError, ValueError):
        return False


def main() -> int:
    """Run it until something ends it."""
    # Whoever starts this in the background may have it ignore SIGINT.
    for number in ENDINGS:
        signal.signal(number, signal.default_int_handler)
    try:
        held = alone()
        refuse_elsewhere()
    except Refusal as reason:
        print(f"no Slurm is started: {reason}", file=sys.stderr)
        return 1
    try:
        stop()
        write()
        start()
        print("ready", flush=True)
        sys.stdin.read()
    except Refusal as reason:
        print(f"Slurm doesn't start: {reason}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    finally:
        # Nothing must interrupt this.
        for number in ENDINGS:
            signal.signal(number, signal.SIG_IGN)
        stop()
        held.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
