"""/v1/stream: events and attempts, live."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from functools import partial
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.caller import Caller
from posthouse.api.gate import CREDENTIAL, Asker
from posthouse.api.late_routes import late_router
from posthouse.api.models.traffic import AttemptAnswer, EventAnswer
from posthouse.api.pages import Cursors
from posthouse.api.problems import problem_bytes
from posthouse.api.sse import CONTENT, KEEP_ALIVE, EventStream, last_id, message
from posthouse.api.texts.accepted import Language, language_of
from posthouse.domain.access import Principal
from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT
from posthouse.domain.limits import (
    EVENT_PATTERNS_MAX,
    NAME_LENGTH_MAX,
    STREAM_CHUNK_BYTES,
    STREAM_KEEP_ALIVE_SECONDS,
    STREAM_POSITION_LENGTH_MAX,
    STREAM_RETRY_MS,
)
from posthouse.domain.position import Position, pack, unpack
from posthouse.domain.routing import is_pattern
from posthouse.manage.stream import Kind, Streams
from posthouse.manage.stream_reader import POSITION_PATH, Ended, Message, Stream
from posthouse.ports.stream import EventRow

DESCRIPTION: Final = """\
Events and attempts as they come: server-sent events (`text/event-stream`) with `event: event` or `event: attempt`, and as \
data the JSON that the lists have. An administrator's key hears of everything, an app's key of its own.

It begins now. A message may carry an `id`; whoever connects again and sends the last one as `Last-Event-ID` goes on after it: \
nothing is missed, and a few messages may come again (at least every tenth has an `id`, and so has the last for the time \
being). Events of an app come in the order of its log; between apps there is none, nor between events and attempts. A position \
is refused (422) once it is older than what is kept, or with other `kinds`.

Data are there with `data=true`: in `data` as they were published where they are JSON, else in `data_base64` (JSON with \
carriage returns, too). Every 15 seconds without a message there is a comment. A client that takes nothing for a minute is \
disconnected; so is one whose key was revoked. If the stream cannot go on it ends with `event: problem`."""

Types = Annotated[
    str | None,
    Field(
        max_length=EVENT_PATTERNS_MAX * (NAME_LENGTH_MAX + 1),
        description="Only of these event types: patterns as in an endpoint's `events`, separated by commas.",
        examples=["order.*,user_register"],
    ),
]


class StreamQuery(BaseModel):
    """What is streamed."""

    model_config = ConfigDict(extra="forbid")

    app: Annotated[str | None, Field(description="Only of this app: id or uid.")] = None
    types: Types = None
    kinds: Annotated[
        str,
        Field(max_length=64, description="What to stream: `events`, `attempts`, or both, separated by commas."),
    ] = "events,attempts"
    data: Annotated[bool, Field(description="Include the data of events.")] = False


LastEventId = Annotated[
    str | None,
    Header(
        alias=POSITION_PATH,
        max_length=STREAM_POSITION_LENGTH_MAX,
        description="Where to go on: the last `id` that was received.",
    ),
]


def routes(streams: Streams, cursors: Cursors) -> APIRouter:
    router = late_router()

    @router.get(
        "/v1/stream",
        response_class=Response,
        responses={
            200: {"description": "Messages, without an end.", "content": {CONTENT: {"schema": {"type": "string"}}}}
        },
        description=DESCRIPTION,
        tags=["stream"],
    )
    async def stream(
        request: Request,
        caller: Caller,
        query: Annotated[StreamQuery, Query()],
        last_event_id: LastEventId = None,
    ) -> Response:
        positions = _Positions(cursors, caller)
        asker: Asker = request.scope[CREDENTIAL]
        opened = await streams.open(
            caller,
            partial(asker.still, asker.credential),
            app=query.app,
            types=_types(query.types),
            kinds=_kinds(query.kinds),
            data=query.data,
            position=positions.open(last_event_id) if last_event_id else None,
        )
        language = language_of(request.scope["headers"])
        return EventStream(_chunks(opened, positions, language), over=streams.lookout.over, release=opened.release)

    return router


class _Positions:
    """Positions as text, sealed to whose stream it is."""

    def __init__(self, cursors: Cursors, caller: Principal) -> None:
        self._cursors = cursors
        self._scope = "stream" if caller.app_id is None else f"stream/{caller.app_id.hex()}"

    def seal(self, position: Position) -> str:
        return self._cursors.seal(self._scope, pack(position))

    def open(self, text: str) -> Position:
        """Raises Invalid (code `position_unknown`)."""
        try:
            return unpack(self._cursors.open(self._scope, text))
        except (Invalid, ValueError):
            raise Invalid(
                "this position was not given out by a stream of this installation to such a key; begin without it",
                path=POSITION_PATH,
                code="position_unknown",
            ) from None


async def _chunks(stream: Stream, positions: _Positions, language: Language) -> AsyncGenerator[bytes, None]:
    """The stream as bytes, in pieces of about a buffer."""
    yield b"retry: %d\n" % STREAM_RETRY_MS + last_id(positions.seal(stream.position)) + b"\n"
    try:
        while True:
            batch = await stream.next(seconds=STREAM_KEEP_ALIVE_SECONDS)
            if batch is None:
                # With the position: it moves past what is not wanted, and grows no older than the stream.
                yield KEEP_ALIVE + last_id(positions.seal(stream.position)) + b"\n"
                continue
            gathered = bytearray()
            async for one in stream.messages(batch):
                gathered += _message(one, id=None if one.position is None else positions.seal(one.position))
                if len(gathered) >= STREAM_CHUNK_BYTES:
                    yield bytes(gathered)
                    gathered.clear()
            if gathered:
                yield bytes(gathered)
    except Ended:
        return
    except Invalid as error:
        _, _, body = problem_bytes(error, language)
        yield message("problem", body)


def _message(told: Message, *, id: str | None) -> bytes:
    row = told.row
    if isinstance(row, EventRow):
        fields: dict[str, Any] = EventAnswer.of(row.facts).model_dump()
        if told.payload is not None:
            # A carriage return would end a line of the protocol.
            if row.facts.content_type == JSON_CONTENT and b"\r" not in told.payload:
                fields |= {"data": msgspec.Raw(told.payload), "data_base64": None}
            else:
                fields |= {"data": None, "data_base64": told.payload}
        return message("event", msgspec.json.encode(fields), id=id)
    return message("attempt", msgspec.json.encode(AttemptAnswer.of(row.facts).model_dump()), id=id)


def _types(text: str | None) -> tuple[str, ...] | None:
    """The patterns; None for all."""
    if text is None:
        return None
    patterns = tuple(text.split(","))
    if len(patterns) > EVENT_PATTERNS_MAX:
        raise Invalid(f"at most {EVENT_PATTERNS_MAX} patterns", path="?types")
    for pattern in patterns:
        if not is_pattern(pattern):
            raise Invalid(f"{pattern[:80]!r} is no event type, and no pattern such as order.* or *", path="?types")
    return None if "*" in patterns else patterns


def _kinds(text: str) -> frozenset[Kind]:
    try:
        return frozenset(Kind(kind) for kind in text.split(","))
    except ValueError:
        raise Invalid("one or both of events and attempts, separated by a comma", path="?kinds") from None
