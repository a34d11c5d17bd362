"""Lists in pages: `{"data": […], "next": cursor | null}`, each cursor sealed to the list that gave it.

A cursor is a position in the list's order (a few bytes of ids or a name) and a tag over it, in URL-safe base64. One that was
altered, made up, or taken from another list does not open.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from posthouse.api.models.common import Instant
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import PAGE_ROWS, PAGE_ROWS_MAX
from posthouse.manage.access import NEWEST

T = TypeVar("T")

TAG_BYTES: Final = 12
CURSOR_LENGTH_MAX: Final = 512


class PageQuery(BaseModel):
    """What every list takes."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=PAGE_ROWS_MAX, description="How many at most.")] = PAGE_ROWS
    cursor: Annotated[
        str | None, Field(max_length=CURSOR_LENGTH_MAX, description="Where to go on: `next` of the page before.")
    ] = None


class SpanQuery(PageQuery):
    """What every list over time takes."""

    since: Annotated[Instant | None, Field(description="From this time on.")] = None
    until: Annotated[Instant | None, Field(description="Before this time.")] = None

    @property
    def since_seconds(self) -> float | None:
        return None if self.since is None else self.since.timestamp()

    @property
    def until_seconds(self) -> float | None:
        return None if self.until is None else self.until.timestamp()


class Cursors:
    """Seals and opens cursors. `key` is the same in all processes of an installation."""

    def __init__(self, key: bytes) -> None:
        self._key = sha256(b"posthouse cursor" + key).digest()

    def seal(self, scope: str, position: bytes) -> str:
        return urlsafe_b64encode(position + self._tag(scope, position)).decode("ascii").rstrip("=")

    def open(self, scope: str, text: str) -> bytes:
        """The position. Raises Invalid (code `invalid_cursor`)."""
        try:
            raw = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        except (binascii.Error, ValueError):
            raw = b""
        position, tag = raw[:-TAG_BYTES], raw[-TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(scope, position)) or self.seal(scope, position) != text:
            raise Invalid(
                "this cursor was not given out for this list; begin without one", path="?cursor", code="invalid_cursor"
            )
        return position

    def before(self, scope: str, query: PageQuery) -> bytes:
        """The id that a list which is newest first goes on below."""
        return NEWEST if query.cursor is None else self.open(scope, query.cursor)

    def next(self, scope: str, rows: Sequence[T], query: PageQuery, position: Callable[[T], bytes]) -> str | None:
        """The cursor after a page, for which one row more than asked was fetched; None at the end."""
        return self.seal(scope, position(rows[query.limit - 1])) if len(rows) > query.limit else None

    def _tag(self, scope: str, position: bytes) -> bytes:
        return hmac.digest(self._key, scope.encode() + b"\0" + position, "sha256")[:TAG_BYTES]
