"""Downloads against a server on the loopback that fails in each way a server can."""

from __future__ import annotations

import hashlib
import io
import shutil
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.servers import serving

from mmrobust.artifacts import read_json
from mmrobust.data.download import download
from mmrobust.data.raw import import_data, read_checksums
from mmrobust.data.resuming import ATTEMPTS
from mmrobust.errors import UserError

PAIRS = b"".join(b"word%d other%d\n" % (n, n) for n in range(20_000))
NAME = "ppdb_synonyms.txt"
ANTONYMS = {"ppdb_antonyms.txt": b"big small\n", "wordnet_antonyms.txt": b"hot cold\n"}
FILES = {NAME: PAIRS, **ANTONYMS}
CHUNK = 65_536  # what is kept of a broken transfer are whole chunks


class Server(ThreadingHTTPServer):
    """Serves one body; `answers` overrides what the next requests get."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.body = PAIRS
        self.ranges = True
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.requests: list[str | None] = []
        """The Range header of each request so far."""
        self.url = f"http://127.0.0.1:{self.server_address[1]}/file"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.requests.append(self.headers["Range"])
        answer = server.answers.pop(0) if server.answers else whole
        answer(self)

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def send(request: BaseHTTPRequestHandler, *, cut_at: int | None = None) -> None:
    body, asked = request.server.body, request.headers["Range"]
    start = int(asked[len("bytes=") : -1]) if asked and request.server.ranges else 0
    if start >= len(body):
        request.send_response(416)
        request.send_header("Content-Range", f"bytes */{len(body)}")
        request.send_header("Content-Length", "0")
        request.end_headers()
        return
    request.send_response(206 if start else 200)
    if start:
        request.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
    request.send_header("Content-Length", str(len(body) - start))
    request.end_headers()
    request.wfile.write(body[start:cut_at])


def whole(request: BaseHTTPRequestHandler) -> None:
    send(request)


def cut(at: int) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda request: send(request, cut_at=at)


def status(code: int, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(code)
        for name, value in headers.items():
            request.send_header(name.replace("_", "-"), value)
        request.send_header("Content-Length", "0")
        request.end_headers()

    return answer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    with serving(Server()) as served:
        yield served


class Fetch:
    """`download` of the synonym pairs, with no real waiting; the antonyms are there already."""

    def __init__(self, raw: Path, server: Server) -> None:
        self.raw, self.server = raw, server
        (raw / "lexicon").mkdir(parents=True)
        for name, content in ANTONYMS.items():
            (raw / "lexicon" / name).write_bytes(content)
        self.waits: list[float] = []
        self.place = raw / "lexicon" / NAME

    def __call__(self, dataset: str = "lexicon", **source: object) -> dict:
        given = {"url": self.server.url, "sha256": hashlib.sha256(self.server.body).hexdigest()}
        return self.configured({"sources": {NAME: given | source}}, dataset)

    def configured(self, config: dict, dataset: str = "lexicon") -> dict:
        out = self.raw / dataset / "sources.json"
        return download(dataset, config, self.raw, out, sleep=self.waits.append)

    def leftovers(self) -> list[str]:
        files = [path.name for path in self.raw.rglob("*") if path.is_file()]
        return [name for name in files if name not in ANTONYMS]


@pytest.fixture
def fetch(tmp_path: Path, server: Server) -> Fetch:
    return Fetch(tmp_path / "raw", server)


def test_good_file(fetch: Fetch, capsys: pytest.CaptureFixture[str]) -> None:
    facts = fetch()
    assert fetch.place.read_bytes() == PAIRS
    digests = {n: hashlib.sha256(body).hexdigest() for n, body in FILES.items()}
    assert facts == {
        "files": {n: {"sha256": digests[n], "bytes": len(body)} for n, body in FILES.items()}
    }
    assert read_json(fetch.raw / "lexicon/sources.json") == facts
    assert read_checksums(fetch.raw / "lexicon.sha256") == digests
    assert sorted(fetch.leftovers()) == ["lexicon.sha256", NAME, "sources.json"]
    assert fetch.place.stat().st_mode & 0o044 == 0o044
    assert fetch.waits == []
    assert "100%" in capsys.readouterr().err


def test_filled_folder_asks_nothing(fetch: Fetch) -> None:
    first = fetch()
    assert fetch() == first
    assert len(fetch.server.requests) == 1


def test_imported_files_ask_nothing(tmp_path: Path, fetch: Fetch) -> None:
    shutil.rmtree(fetch.raw)
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    assert import_data("lexicon", tmp_path, fetch.raw) == fetch() == fetch.configured({})
    assert fetch.server.requests == []


def test_cut_connection_is_resumed(fetch: Fetch) -> None:
    fetch.server.answers = [cut(CHUNK), cut(3 * CHUNK)]
    fetch()
    assert fetch.place.read_bytes() == PAIRS
    assert fetch.server.requests == [None, f"bytes={CHUNK}-", f"bytes={3 * CHUNK}-"]


def test_server_without_ranges_starts_again(fetch: Fetch) -> None:
    fetch.server.ranges = False
    fetch.server.answers = [cut(CHUNK)]
    fetch()
    assert fetch.place.read_bytes() == PAIRS
    assert fetch.server.requests == [None, f"bytes={CHUNK}-"]


def test_next_run_goes_on(fetch: Fetch) -> None:
    fetch.server.answers = [cut(CHUNK), *[status(503)] * ATTEMPTS]
    with pytest.raises(UserError, match=r"given up after 6 attempts \(status 503\)"):
        fetch()
    assert fetch.leftovers() == [f".{NAME}.part"]
    fetch.server.requests.clear()
    fetch()
    assert fetch.server.requests == [f"bytes={CHUNK}-"]
    assert fetch.place.read_bytes() == PAIRS


@pytest.mark.parametrize("part", [b"of an older file", PAIRS + b"longer", PAIRS])
def test_part_that_does_not_fit_is_dropped(fetch: Fetch, part: bytes) -> None:
    fetch.place.with_name(f".{NAME}.part").write_bytes(part)
    fetch()
    assert fetch.place.read_bytes() == PAIRS
    assert (len(fetch.server.requests) == 1) == (part == PAIRS)  # whole: nothing more to get


def test_unavailable_then_success(fetch: Fetch) -> None:
    fetch.server.answers = [status(503), status(503, Retry_After="7"), status(429), status(500)]
    fetch()
    assert fetch.place.read_bytes() == PAIRS
    assert fetch.waits == [2, 7, 8, 16]


def test_server_that_never_sends_the_rest_is_given_up(fetch: Fetch) -> None:
    fetch.server.ranges = False
    fetch.server.answers = [cut(CHUNK)] * 50
    with pytest.raises(UserError, match=r"given up after 6 attempts \(ChunkedEncodingError\)"):
        fetch()
    assert not fetch.place.exists()


def test_refusal_is_final(fetch: Fetch) -> None:
    fetch.server.answers = [status(404)]
    with pytest.raises(UserError, match="the server answers 404"):
        fetch()
    assert fetch.leftovers() == []


def test_wrong_checksum_leaves_nothing(fetch: Fetch) -> None:
    right = hashlib.sha256(PAIRS).hexdigest()
    with pytest.raises(UserError) as error:
        fetch(sha256="0" * 64)
    for part in (NAME, right, "0" * 64, f"dataset.sources.{NAME}"):
        assert part in str(error.value)
    assert fetch.leftovers() == []


def test_committed_checksums_serve_and_hold(fetch: Fetch) -> None:
    committed = fetch.raw / "lexicon.sha256"
    lines = {n: f"{hashlib.sha256(body).hexdigest()}  {n}\n" for n, body in FILES.items()}
    committed.write_text("".join(lines.values()))
    fetch(sha256=None)
    assert fetch.place.read_bytes() == PAIRS
    committed.write_text("".join((lines | {NAME: f"{'1' * 64}  {NAME}\n"}).values()))
    with pytest.raises(UserError, match=rf"{NAME}: sha256 is \w+, .*lexicon.sha256 says 1111"):
        fetch()
    with pytest.raises(UserError, match=rf"{NAME}: sha256 is \w+, `dataset.sources.*says 2222"):
        fetch(sha256="2" * 64)


def a_flickr8k_config(server: Server, body: bytes, **more: object) -> dict:
    server.body = body
    source = {"url": server.url, "sha256": hashlib.sha256(body).hexdigest()}
    return {"name": "flickr8k", "sources": {"Flickr8k_text.zip": source | more}}


def a_zip(*names: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, "content")
    return stream.getvalue()


def test_terms_must_be_accepted(fetch: Fetch, capsys: pytest.CaptureFixture[str]) -> None:
    config = a_flickr8k_config(fetch.server, a_zip("readme.txt"))
    with pytest.raises(UserError, match=r"set `dataset\.accept_terms: true`"):
        fetch.configured(config, "flickr8k")
    assert "non-commercial research" in capsys.readouterr().err
    assert fetch.server.requests == []
    with pytest.raises(UserError, match=r"Flickr8k_Dataset.zip is missing"):
        fetch.configured(config | {"accept_terms": True}, "flickr8k")
    assert fetch.leftovers() == ["Flickr8k_text.zip"]


@pytest.mark.parametrize("unpack", [False, True])
def test_archive_that_writes_outside_is_refused(fetch: Fetch, unpack: bool) -> None:
    config = a_flickr8k_config(fetch.server, a_zip("ok.txt", "../../evil.txt"), unpack=unpack)
    with pytest.raises(UserError, match=r"Flickr8k_text.zip: refused, member '../../evil.txt'"):
        fetch.configured(config | {"accept_terms": True}, "flickr8k")
    assert fetch.leftovers() == []
    assert not list(fetch.raw.parent.rglob("evil.txt"))


def test_archive_is_unpacked_on_demand(fetch: Fetch, flickr8k_files) -> None:
    folder = flickr8k_files.write_archives(fetch.raw / "flickr8k")
    fetch.place.write_bytes(PAIRS)
    body = (folder / "Flickr8k_text.zip").read_bytes()
    config = a_flickr8k_config(fetch.server, body, unpack=True)
    facts = fetch.configured(config, "flickr8k")
    assert set(facts["files"]) == {"Flickr8k_Dataset.zip", "Flickr8k_text.zip", *FILES}
    assert (folder / "Flickr8k_text/Flickr8k.token.txt").is_file()
    assert fetch.configured(config, "flickr8k") == facts


def test_files_elsewhere_are_recorded(
    tmp_path: Path, fetch: Fetch, flickr8k_files, word_pairs
) -> None:
    folder = flickr8k_files.write_folder(tmp_path / "mine")
    pairs = word_pairs(tmp_path / "pairs")
    facts = fetch.configured({"raw": str(folder), "lexicon": str(pairs)}, "flickr8k")
    assert {"Flicker8k_Dataset/", "Flickr8k.token.txt", *FILES} <= facts["files"].keys()
    assert fetch.leftovers() == ["sources.json"]


def test_dataset_without_raw_files_needs_nothing(fetch: Fetch) -> None:
    assert fetch.configured({"name": "scenes"}, "scenes") == {"files": {}}
    assert fetch.server.requests == []


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, rf"{NAME} is missing; import it by `mmrobust import-data lexicon FROM`, or give"),
        ({"sources": {NAME: "http://x"}}, rf"dataset.sources.{NAME}: allowed is"),
        ({"sources": {NAME: {"url": "ftp://x/y"}}}, "url: allowed is http:// or https://"),
        ({"sources": {NAME: {"url": "http://x", "sha": ""}}}, "'sha'; did you mean 'sha256'"),
        ({"sources": {NAME: {"url": "http://x"}}}, "nothing to check it by; give"),
        ({"sources": {NAME: {"url": "http://", "sha256": "0" * 64}}}, "cannot be downloaded"),
    ],
)
def test_bad_configuration(fetch: Fetch, config: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        fetch.configured(config)
    assert fetch.leftovers() == []
