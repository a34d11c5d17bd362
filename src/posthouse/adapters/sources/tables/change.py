"""A change of a row, as it is in `posthouse_change`, and what the runner is told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from posthouse.domain.limits import NAME_LENGTH_MAX, PAYLOAD_BYTES_MAX
from posthouse.ports.sources import Observation

SEEN_BYTES_MAX: Final = PAYLOAD_BYTES_MAX - 16 * 1024  # of old and new together, so that the rest has room in an event
ROW_BYTES_MAX: Final = (
    4 * PAYLOAD_BYTES_MAX
)  # of a row as the database has it; of a larger one the trigger writes its key only
READING_BYTES_MAX: Final = 4 * 1024 * 1024  # of rows in one reading
KEY_LENGTH_MAX: Final = 2 * NAME_LENGTH_MAX  # characters of an event's key
_ROW: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode: Final = msgspec.json.encode


class Change(NamedTuple):
    """One row. `old` and `new` are JSON; None where there is none, and where it was too large to be written or read. `note` is
    what went wrong as it was written. `at` is in unix seconds."""

    id: int
    uid: str
    op: str
    schema: str
    table: str
    key: str
    old: str | None
    new: str | None
    note: str | None
    at: float


def observed(change: Change) -> Observation:
    """What a change is to the runner.

    `data`: {"op", "schema", "table", "key", "old", "new", "changed" (names, of an update), "at"}; `seen` has "row" as well: the
    new row, or the old one where it was deleted. What is too large for an event is left out and named in "cut": the old row
    first, then both. A change is never too large to be published.
    """
    old, new = _read(change.old), _read(change.new)
    due = {"insert": ("new",), "delete": ("old",)}.get(change.op, ("old", "new"))
    rows: dict[str, bytes | None] = {"old": None, "new": None}
    room = SEEN_BYTES_MAX
    for name in reversed(due):
        fields, text = (old, change.old) if name == "old" else (new, change.new)
        # The row is in `seen` a second time, but that is never published.
        if fields is None or text is None or len(raw := text.encode()) > room:
            break
        rows[name] = raw
        room -= len(raw)
    cut = [name for name in due if rows[name] is None]

    told: dict[str, Any] = {
        "op": change.op,
        "schema": change.schema,
        "table": change.table,
        "key": change.key,
        **{name: None if raw is None else msgspec.Raw(raw) for name, raw in rows.items()},
        "at": _rfc3339(change.at),
    }
    if change.op == "update":
        told["changed"] = [] if cut or old is None or new is None else _changed(old, new)
    if cut:
        told["cut"] = cut
    data = _encode(told)
    row = rows[due[-1]]
    return Observation(
        key=change.uid,
        seen=data[:-1] + b',"row":' + (row or b"null") + b"}",
        data=data,
        event_key=_event_key(change.key),
        at=change.at,
    )


def _read(text: str | None) -> dict[str, msgspec.Raw] | None:
    """A row by its columns; None where it is no JSON object, which a database might in theory make of odd values."""
    if text is None:
        return None
    try:
        return _ROW.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return None


def _changed(old: dict[str, msgspec.Raw], new: dict[str, msgspec.Raw]) -> list[str]:
    """The columns whose values are written differently, in the order of the new row; then those that are gone."""
    return [name for name, value in new.items() if old.get(name) != value] + [name for name in old if name not in new]


def _event_key(key: str) -> str | None:
    """By what order is kept: the primary key, or its hash where it is longer than an event's key may be."""
    if len(key) <= KEY_LENGTH_MAX:
        return key or None
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def _rfc3339(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
