"""Receiving with FastAPI (and the route with Starlette): `pip install posthouse-sdk[fastapi]`.

app.add_api_route("/hook", route(receiver), methods=["POST"])

Admitted = Annotated[ReceivedEvent[Any], Depends(admitted(gate))]

@app.post("/hook")
async def hook(event: Admitted) -> None: ...
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.receiving.answers import Answer
from posthouse_sdk.receiving.gate import Gate
from posthouse_sdk.receiving.receiver import Receiver
from posthouse_sdk.receiving.steps import arun


def route(receiver: Receiver) -> Callable[[Request], Awaitable[Response]]:
    """The function of a POST route.

    Raises: ReceiverError where the receiver has no fallback.
    """
    receiver.check()

    async def receive(request: Request) -> Response:
        body = await _body(request, receiver)
        answer = body if isinstance(body, Answer) else await receiver.ahandle(body, request.headers)
        return Response(answer.body, answer.status, dict(answer.headers))

    return receive


def admitted(gate: Gate) -> Callable[[Request], AsyncIterator[ReceivedEvent[Any]]]:
    """A dependency: the event of the request, verified and claimed; confirmed when the route has returned.

    Refusals, and events that were handled before, are answered without the route. A route that raises, `HTTPException` too,
    releases the event, so that it may come again: raise what shall not confirm, do not return it.
    """

    async def admit(request: Request) -> AsyncIterator[ReceivedEvent[Any]]:
        event = await arun(gate.admission(await _body(request, gate), request.headers))
        if isinstance(event, Answer):
            kept = {name: value for name, value in event.headers if name != "Content-Type"}
            raise HTTPException(event.status, event.reason, kept)
        try:
            yield event
        except Exception:
            await gate.asettle(event, confirmed=False)
            raise
        await gate.asettle(event, confirmed=True)

    return admit


async def _body(request: Request, gate: Gate) -> bytes | Answer:
    """The raw body, as far as it may go."""
    length = request.headers.get("content-length", "0")
    if length.isdigit() and int(length[:20]) > gate.body_bytes_max:
        return gate.too_large()
    chunks, size = [], 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > gate.body_bytes_max:
                return gate.too_large()
            chunks.append(chunk)
    except ClientDisconnect:
        return Answer(400)
    return b"".join(chunks)
