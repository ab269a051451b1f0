"""Places that DVC pushes to, each spoken to in its own protocol on the loopback."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import boto3
from moto.server import ThreadedMotoServer

LOOPBACK = "127.0.0.1"
KEYS = {"AWS_ACCESS_KEY_ID": "somebody", "AWS_SECRET_ACCESS_KEY": "a secret"}


@dataclass(frozen=True)
class Remote:
    """What `dvc remote add` and `dvc remote modify` are told, and the files that lie there."""

    url: str
    stored: Callable[[], dict[str, bytes]]
    options: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def files_below(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@contextmanager
def in_a_folder(folder: Path) -> Iterator[Remote]:
    """A folder that is mounted here."""
    yield Remote(url=str(folder), stored=lambda: files_below(folder))


@contextmanager
def in_a_bucket(folder: Path) -> Iterator[Remote]:
    """A bucket of an S3 server of this process."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)  # or each request were a line
    server = ThreadedMotoServer(ip_address=LOOPBACK, port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        client = boto3.client(
            "s3",
            endpoint_url=endpoint,
            region_name="us-east-1",
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        # What its servers hold is one for the whole process.
        bucket = f"studies-{port}"
        client.create_bucket(Bucket=bucket)

        def stored() -> dict[str, bytes]:
            pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
            keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
            return {
                key.removeprefix("mmrobust/"): client.get_object(Bucket=bucket, Key=key)[
                    "Body"
                ].read()
                for key in keys
            }

        yield Remote(
            url=f"s3://{bucket}/mmrobust",
            stored=stored,
            options={"endpointurl": endpoint, "region": "us-east-1"},
            variables={**KEYS, "no_proxy": LOOPBACK, "NO_PROXY": LOOPBACK},
        )
    finally:
        server.stop()


@contextmanager
def over_ssh(folder: Path) -> Iterator[Remote]:
    """A folder behind an SSH server of this process, which lets in one key."""
    key, host_key = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    keyfile = folder.with_suffix(".key")
    key.write_private_key(keyfile)
    keyfile.chmod(0o600)
    known = asyncssh.import_authorized_keys(key.export_public_key().decode())
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            LOOPBACK,
            0,
            server_host_keys=[host_key],
            authorized_client_keys=known,
            sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=bytes(folder)),
        )

    try:
        server = asyncio.run_coroutine_threadsafe(listen(), loop).result()
        yield Remote(
            url=f"ssh://somebody@{LOOPBACK}:{server.get_port()}/mmrobust",
            stored=lambda: files_below(folder / "mmrobust"),
            options={"keyfile": str(keyfile)},
        )
        loop.call_soon_threadsafe(server.close)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
