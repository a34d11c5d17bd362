"""Facts as expressions see them: no more than they look at, and nothing that the runtime cannot bear.

What it cannot bear: whole numbers beyond 64 bits (they become floating-point numbers), halves of characters and NUL (they
become U+FFFD; it would end a text at a NUL, unasked), and what is nested so deeply that converting it would take the process
along.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from posthouse.adapters.cel.judging import Looks
from posthouse.adapters.cel.names import TIME
from posthouse.domain.cloudevent import declares_json
from posthouse.domain.exchange import Answer
from posthouse.domain.expression import Facts
from posthouse.domain.ids import APP, ENDPOINT, EVENT, format_id
from posthouse.domain.json_text import decoded
from posthouse.domain.limits import EXPRESSION_DATA_DEPTH_MAX
from posthouse.wire.answers import facts_of, values_at_most


class Sample(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Facts in a form that goes to another process. Ids are texts."""

    event: str
    type: str
    subject: str | None
    time: float  # unix seconds
    key: str | None
    source: str | None
    content_type: str
    payload: bytes
    attributes: bytes | None  # a JSON object
    app: str | None
    endpoint: str | None
    answer: Answer | None
    number: int

    @classmethod
    def of(cls, facts: Facts) -> Sample:
        """The facts of a delivery, or of an event alone."""
        event, endpoint = facts.event, facts.endpoint
        app = facts.app_id or event.app_id if endpoint is None else endpoint.app_id
        return cls(
            format_id(EVENT, event.id),
            event.type,
            event.subject,
            event.created_at,
            event.key,
            event.source,
            event.content_type,
            event.payload,
            event.attributes,
            None if app is None else format_id(APP, app),
            None if endpoint is None else format_id(ENDPOINT, endpoint.id),
            facts.answer,
            facts.number,
        )


class Sizes(msgspec.Struct):
    """How much is there of what is looked at: bytes, and values in them."""

    bytes: int = 0
    nodes: int = 0


class TooMuch(Exception):
    """More than may be looked at: in words."""


class Bounds(msgspec.Struct, frozen=True):
    """How much may be looked at."""

    payload_bytes: int
    bytes: int
    nodes: int


def joined(looks: Iterable[Looks]) -> Looks:
    """What several expressions look at together."""
    event: set[str] = set()
    data: set[str] | None = set()
    response: set[str] = set()
    app = endpoint = attempt = False
    for each in looks:
        event |= each.event
        response |= each.response
        app, endpoint, attempt = app or each.app, endpoint or each.endpoint, attempt or each.attempt
        if data is not None:
            data = None if each.data is None else data | each.data
    return Looks(
        event=frozenset(event),
        data=None if data is None else frozenset(data),
        app=app,
        endpoint=endpoint,
        response=frozenset(response),
        attempt=attempt,
        literals=frozenset(),
        light=True,
        by_size=0,
        by_nodes=0,
        by_square=0,
    )


def variables(sample: Sample, looks: Looks, bounds: Bounds) -> tuple[dict[str, Any], Sizes]:
    """The variables that expressions which look at so much are evaluated with, and how large they are. Raises TooMuch, and
    ValueError where the data are not what their content type says."""
    sizes = Sizes()
    made: dict[str, Any] = {"event": _event(sample, looks, bounds, sizes)}
    if "time" in looks.event:
        made[TIME] = _time(sample.time)
    if looks.app and sample.app is not None:
        made["app"] = {"id": sample.app}
    if looks.endpoint and sample.endpoint is not None:
        made["endpoint"] = {"id": sample.endpoint}
    if sample.answer is not None:
        made["attempt"] = {"number": sample.number}
        if looks.response:
            sizes.bytes += len(sample.answer.body)
            _within(sizes, bounds)
            if not looks.response.isdisjoint(("body", "xml")) and values_at_most(sample.answer) > bounds.nodes:
                raise TooMuch(
                    f"the answer may have more than {bounds.nodes} values"
                )  # reading it takes as long as it is large
            response = facts_of(sample.answer, looks.response)
            if _NUL.search(sample.answer.body) or any(b"\0" in value for _, value in sample.answer.headers):
                response = _Walk(bounds.nodes).bearable(response, 0)
            for part in ("body", "xml"):
                sizes.nodes += _count(response.get(part), bounds)
            _within(sizes, bounds)
            made["response"] = response
    return made, sizes


def _event(sample: Sample, looks: Looks, bounds: Bounds, sizes: Sizes) -> dict[str, Any]:
    event: dict[str, Any] = {
        "id": sample.event,
        "type": sample.type,
        "subject": sample.subject,
        "key": sample.key,
        "source": sample.source,
    }
    named = looks.event
    if "time" in named:
        event["time"] = _time(sample.time).isoformat().replace("+00:00", "Z")
    if "data" in named:
        event["data"] = _data(sample, looks.data, bounds, sizes)
    if "attributes" in named:
        event["attributes"] = {} if sample.attributes is None else _decoded(sample.attributes, bounds, sizes)
    return event


def _time(unix_seconds: float) -> datetime:
    try:
        return datetime.fromtimestamp(0, UTC) + timedelta(seconds=unix_seconds)
    except (OverflowError, ValueError):
        return datetime.fromtimestamp(0, UTC)


# The payload

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _data(sample: Sample, fields: frozenset[str] | None, bounds: Bounds, sizes: Sizes) -> Any:
    payload = sample.payload
    if not declares_json(sample.content_type):
        sizes.bytes += len(payload)
        sizes.nodes += 1
        _within(sizes, bounds)
        try:
            return payload.decode().replace("\0", "\ufffd")
        except UnicodeDecodeError:
            return None
    if fields is None or len(payload) <= _SMALL_BYTES:
        return _decoded(payload, bounds, sizes)
    if len(payload) > bounds.payload_bytes:
        raise TooMuch("the data are too large to be searched for the fields that are named")
    if not fields:
        return {}
    try:
        there = _fields(payload)
    except RecursionError:
        raise TooMuch(_TOO_DEEP) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):  # it is no object, or only the slow way reads it
        return _decoded(payload, bounds, sizes)
    return {name: _decoded(bytes(there[name]), bounds, sizes) for name in fields if name in there}


_SMALL_BYTES: Final = 1_024  # are read as a whole: looking for fields would cost more

_LONG_NUMBER: Final = re.compile(rb"[0-9]{19}")
_UNBEARABLE: Final = re.compile("[\0\ud800-\udfff]")
_NUL: Final = re.compile(rb"\0|u0000")
_INT_MIN: Final = -(1 << 63)
_INT_MAX: Final = (1 << 63) - 1


def _decoded(text: bytes, bounds: Bounds, sizes: Sizes) -> Any:
    """JSON, within what is left of the bounds."""
    sizes.bytes += len(text)
    nested = text.count(b"[") + text.count(b"{")
    # Each value but the first comes after one of these; in texts they are counted too much, which is looked at below.
    most = nested + text.count(b",") + 1
    if sizes.bytes > bounds.bytes:
        raise TooMuch(f"the fields that are named have more than {bounds.bytes} bytes")
    try:
        value = decoded(text)
    except RecursionError:
        raise TooMuch(_TOO_DEEP) from None
    except (msgspec.MsgspecError, UnicodeDecodeError):
        value = _decoded_slowly(text)
        nested = EXPRESSION_DATA_DEPTH_MAX + 1
    if nested > EXPRESSION_DATA_DEPTH_MAX or sizes.nodes + most > bounds.nodes or _doubtful(text):
        walk = _Walk(bounds.nodes - sizes.nodes)
        value = walk.bearable(value, 0)
        sizes.nodes += walk.nodes
    else:
        sizes.nodes += most
    return value


def _doubtful(text: bytes) -> bool:
    """Whether something may be in it that the runtime cannot bear."""
    return _LONG_NUMBER.search(text) is not None or _NUL.search(text) is not None


def _decoded_slowly(text: bytes) -> Any:
    """What a stricter reader refuses: halves of characters, and numbers that no number can hold. Raises ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise TooMuch(_TOO_DEEP) from None


_TOO_DEEP: Final = f"the data are nested deeper than {EXPRESSION_DATA_DEPTH_MAX} levels"


class _Walk:
    """Through data, value by value: bounded in their number and depth."""

    def __init__(self, nodes: int) -> None:
        self._most = nodes
        self.nodes = 0

    def bearable(self, value: Any, depth: int) -> Any:
        """The same, as the runtime can bear it."""
        self.nodes += 1
        if self.nodes > self._most:
            raise TooMuch("the fields that are named have too many values")
        if depth > EXPRESSION_DATA_DEPTH_MAX:
            raise TooMuch(_TOO_DEEP)
        match value:
            case bool() | None:
                return value
            case str():
                return _UNBEARABLE.sub("\ufffd", value)
            case int():
                return value if _INT_MIN <= value <= _INT_MAX else _floating(value)
            case dict():
                return {_UNBEARABLE.sub("\ufffd", key): self.bearable(each, depth + 1) for key, each in value.items()}
            case list():
                return [self.bearable(each, depth + 1) for each in value]
            case _:
                return value


def _floating(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _within(sizes: Sizes, bounds: Bounds) -> None:
    if sizes.bytes > bounds.bytes:
        raise TooMuch(f"what is looked at has more than {bounds.bytes} bytes")
    if sizes.nodes > bounds.nodes:
        raise TooMuch(f"what is looked at has more than {bounds.nodes} values")


def _count(value: Any, bounds: Bounds) -> int:
    """How many values a value has in it, as far as they are within bounds."""
    count, stack = 0, [value]
    while stack and count <= bounds.nodes:
        each = stack.pop()
        count += 1
        if isinstance(each, dict):
            stack.extend(each.values())
        elif isinstance(each, list):
            stack.extend(each)
    return count
