"""The API as a command speaks to it."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from posthouse.cli import exact
from posthouse.cli.texts.language import CHINESE, chinese_wanted
from posthouse.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
    PosthouseError,
    StoreUnavailable,
    TooLarge,
    Unauthorised,
)
from posthouse.domain.limits import PAGE_ROWS_MAX

EVENT_STREAM: Final = "text/event-stream"
DEFAULT_URL: Final = "http://127.0.0.1:8080"
TIMEOUT_SECONDS: Final = 30
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_PROXY_FREE: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_OF_PROXIES: Final = frozenset({HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.TOO_MANY_REQUESTS})
_KEYS: Final = ("POSTHOUSE_KEY", "POSTHOUSE_API_KEY", "POSTHOUSE_ADMIN_KEY")

Query = Mapping[str, str]


class NotOurs(StoreUnavailable):
    """Something answers where the server should, and it is no Posthouse."""


class Answer(NamedTuple):
    """What the server answered: the decoded body (None where there is none) and its version where it gave one."""

    status: int
    body: Any
    etag: str | None


class Client:
    """Calls `url` (default: POSTHOUSE_URL, else this machine's port 8080) with `key` (default: POSTHOUSE_KEY). With
    `exact_numbers` what is answered holds them as they were written (`posthouse.cli.exact`), for whoever shows it. The server
    may be silent for `seconds`.

    Raises the domain's errors: what the server refused, and StoreUnavailable where it cannot be reached.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        exact_numbers: bool = False,
        seconds: float = TIMEOUT_SECONDS,
    ) -> None:
        self._loads = exact.loads if exact_numbers else json.loads
        self.url = url_given(url)
        self._key = _key(key)
        self._seconds = seconds

    def get(self, *path: str, **query: str) -> Any:
        return self.ask("GET", path, query=query).body

    def post(self, *path: str, body: object = None) -> Any:
        return self.ask("POST", path, body=body).body

    def delete(self, *path: str) -> Any:
        return self.ask("DELETE", path).body

    def rows(self, *path: str, query: Query | None = None, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """The rows of a list, page after page: all, or at most `limit`."""
        asked = dict(query or {})
        left = limit
        while left is None or left > 0:
            page = self.ask(
                "GET", path, query=asked | {"limit": str(PAGE_ROWS_MAX if left is None else min(left, PAGE_ROWS_MAX))}
            ).body
            yield from page["data"]
            if left is not None:
                left -= len(page["data"])
            if page.get("next") is None:
                return
            asked["cursor"] = page["next"]

    def stream(
        self, *path: str, query: dict[str, str], headers: dict[str, str], seconds: float
    ) -> http.client.HTTPResponse:
        """An answer that has no end, to be read as it comes; `seconds` is how long it may be silent."""
        if self._key is None:
            raise _no_key()
        request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's choice
            self.url + "/v1/" + "/".join(quote(part, safe="") for part in path) + "?" + urlencode(query),
            headers=self._headers() | {"Accept": EVENT_STREAM} | headers,
        )
        try:
            answer: http.client.HTTPResponse = _PROXY_FREE.open(request, timeout=seconds)
        except urllib.error.HTTPError as error:
            raise _refusal(error, self.url) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise StoreUnavailable(f"no server there: {getattr(reason, 'strerror', None) or reason}") from None
        if answer.headers.get_content_type() != EVENT_STREAM:
            answer.close()
            raise _not_ours(self.url)
        return answer

    def ask(
        self,
        method: str,
        path: tuple[str, ...],
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request below /v1."""
        if self._key is None:
            raise _no_key()
        url = self.url + "/v1/" + "/".join(quote(part, safe="") for part in path)
        if query:
            url += "?" + urlencode(query)
        sent = self._headers() | {"Content-Type": "application/json"} | dict(headers or {})
        try:
            request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's choice
                url, method=method, data=None if body is None else exact.dumps(body).encode(), headers=sent
            )
            with _PROXY_FREE.open(request, timeout=self._seconds) as answer:
                text = answer.read(ANSWER_BYTES_MAX)
                return Answer(answer.status, self._body(answer.status, text), answer.headers.get("ETag"))
        except urllib.error.HTTPError as error:
            raise _refusal(error, self.url) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise _next(
                StoreUnavailable(f"no server at {self.url} ({reason})"),
                "start one with `posthouse serve`, or set POSTHOUSE_URL or --url",
            ) from None

    def _headers(self) -> dict[str, str]:
        """Those of every request. What the server refuses it tells in the language of whoever reads it here."""
        return {"Authorization": f"Bearer {self._key}"} | ({"Accept-Language": CHINESE} if chinese_wanted() else {})

    def _body(self, status: int, text: bytes) -> Any:
        """What was answered. Raises NotOurs."""
        if status == HTTPStatus.NO_CONTENT:
            return None
        try:
            return self._loads(text)
        except ValueError:
            raise _not_ours(self.url) from None


def url_given(url: str | None) -> str:
    """The server's URL: as given, or POSTHOUSE_URL, or this machine's; `localhost:8080` is http. Raises Invalid."""
    given = (url or os.environ.get("POSTHOUSE_URL") or DEFAULT_URL).rstrip("/")
    scheme, separator, _ = given.partition("://")
    if not separator and ":" in given:
        return f"http://{given}"
    if scheme.lower() not in ("http", "https"):
        raise Invalid(f"the URL of the server is like https://posthouse.example, and not {given[:200]!r}")
    return given


def key_given(key: str | None) -> str:
    """The API key: as given, or of the environment. Raises Unauthorised where there is none."""
    found = _key(key)
    if found is None:
        raise _no_key()
    return found


def _key(key: str | None) -> str | None:
    found = (key or next((value for name in _KEYS if (value := os.environ.get(name))), "")).strip()
    if not found.isascii() or not found.isprintable() or " " in found:
        # It is said before it is sent, and not shown: it may be right but for what came along.
        raise _next(
            Unauthorised("the API key holds spaces or other characters that no key has"), "look at how it was copied"
        )
    return found or None


def _no_key() -> PosthouseError:
    return _next(
        Unauthorised("no API key"),
        "set POSTHOUSE_KEY, or give --key; `posthouse serve` prints the first key as it starts",
    )


def _next(error: PosthouseError, step: str) -> PosthouseError:
    """The error with what to do about it, which `main` prints under it."""
    error.add_note(step)
    return error


def _not_ours(url: str) -> PosthouseError:
    return _next(NotOurs(f"what answers at {url} is no Posthouse server"), "set POSTHOUSE_URL or --url to one")


def _refusal(error: urllib.error.HTTPError, url: str) -> PosthouseError:
    """The server's problem+json as the error that it was; NotOurs where it is none, and no server said it that may be gone
    for a while behind a proxy."""
    try:
        problem = json.loads(error.read(ANSWER_BYTES_MAX))
    except ValueError:
        problem = None
    if not isinstance(problem, dict):
        if error.code < 500 and error.code not in _OF_PROXIES:
            return _not_ours(url)
        problem = {}
    detail = problem.get("detail") or problem.get("title") or f"the server answered {error.code}"
    code = problem.get("code", "")
    wrong = problem.get("errors") or [problem]
    told = "; ".join(f"{path}: {one['detail']}" for one in wrong if (path := one.get("path"))) or detail
    match error.code:
        case 401:
            return _next(Unauthorised(told), "set POSTHOUSE_KEY, or give --key; `posthouse keys create` makes keys")
        case 403 if code.startswith("quota"):
            return _next(PosthouseError(told), "`posthouse apps get` shows an app's quotas; an admin key changes them")
        case 403:
            return _next(
                Forbidden(told), "give a key that may in POSTHOUSE_KEY or --key; `posthouse keys create` makes keys"
            )
        case 404:
            return NotFound(told, code=code or "not_found")
        case 409:
            return Conflict(told, code=code or "conflict")
        case 412:
            return _next(
                Conflict(told, code=code or "precondition_failed"), "somebody else changed it; look, and do it again"
            )
        case 413:
            return TooLarge(told)
        case 429 | 502 | 503 | 504:
            wait = error.headers.get("Retry-After")
            return _next(Overloaded(told), f"try again in {wait} s" if wait else "try again shortly")
        case status if status < 500:
            return Invalid(told, code=code or "invalid")
        case _:
            return _next(PosthouseError(told), "the server's log says more")
