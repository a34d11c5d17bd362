"""A client for an ASGI application in the same process: no socket, no server, no dependency."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

App = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]], Any
]


@dataclass(frozen=True)
class Reply:
    """What the application answered. Header names are lower-case."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def code(self) -> str:
        """The code of a problem."""
        assert self.headers["content-type"] == "application/problem+json", self.body
        problem = self.json()
        assert problem["status"] == self.status
        assert problem["title"]
        assert problem["detail"]
        code: str = problem["code"]
        return code

    @property
    def path(self) -> str:
        """The path of a problem, empty where it has none."""
        assert self.code
        path: str = self.json().get("path", "")
        return path


Check = Callable[[str, str, Reply], None]
"""(method, path, reply): raises where that is no answer to give."""


class Client:
    """Sends requests, with an API key where one is set. Every reply goes through `check`."""

    def __init__(self, app: App, *, key: str | None = None, check: Check | None = None) -> None:
        self._app = app
        self._check = check
        self.key = key

    def with_key(self, key: str | None) -> Client:
        return Client(self._app, key=key, check=self._check)

    async def get(self, url: str, **options: Any) -> Reply:
        return await self.request("GET", url, **options)

    async def post(self, url: str, json: Any = None, **options: Any) -> Reply:
        return await self.request("POST", url, json=json, **options)

    async def put(self, url: str, json: Any = None, **options: Any) -> Reply:
        return await self.request("PUT", url, json=json, **options)

    async def patch(self, url: str, json: Any, **options: Any) -> Reply:
        return await self.request("PATCH", url, json=json, **options)

    async def delete(self, url: str, **options: Any) -> Reply:
        return await self.request("DELETE", url, **options)

    async def request(
        self,
        method: str,
        url: str,
        *,
        json: Any = None,
        body: bytes | Sequence[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
        hang: bool = False,
        cut_off: bool = False,
    ) -> Reply:
        """One request. `body` as a sequence comes in pieces; then it hangs, is cut off (`http.disconnect`), or ends."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if json is not None:
            body = msgspec.json.encode(json)
            sent.setdefault("content-type", "application/json")
        if self.key is not None:
            sent.setdefault("authorization", f"Bearer {self.key}")
        pieces = [body] if isinstance(body, bytes) else list(body or [b""])
        parts = urlsplit(url)
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(parts.path),
            "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(),
            "root_path": "",
            "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        answer: list[dict[str, Any]] = []
        enough = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if pieces:
                piece = pieces.pop(0)
                return {"type": "http.request", "body": piece, "more_body": bool(pieces) or hang or cut_off}
            if cut_off:
                return {"type": "http.disconnect"}
            await enough.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            answer.append(message)
            # A stream has no end of its own: its first piece will do, and we are gone.
            if message.get("body") and dict(answer[0]["headers"])[b"content-type"].startswith(b"text/event-stream"):
                enough.set()

        await self._app(scope, receive, send)
        if not answer:
            return Reply(0, {}, b"")
        start = answer[0]
        reply = Reply(
            start["status"],
            {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]},
            b"".join(message.get("body", b"") for message in answer[1:]),
        )
        if self._check is not None:
            self._check(method, parts.path, reply)
        return reply
