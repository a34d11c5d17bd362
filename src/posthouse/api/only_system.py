"""A process that only owns partitions answers those who look after it, and nobody else."""

from __future__ import annotations

from typing import Any, Final

from posthouse.api.gate import App
from posthouse.api.problems import problem_bytes
from posthouse.api.texts.accepted import language_of
from posthouse.domain.errors import NotFound

PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})


def only_system(app: App) -> App:
    """`app`, of which no more than `PATHS` is to be reached."""

    async def limited(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] in PATHS:
            await app(scope, receive, send)
            return
        error = NotFound(
            "this process has the role worker, which answers /healthz, /readyz and /metrics only; ask one with the role api "
            "or all",
            code="route_not_found",
        )
        status, headers, body = problem_bytes(error, language_of(scope["headers"]))
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return limited
