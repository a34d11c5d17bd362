"""Rows as they are seen: a table as the stream, or a query, describes it, and the JSON object of each change.

    {"op": "insert" | "update" | "delete" | "truncate" | "snapshot", "schema", "table", "key": {…} | null,
     "old": {…} | null, "new": {…} | null, "row": new or else old, "changed": [names] | null,
     "at": time of the commit | null, "lsn": place of the commit | null, "transaction": number | null,
     "unchanged_toast": [names]                              only where values are missing in `new` and `row`}

`old` is whole where the table has REPLICA IDENTITY FULL. Otherwise it is the key alone, for a delete and where an update
changed the key. `changed` needs the old row, and is null without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from posthouse.adapters.sources.changes.pgoutput import Relation, Row, Toast, Value
from posthouse.adapters.sources.changes.values import Encode, encode_for
from posthouse.domain.limits import NAME_LENGTH_MAX

EVENT_KEY_LENGTH_MAX: Final = 2 * NAME_LENGTH_MAX
NO_TAIL: Final = b'"at":null,"lsn":null,"transaction":null}'

Key = tuple[Value, ...]
"""The values of a row's key, as PostgreSQL writes them."""

_NULL: Final = b"null"
_json: Final[Callable[[object], bytes]] = msgspec.json.Encoder().encode


class Table:
    """A table with its columns at some moment. `keys` are the names of its key; without any, a row is nobody in particular."""

    def __init__(self, schema: str, name: str, columns: Sequence[tuple[str, Encode]], keys: Sequence[str]) -> None:
        self.schema = schema
        self.name = name
        self.reference = f"{schema}.{name}"
        self._names = tuple(column for column, _ in columns)
        self._labels = tuple(_json(column) + b":" for column in self._names)
        self._encode = tuple(encode for _, encode in columns)
        places = {column: place for place, column in enumerate(self._names)}
        # A key of which a column is not sent is none. In the order of the columns, from wherever they are known.
        self._key_places = tuple(sorted(places[key] for key in keys)) if all(key in places for key in keys) else ()
        self.key_names = tuple(self._names[place] for place in self._key_places)
        self._heads = {
            op: b'{"op":"%b","schema":%b,"table":%b,"key":' % (op.encode(), _json(schema), _json(name))
            for op in ("insert", "update", "delete", "truncate", "snapshot")
        }

    def key_of(self, row: Row) -> Key:
        """Its key, empty where there is none. Raises IndexError for a row with too few values."""
        return tuple(row[place] for place in self._key_places)

    def event_key(self, key: Key) -> str | None:
        """By what order is kept: `public.orders:42`."""
        if not key:
            return None
        said = ",".join(value.decode("utf-8", "replace") if isinstance(value, bytes) else "" for value in key)
        made = f"{self.reference}:{said}"
        if len(made) <= EVENT_KEY_LENGTH_MAX and made.isprintable():
            return made
        digest = hashlib.blake2b(
            b"\0".join(v if isinstance(v, bytes) else b"" for v in key), digest_size=16
        ).hexdigest()
        return f"{self.reference[:NAME_LENGTH_MAX]}:{digest}"

    def insert(self, new: Row, tail: bytes) -> bytes:
        row = self._object(new)
        return self._seen("insert", self._key(new), _NULL, row, row, _NULL, tail)

    def snapshot(self, row: Row) -> bytes:
        made = self._object(row)
        return self._seen("snapshot", self._key(row), _NULL, made, made, _NULL, NO_TAIL)

    def update(self, old: Row | None, full: bool, new: Row, tail: bytes) -> bytes:
        """`old` is all of it (`full`), its key alone, or None."""
        changed = before = _NULL
        if old is not None and full:
            if Toast.UNCHANGED in new:
                new = [was if now is Toast.UNCHANGED else now for was, now in zip(old, new, strict=True)]
            changed = _json([name for name, was, now in zip(self._names, old, new, strict=True) if was != now])
            before = self._object(old)
        elif old is not None:
            before = self._key(old)
        if Toast.UNCHANGED in new:
            missing = [name for name, value in zip(self._names, new, strict=True) if value is Toast.UNCHANGED]
            tail = tail[:-1] + b',"unchanged_toast":' + _json(missing) + b"}"
        row = self._object(new)
        return self._seen("update", self._key(new), before, row, row, changed, tail)

    def delete(self, old: Row, full: bool, tail: bytes) -> bytes:
        row = self._object(old) if full else self._key(old)
        return self._seen("delete", self._key(old), row, _NULL, row, _NULL, tail)

    def truncate(self, tail: bytes) -> bytes:
        return self._seen("truncate", _NULL, _NULL, _NULL, _NULL, _NULL, tail)

    def _seen(self, op: str, key: bytes, old: bytes, new: bytes, row: bytes, changed: bytes, tail: bytes) -> bytes:
        return b'%b%b,"old":%b,"new":%b,"row":%b,"changed":%b,%b' % (
            self._heads[op],
            key,
            old,
            new,
            row,
            changed,
            tail,
        )

    def _key(self, row: Row) -> bytes:
        if not self._key_places:
            return _NULL
        return b"{%b}" % b",".join([self._member(place, row[place]) for place in self._key_places])

    def _member(self, place: int, value: Value) -> bytes:
        return self._labels[place] + (self._encode[place](value) if isinstance(value, bytes) else _NULL)

    def _object(self, row: Row) -> bytes:
        """All that was sent. Raises ValueError where there are more or fewer values than columns."""
        made = [
            label + (encode(value) if value is not None else _NULL)
            for label, encode, value in zip(self._labels, self._encode, row, strict=True)
            if value is not Toast.UNCHANGED
        ]
        return b"{%b}" % b",".join(made)


def table_of(relation: Relation, types: Mapping[int, str], primary_key: Sequence[str]) -> Table:
    """The table of a description in the stream. `types` are the names of what is beneath types that are not built in.

    The columns that identify a row are marked in it, except where that is all of them (REPLICA IDENTITY FULL) or none
    (NOTHING): then it is the primary key.
    """
    marked = [column.name for column in relation.columns if column.key]
    keys = primary_key if relation.identity in "fn" or not marked else marked
    columns = [(column.name, encode_for(column.type, types.get(column.type))) for column in relation.columns]
    return Table(relation.schema, relation.name, columns, keys)
