"""An OpenAI-compatible server on the loopback that answers, fails and lies."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.augment.conftest import Augment
from tests.servers import serving

from mmrobust.augment import endpoint
from mmrobust.augment.endpoint import RETRIES, Chat, Endpoint
from mmrobust.augment.prompts import PAIRS, Prompt
from mmrobust.errors import UserError

KEY = "sk-never-shown-0123456789"
VARIABLE = "MMROBUST_TEST_KEY"
OPTIONS = {"temperature": 0.9, "top_p": 0.95, "max_tokens": 40}


class Server(ThreadingHTTPServer):
    """Says a caption in capitals; `answers` overrides what the next requests get."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[Callable[[Handler], None]] = []
        self.always: Callable[[Handler], None] = capitals
        self.requests: list[dict[str, Any]] = []
        """The body of each request so far, with its path and headers."""
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        self.body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append({"path": self.path, "headers": self.headers, **self.body})
            answer = server.answers.pop(0) if server.answers else server.always
        answer(self)

    def send(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def saying(content: Any, **choice: Any) -> Callable[[Handler], None]:
    message = {"role": "assistant", "content": content}
    whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop", **choice}]}
    return lambda handler: handler.send(200, json.dumps(whole))


def capitals(handler: Handler) -> None:
    saying(handler.body["messages"][-1]["content"].upper())(handler)


def status(number: int, text: str = "") -> Callable[[Handler], None]:
    return lambda handler: handler.send(number, text)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(endpoint, "BACKOFF_S", 0.0)
    with serving(Server()) as one:
        yield one


def prompts(*captions: str) -> list[Prompt]:
    pairs = (("a", "b"), ("c", "d"))
    return [Prompt(instruction="Do it.", pairs=pairs, caption=caption) for caption in captions]


def ask(server: Server, *captions: str, key: str | None = None) -> list[tuple[str, bool]]:
    to = Endpoint(url=server.url, model="m", api_key_variable=key)
    return Chat(to, at_once=4).ask(prompts(*captions), list(range(len(captions))), OPTIONS)


def test_a_request_holds_all_that_sampling_needs(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, f" {KEY}\n")
    assert ask(server, "a dog", key=VARIABLE) == [("A DOG", True)]
    [request] = server.requests
    assert request.pop("headers")["Authorization"] == f"Bearer {KEY}"
    [prompt] = prompts("a dog")
    expected = {"path": "/v1/chat/completions", "model": "m", "messages": prompt.messages()}
    assert request == {**expected, "seed": 0, **OPTIONS}


def test_without_a_variable_no_key_is_sent(server: Server) -> None:
    ask(server, "a dog")
    assert "Authorization" not in server.requests[0]["headers"]


def test_a_netrc_file_does_not_replace_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password other\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv(VARIABLE, KEY)
    ask(server, "a dog", key=VARIABLE)
    assert server.requests[0]["headers"]["Authorization"] == f"Bearer {KEY}"


def test_a_slash_at_the_end_of_the_address_is_no_matter(server: Server) -> None:
    server.url += "/"
    ask(server, "a dog")
    assert server.requests[0]["path"] == "/v1/chat/completions"


def test_several_are_asked_at_once_and_answers_keep_their_order(server: Server) -> None:
    everyone = threading.Barrier(4, timeout=10)

    def together(handler: Handler) -> None:
        everyone.wait()  # breaks unless four requests are under way
        capitals(handler)

    server.always = together
    captions = [f"dog {number}" for number in range(12)]
    assert ask(server, *captions) == [(caption.upper(), True) for caption in captions]
    seeds = {request["messages"][-1]["content"]: request["seed"] for request in server.requests}
    assert seeds == {caption: number for number, caption in enumerate(captions)}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (saying("\n a cat \n"), ("a cat", True)),
        (saying("a c", finish_reason="length"), ("a c", False)),
        (saying("a c", finish_reason="content_filter"), ("a c", False)),
        (saying("a cat", finish_reason=None), ("a cat", True)),
        (saying(None), ("", True)),
        (saying(""), ("", True)),
    ],
)
def test_answers_are_read(
    server: Server, answer: Callable[[Handler], None], found: tuple[str, bool]
) -> None:
    server.always = answer
    assert ask(server, "a dog") == [found]


@pytest.mark.parametrize("number", [429, 500, 503])
def test_passing_failures_are_tried_again(server: Server, number: int) -> None:
    server.answers = [status(number), status(number)]
    assert ask(server, "a dog") == [("A DOG", True)]
    assert len(server.requests) == 3
    bodies = [{**request, "headers": None} for request in server.requests]
    assert bodies[0] == bodies[1] == bodies[2]


def test_failures_that_stay_are_told(server: Server) -> None:
    server.always = status(503, "overloaded\n\nplease wait")
    with pytest.raises(UserError, match=r"answers 503 \(overloaded please wait\)$"):
        ask(server, "a dog")
    assert len(server.requests) == RETRIES + 1


@pytest.mark.parametrize("length", [0, 190])
def test_a_refusal_is_told_at_once_and_without_the_key(
    server: Server, monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    server.always = status(401, f"{'x' * length}no such key: {KEY}")
    with pytest.raises(UserError, match=r"^augmentations: rewrite: endpoint: http") as error:
        ask(server, "a dog", key=VARIABLE)
    assert f"{server.url}/chat/completions: the server answers 401 (" in str(error.value)
    assert "sk-" not in str(error.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "text",
    [
        "<html>not what you want",
        "{",
        "[]",
        "{}",
        '{"choices": []}',
        '{"choices": ["a"]}',
        '{"choices": [{"text": "a"}]}',
        '{"choices": [{"message": {"content": 1}}]}',
        '{"choices": [{"message": null}]}',
    ],
)
def test_what_is_no_answer_is_told_in_one_line(server: Server, text: str) -> None:
    server.always = status(200, text)
    with pytest.raises(UserError, match="the server's answer is no chat completion") as error:
        ask(server, "a dog")
    assert str(error.value).endswith(f"({text})")


def test_a_server_that_is_not_there_is_told(server: Server) -> None:
    gone = Server()
    gone.server_close()
    server.url = gone.url
    with pytest.raises(UserError, match=r"/v1/chat/completions: can't be asked \(Connection"):
        ask(server, "a dog")


@pytest.mark.parametrize("value", [None, "", " ", "sk-\u00e9", "sk-\x07"])
def test_a_missing_or_broken_key_is_told_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    if value is not None:
        monkeypatch.setenv(VARIABLE, value)
    to = Endpoint(url="http://localhost", model="m", api_key_variable=VARIABLE)
    with pytest.raises(UserError, match=f"environment variable {VARIABLE} is not set to a key$"):
        Chat(to, at_once=1)


def test_a_key_in_the_place_of_its_variable_is_not_repeated() -> None:
    with pytest.raises(UserError, match="wanted: the name of an environment variable") as error:
        Endpoint(url="http://localhost", model="m", api_key_variable=KEY)
    assert "sk-" not in str(error.value)


def test_a_dataset_is_rewritten_end_to_end(
    augment: Augment, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, KEY)
    server.answers = [saying("1. 'Quite, another one!'\nnot this"), saying(None)]
    server.answers.append(saying("cut off he", finish_reason="length"))
    to = {"url": server.url, "model": "m", "api_key_variable": VARIABLE}
    made = augment("rewrite", n=1, endpoint=to, shots=2, batch_size=1)
    items = made.items
    assert items["caption"][0] == "quite another one"
    assert items["changed"].tolist() == [True, False, True] + [False] * 297
    assert items["caption"][2] == "cut off"
    asked = [request["messages"] for request in server.requests]
    assert all(len(messages) == 1 + 2 * 2 + 1 for messages in asked)
    assert items["caption"][3:].tolist() == [messages[-1]["content"] for messages in asked[3:]]
    shown = {(one[1]["content"], one[2]["content"]) for one in asked}
    assert shown <= set(PAIRS)
    assert len(shown) > 1
    assert len({request["seed"] for request in server.requests}) == 300
    assert made.manifest["augmentation"]["endpoint"] == to
    assert KEY not in json.dumps(made.manifest)
