"""The smallest applications there are, for the measurement: they answer 201 with JSON, and do nothing."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

ANSWER: Final = b'{"id": 7, "shop": 42, "total": "9.90"}'


async def asgi_application(scope: Any, receive: Any, send: Any) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(ANSWER)).encode())]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": ANSWER})


def wsgi_application(environ: Any, start_response: Any) -> Iterable[bytes]:
    start_response("201 Created", [("Content-Type", "application/json"), ("Content-Length", str(len(ANSWER)))])
    return [ANSWER]
