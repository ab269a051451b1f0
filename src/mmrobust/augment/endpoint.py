"""Language models behind an address: an OpenAI-compatible server, local or of a provider."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

import requests
from pydantic import ConfigDict, Field
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from mmrobust.augment.prompts import Prompt
from mmrobust.errors import UserError

RETRIES = 6
BACKOFF_S = 1.0
"""Waits between attempts grow from 0 over 2, 4, ... to 32 s, a minute in all, in which the limits
of a provider are counted; a longer wait that the server asks for is kept."""
_PASSING = (408, 429, 500, 502, 503, 504)
_CUT = ("abort", "content_filter", "length")
"""Reasons for which an answer ends before it is whole."""
_TIMEOUT_S = (10, 120)
"""To connect, and between two signs of life."""
_WHERE = "augmentations: rewrite: endpoint"


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask, and for which model.

    Fields:
        url: up to before `/chat/completions`, such as `http://localhost:8000/v1`.
        model: its name there.
        api_key_variable: name of the environment variable that holds the key, never the key
            itself; None if none is asked for.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    url: Annotated[str, Field(pattern="^https?://")]
    model: str
    api_key_variable: str | None = None

    def __post_init__(self) -> None:
        # What may be a key by mistake is not repeated.
        if self.api_key_variable is not None and not self.api_key_variable.isidentifier():
            raise UserError(
                f"{_WHERE}: api_key_variable: wanted: the name of an environment variable, of "
                "letters, digits and _"
            )

    def key(self) -> str | None:
        """The key; `UserError` if its variable is not set."""
        if self.api_key_variable is None:
            return None
        key = os.environ.get(self.api_key_variable, "").strip()
        if not (key and key.isascii() and key.isprintable()):
            raise UserError(
                f"{_WHERE}: api_key_variable: environment variable {self.api_key_variable} is not "
                "set to a key"
            )
        return key


class Chat:
    """Asks one endpoint, several prompts at once.

    Answers are as repeatable as the server makes them: it is told a seed.
    """

    def __init__(self, endpoint: Endpoint, *, at_once: int) -> None:
        self._endpoint = endpoint
        self._at_once = at_once
        self._url = f"{endpoint.url.rstrip('/')}/chat/completions"
        self._key = endpoint.key()
        retry = Retry(
            RETRIES,
            backoff_factor=BACKOFF_S,
            status_forcelist=_PASSING,
            allowed_methods=None,  # POST too: an answer that was lost is asked for again
            raise_on_status=False,
        )
        self._session = requests.Session()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=at_once, max_retries=retry))
        if self._key is not None:
            # As `auth`: requests puts the password of a .netrc file in place of a mere header.
            self._session.auth = self._sign

    def ask(
        self, prompts: Sequence[Prompt], seeds: Sequence[int], options: Mapping[str, Any]
    ) -> list[tuple[str, bool]]:
        """Answers to prompts, in their order.

        Args:
            prompts: what is asked.
            seeds: of each one's sampling.
            options: further keys of the request.

        Returns:
            Each answer, and whether it is whole and not cut: by the number of tokens allowed, or
            by a filter of the server.

        Raises:
            UserError: the server can't be reached, refuses, or answers something else.
        """

        def one(prompt: Prompt, seed: int) -> tuple[str, bool]:
            body = {"model": self._endpoint.model, "messages": prompt.messages(), "seed": seed}
            return self._read(self._post({**body, **options}))

        with ThreadPoolExecutor(self._at_once) as pool:
            return list(pool.map(one, prompts, seeds))

    def _sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._key}"
        return request

    def _post(self, body: Mapping[str, Any]) -> requests.Response:
        try:
            response = self._session.post(self._url, json=body, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise self._error(f"can't be asked ({type(error).__name__})") from None
        if not response.ok:
            raise self._error(f"the server answers {response.status_code}", response)
        return response

    def _read(self, response: requests.Response) -> tuple[str, bool]:
        try:
            [choice, *_] = response.json()["choices"]
            content, reason = choice["message"]["content"], choice.get("finish_reason")
            if not isinstance(content, str | None):
                raise TypeError
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._error("the server's answer is no chat completion", response) from None
        return (content or "").strip(), reason not in _CUT

    def _error(self, what: str, response: requests.Response | None = None) -> UserError:
        """What went wrong, with the beginning of what the server said of it, and no key."""
        said = "" if response is None else " ".join(response.text.split())
        if self._key is not None:
            said = said.replace(self._key, "***")
        return UserError(f"{_WHERE}: {self._url}: {what}" + (f" ({said[:200]})" if said else ""))
