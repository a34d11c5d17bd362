"""A target on this machine: it takes requests, verifies them where it has the secret, and tells what it saw."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import uvicorn

from posthouse.adapters.system.listening import cannot_listen
from posthouse.api.server import Server
from posthouse_sdk import VerificationError, Webhook
from posthouse_sdk.compression import unpacked
from posthouse_sdk.webhook import UNPACKED_BYTES_MAX

BODY_BYTES_MAX = 4 * 1024 * 1024


class Arrival(NamedTuple):
    """One request as it arrived; a body that is verified and came compressed is unpacked. `verdict` is `verified`,
    `not verified` (there is no secret), or why it failed."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    verdict: str

    @property
    def verified(self) -> bool:
        return self.verdict == "verified"

    def decoded(self) -> Any:
        """The body as JSON, or as text where it is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return self.body.decode("utf-8", "replace")


class Receiver:
    """An ASGI application that is a target. `answer` is asked for the status of each arrival."""

    def __init__(self, answer: Callable[[Arrival], int], secrets: list[str] | None = None) -> None:
        self._answer = answer
        self.secrets = list(secrets or [])

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await body_of(receive, send)
        if body is None:
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        verdict, body = self._judged(body, headers)
        arrival = Arrival(scope["method"], scope["path"], headers, body, verdict)
        await respond(send, self._answer(arrival))

    def _judged(self, body: bytes, headers: dict[str, str]) -> tuple[str, bytes]:
        if not self.secrets:
            return "not verified", body
        try:
            Webhook(self.secrets).check(body, headers)
            return "verified", unpacked(body, headers, bytes_max=UNPACKED_BYTES_MAX)
        except VerificationError as error:
            return str(error), body


async def body_of(receive: Any, send: Any) -> bytes | None:
    """The body of a request; None where there is nobody to answer any more."""
    chunks: list[bytes] = []
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
        if sum(map(len, chunks)) > BODY_BYTES_MAX:
            await respond(send, 413)
            return None
    return b"".join(chunks)


async def respond(send: Any, status: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> None:
    lines = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in (headers or {}).items()]
    if status != 204:
        lines.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": lines})
    await send({"type": "http.response.body", "body": b"" if status == 204 else body})


class Served:
    """An ASGI application on a port of this machine, while the block lasts."""

    def __init__(self, app: Any, *, host: str = "127.0.0.1", port: int = 0) -> None:
        try:
            self._socket = socket.create_server((host, port))
        except OSError as error:
            raise cannot_listen(f"{host}:{port}", error, options="--port") from None
        self.url = f"http://{host}:{self._socket.getsockname()[1]}"
        self._server = Server(
            uvicorn.Config(app, log_config=None, log_level="warning", access_log=False, lifespan="off")
        )

    async def __aenter__(self) -> Served:
        self._task = asyncio.create_task(self._server.serve(sockets=[self._socket]))
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.should_exit = True
        await self._task
