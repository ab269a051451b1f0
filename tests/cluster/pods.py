"""As much of Kubernetes as Snakemake asks for: an API on the loopback whose pods are processes.

Each starts in an empty folder with the command and the secrets of its specification, and shares no
file of the study with this machine or with another pod. Images, nodes and limits there are none.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import yaml


@dataclass
class Cluster:
    """What was submitted, by name, and the processes of it."""

    folder: Path
    address: str = ""
    secrets: dict[str, dict[str, str]] = field(default_factory=dict)
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def submit(self, job: dict[str, Any]) -> None:
        """Start the process of a job."""
        name, container = job["metadata"]["name"], container_of(job)
        self.jobs[name] = job
        workdir = self.folder / name / "workdir"
        workdir.mkdir(parents=True)
        with (self.folder / name / "log").open("wb") as log:
            self.processes[name] = subprocess.Popen(
                [*container["command"], *container["args"]],
                cwd=workdir,
                env={**self.environment(), **self.secrets_of(container)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def environment(self) -> dict[str, str]:
        """An image with Python and all packages, so that pip has nothing to add to it."""
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        pip = programs / "pip"
        pip.write_text("#!/bin/sh\n")
        pip.chmod(0o755)
        path = f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}

    def secrets_of(self, container: dict[str, Any]) -> dict[str, str]:
        """Variables of a container that are kept as secrets."""
        found = {}
        for variable in container.get("env", []):
            place = variable["valueFrom"]["secretKeyRef"]
            content = self.secrets[place["name"]][place["key"]]
            found[variable["name"]] = base64.b64decode(content).decode()
        return found

    def status(self, name: str) -> dict[str, int]:
        """How the process of a job ended, if it did."""
        code = self.processes[name].poll()
        return {} if code is None else {"succeeded" if code == 0 else "failed": 1}

    def logs(self) -> str:
        """What all processes printed."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("*/log")))

    def kubeconfig(self) -> Path:
        """The file by which a client finds this cluster."""
        here = {"name": "here"}
        content = {
            "clusters": [{**here, "cluster": {"server": self.address}}],
            "users": [{**here, "user": {}}],
            "contexts": [{**here, "context": {"cluster": "here", "user": "here"}}],
            "current-context": "here",
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return path


def container_of(job: dict[str, Any]) -> dict[str, Any]:
    """The one container of a job."""
    [container] = job["spec"]["template"]["spec"]["containers"]
    return dict(container)


class Server(ThreadingHTTPServer):
    """Serves one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.cluster = cluster


class Handler(BaseHTTPRequestHandler):
    """The requests that Snakemake makes."""

    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/secrets"):
            self.server.cluster.secrets[body["metadata"]["name"]] = body.get("data", {})
        else:
            self.server.cluster.submit(body)
        self.answer(201, body)

    def do_GET(self) -> None:
        if self.path.endswith("/status"):
            name = self.path.split("/")[-2]
            status = self.server.cluster.status(name)
            self.answer(200, {**self.server.cluster.jobs[name], "status": status})
        else:  # the pods of a job, of which its status says enough
            self.answer(200, {"items": []})

    def do_DELETE(self) -> None:
        self.answer(200, {})

    def answer(self, code: int, content: dict[str, Any]) -> None:
        text = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@contextmanager
def kubernetes(folder: Path) -> Iterator[Cluster]:
    """A cluster for a while."""
    cluster = Cluster(folder)
    server = Server(cluster)
    cluster.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield cluster
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for process in cluster.processes.values():
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
