"""What the kinds of formats have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Protocol

from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.formats import Body, FormFormat, JsonFormat, XmlFormat
from posthouse.wire.documents import Bytes
from posthouse.wire.formats.shape import Shape
from posthouse.wire.message import Message
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES
from posthouse.wire.times import is_number

PER_EVENT: Final = EVENT_VALUES | {"app.id", "endpoint.id"}
"""What the fields of a body may name where several events are in one request: what is the same in whichever request."""


class Joined:
    """A body of the parts that stand between `head` and `tail`."""

    __slots__ = ("between", "content_type", "head", "tail")

    def __init__(self, content_type: str, head: bytes, between: bytes, tail: bytes) -> None:
        self.content_type: Final = content_type
        self.head: Final = head
        self.between: Final = between
        self.tail: Final = tail

    def document(self, parts: Sequence[bytes]) -> Bytes:
        return Bytes(b"%b%b%b" % (self.head, self.between.join(parts), self.tail))


class Maker(Protocol):
    """One kind of format, compiled."""

    frame: Joined | None
    """How a batch is framed; None where there are no batches of this kind."""

    def write(self, event: Event, message: Message) -> None:
        """Put the event into the message. Raises Unsendable where it does not fit."""
        ...

    def part(self, event: Event, values: Mapping[str, str]) -> bytes:
        """The event as a part of a batch. It depends on the event and the endpoint alone."""
        ...


def compile_body(config: JsonFormat | XmlFormat | FormFormat, *, batch: bool) -> Shape:
    """The fields of a body: those that the user described, or the default ones."""
    if config.thin and config.body is not None:
        raise Invalid("a thin body is id and type: leave out either thin or body", path="format.thin")
    known: Collection[str] = PER_EVENT if batch else EVENT_VALUES | REQUEST_VALUES
    return Shape(_body(config, batch=batch), known=known, time=config.time, path="format.body")


def _body(config: JsonFormat | XmlFormat | FormFormat, *, batch: bool) -> Body:
    if config.body is not None:
        return config.body
    if config.thin:
        return {"id": "{event.id}", "type": "{event.type}"}
    time = "{event.time:number}" if is_number(config.time) else "{event.time}"
    standard = {"type": "{event.type}", "timestamp": time, "data": "{data}"}
    return {"id": "{event.id}"} | standard if batch else standard
