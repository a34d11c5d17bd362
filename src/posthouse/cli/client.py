"""The API as a command speaks to it."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from typing import Any, Final
from urllib.parse import quote, urlencode

from posthouse.domain.errors import (
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Overloaded,
    PosthouseError,
    StoreUnavailable,
    Unauthorised,
)

DEFAULT_URL: Final = "http://127.0.0.1:8080"
TIMEOUT_SECONDS: Final = 30
_PROXY_FREE: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Client:
    """Calls `url` (default: POSTHOUSE_URL, else this machine's port 8080) with `key` (default: POSTHOUSE_KEY).

    Raises the domain's errors: what the server refused, and StoreUnavailable where it cannot be reached.
    """

    def __init__(self, url: str | None = None, key: str | None = None) -> None:
        self.url = (url or os.environ.get("POSTHOUSE_URL") or DEFAULT_URL).rstrip("/")
        self._key = key or os.environ.get("POSTHOUSE_KEY") or os.environ.get("POSTHOUSE_ADMIN_KEY")

    def get(self, *path: str, **query: str) -> Any:
        return self.call("GET", path, query=query)

    def post(self, *path: str, body: object = None) -> Any:
        return self.call("POST", path, body=body)

    def delete(self, *path: str) -> Any:
        return self.call("DELETE", path)

    def call(
        self, method: str, path: tuple[str, ...], *, body: object = None, query: dict[str, str] | None = None
    ) -> Any:
        """The decoded answer, None where it has no body."""
        if self._key is None:
            raise Unauthorised("no API key; set POSTHOUSE_KEY, or give --key")
        url = self.url + "/v1/" + "/".join(quote(part, safe="") for part in path)
        if query:
            url += "?" + urlencode(query)
        request = urllib.request.Request(  # noqa: S310 - the scheme is the operator's choice
            url,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {self._key}", "Content-Type": "application/json"},
        )
        try:
            with _PROXY_FREE.open(request, timeout=TIMEOUT_SECONDS) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            raise _refusal(error) from None
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise StoreUnavailable(
                f"no server at {self.url} ({reason}); start one with `posthouse serve`, or set POSTHOUSE_URL"
            ) from None
        return json.loads(text) if text else None


def _refusal(error: urllib.error.HTTPError) -> PosthouseError:
    """The server's problem+json as the error that it was."""
    try:
        problem = json.load(error)
    except ValueError:
        problem = {}
    detail = problem.get("detail") or problem.get("title") or f"the server answered {error.code}"
    path = problem.get("path", "")
    told = f"{path}: {detail}" if path else detail
    match error.code:
        case 401:
            return Unauthorised(told)
        case 403:
            return Forbidden(told)
        case 404:
            return NotFound(told)
        case 409:
            return Conflict(told)
        case 503:
            return Overloaded(told)
        case code if code < 500:
            return Invalid(told)
        case _:
            return PosthouseError(told)
