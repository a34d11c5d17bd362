"""A request while it is being made: a format fills it, encryption changes its body, signers add to it; then it becomes bytes.

Plain endpoints (JSON by POST, signed with Standard Webhooks alone) do not come this way: `wire/render.py` writes theirs at
once. Everything here costs what it costs, and is paid by those who asked for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from posthouse.domain.exchange import Target


class Document(Protocol):
    """A body that can still be changed."""

    def encoded(self) -> bytes:
        """The body as bytes, as it stands now."""
        ...

    def pairs(self) -> list[tuple[str, str]]:
        """Its top-level fields and their values as text, in order. Raises Invalid where it has no fields (plain bytes)."""
        ...

    def put(self, name: str, value: str) -> None:
        """Set a top-level field, in its place or at the end. Raises Invalid where it has no fields."""
        ...


class Message:
    """One per attempt. `now` is its time (unix seconds), `random(n)` gives n random bytes: with both given, all is pure.

    - `id` is the event's id (`evt_…`), of a batch the request's (`req_…`); `nonce` a text made for this attempt.
    - `target` is where it goes; `query` is what comes after the URL's own query, as plain text (encoded when it is assembled).
    - `headers` are those that this endpoint adds, in order; names and values are checked again when it is assembled.
    - `charset` is the one in which `query` is percent-encoded.
    - `plain` is the body as it was before encryption, None while it is not encrypted.
    - `values` are what templates may name: `event.id`, `event.type`, `timestamp`, `nonce`, …
    """

    __slots__ = (
        "charset",
        "content_type",
        "document",
        "headers",
        "id",
        "method",
        "nonce",
        "now",
        "plain",
        "query",
        "random",
        "target",
        "values",
    )

    def __init__(
        self,
        *,
        method: str,
        target: Target,
        id: str,
        now: float,
        nonce: str,
        random: Callable[[int], bytes],
        content_type: str,
        document: Document,
        values: dict[str, str],
        charset: str = "utf-8",
    ) -> None:
        self.method = method
        self.target = target
        self.id = id
        self.now = now
        self.nonce = nonce
        self.random = random
        self.content_type = content_type
        self.document = document
        self.values = values
        self.charset = charset
        self.query: list[tuple[str, str]] = []
        self.headers: list[tuple[str, str]] = []
        self.plain: bytes | None = None


class Additions(msgspec.Struct, frozen=True, gc=False):
    """What the request with one event has of its own, beside what its endpoint says of all. `target` is None where it goes to
    the same as all; headers can be sent as they are, the query is plain text."""

    target: Target | None = None
    headers: tuple[tuple[str, str], ...] = ()
    query: tuple[tuple[str, str], ...] = ()


class Step(Protocol):
    """Something that is done to a message in its turn: encrypt, sign, authenticate."""

    def apply(self, message: Message) -> None:
        """Raises Unsendable where this event cannot be brought to this endpoint this way; its reason holds no secret."""
        ...


class Unsendable(Exception):
    """A message that cannot be made: a recorded attempt with this reason, in a few words for a person, without secrets."""


class Lacking(Unsendable):
    """The event has not what the message takes from it; another event may."""
