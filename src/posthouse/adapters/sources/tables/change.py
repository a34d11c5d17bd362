"""A change of a row, as it is in `posthouse_change`, and what the runner is told of it."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final, NamedTuple

import msgspec

from posthouse.domain.limits import NAME_LENGTH_MAX, PAYLOAD_BYTES_MAX
from posthouse.ports.sources import Observation

CUT_BYTES_MAX: Final = 64  # of saying what was left out
ROW_BYTES_MAX: Final = (
    4 * PAYLOAD_BYTES_MAX
)  # of a row as the database has it; of a larger one the trigger writes its key only
READING_BYTES_MAX: Final = 4 * 1024 * 1024  # of rows in one reading
KEY_LENGTH_MAX: Final = 2 * NAME_LENGTH_MAX  # characters of an event's key
SHOWN_KEY_LENGTH_MAX: Final = 16 * 1024  # characters of a primary key; SQLite takes longer ones
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
    first, then both; "changed" is empty then. A change is never too large to be published.
    """
    rows: dict[str, bytes | None] = {"old": None, "new": None}
    due = {"insert": ("new",), "delete": ("old",)}.get(change.op, ("old", "new"))
    fields = {"old": _read(change.old), "new": _read(change.new)}
    key, event_key = change.key, _event_key(change.key)
    cut = ["key"] if len(key) > SHOWN_KEY_LENGTH_MAX else []
    told: dict[str, Any] = {
        "op": change.op,
        "schema": change.schema,
        "table": change.table,
        "key": event_key if cut else key,
        **rows,
        "at": _rfc3339(change.at),
    }
    if change.op == "update":
        told["changed"] = _changed(fields["old"] or {}, fields["new"] or {})
    room = PAYLOAD_BYTES_MAX - len(_encode(told)) - CUT_BYTES_MAX
    for name in reversed(due):
        text = change.new if name == "new" else change.old
        if fields[name] is None or text is None or len(raw := text.encode()) > room:
            break  # and not the old row without the new one, which would say the opposite
        rows[name] = raw
        room -= len(raw)
    cut += [name for name in due if rows[name] is None]
    if cut:
        told["cut"] = cut
        if "changed" in told and rows["old"] is None:
            told["changed"] = []
    told |= {name: msgspec.Raw(raw) for name, raw in rows.items() if raw is not None}
    data, row = _encode(told), rows[due[-1]]
    return Observation(
        key=change.uid,
        # The row a second time, for templates: that is not published.
        seen=data[:-1] + b',"row":' + (row or b"null") + b"}",
        data=data,
        event_key=event_key,
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
