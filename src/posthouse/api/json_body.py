"""A request's body as JSON: what is wrong with its form is told with line and column, and with a path what no text may hold."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

import msgspec

from posthouse.api.problems import join_path
from posthouse.domain.errors import Invalid
from posthouse.domain.json_text import decoded
from posthouse.domain.limits import BODY_DATA_VALUES_MAX, BODY_VALUES_MAX, JSON_DEPTH_MAX
from posthouse.intake.malformed import check_depth, check_utf8, located, too_deep, values_at_most

UNSUPPORTED: Final = "unsupported_media_type"

_DATA: Final = frozenset({"data", "schema", "examples"})  # members that hold JSON of any form, at the top
_HOLDS_DATA: Final = "event"  # or in this one
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def check_json(body: bytes, content_type: bytes | None, content_encoding: bytes | None = None) -> None:
    """Raises Invalid for a body that is not strict JSON in UTF-8, is nested too deeply, holds NUL or too many values; no body
    is fine."""
    if not body:
        return
    _check_type(content_type, content_encoding)
    if len(body) > BODY_VALUES_MAX:  # no value takes less than a byte
        _check_values(body)
    value = _decoded(body)
    if len(body) > BODY_VALUES_MAX and b"\\u0000" not in body:
        check_depth(body, path="")
    else:
        _check_texts(value)


def _check_values(body: bytes) -> None:
    """What is said of each value that is wrong takes many times as long as to read it."""
    most = values_at_most(body)
    if most > BODY_DATA_VALUES_MAX:
        raise _too_many(BODY_DATA_VALUES_MAX)
    if most > BODY_VALUES_MAX:
        with suppress(msgspec.DecodeError, RecursionError):  # it is told of later, with its place
            _check_members(body, BODY_VALUES_MAX)


def _check_members(text: bytes, room: int, *, top: bool = True) -> None:
    """Raises Invalid where there are more values beside data than there is room for."""
    members = _members(text)
    room -= len(members)
    for name, member in members.items():
        if room < 0:
            break
        held = bytes(member)
        if top and name == _HOLDS_DATA and held.startswith(b"{"):
            _check_members(held, room, top=False)
        elif name not in _DATA:
            room -= values_at_most(held)
    if room < 0:
        raise _too_many(BODY_VALUES_MAX)


def _too_many(most: int) -> Invalid:
    return Invalid(f"the JSON has too many values; at most {most} are read here")


def _check_type(content_type: bytes | None, content_encoding: bytes | None) -> None:
    media, *parameters = (content_type or b"").decode("latin-1").lower().split(";")
    media = media.strip()
    if media != "application/json" and not (media.startswith("application/") and media.endswith("+json")):
        raise Invalid("send the body as Content-Type: application/json", path="Content-Type", code=UNSUPPORTED)
    for parameter in parameters:
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in ("utf-8", "utf8", "us-ascii"):
            raise Invalid("send JSON in UTF-8", path="Content-Type", code=UNSUPPORTED)
    refuse_encoded(content_encoding)


def refuse_encoded(content_encoding: bytes | None) -> None:
    """Raises Invalid for a body that is compressed."""
    if content_encoding is not None and content_encoding.strip().lower() not in (b"", b"identity"):
        raise Invalid("send the body as it is, not compressed", path="Content-Encoding", code=UNSUPPORTED)


def _decoded(body: bytes) -> Any:
    check_utf8(body)
    try:
        return decoded(body)
    except msgspec.DecodeError as error:
        raise located(body, error) from None
    except RecursionError:
        raise too_deep() from None


# Where a value is: its parent's place and its own key or index. A path is made of it only where something is wrong, since
# keys may be as long as the body.
_Place = tuple[Any, str | int] | None


def _check_texts(root: Any) -> None:
    # Without recursion: the depth is what is being checked.
    pending: list[tuple[Any, _Place, int]] = [(root, None, 1)]
    while pending:
        value, place, depth = pending.pop()
        if isinstance(value, str):
            if "\0" in value:
                raise _nul(place)
            continue
        if depth > JSON_DEPTH_MAX:
            raise too_deep()
        if isinstance(value, dict):
            for key, item in value.items():
                if "\0" in key:
                    raise _nul((place, key))
                if isinstance(item, str | dict | list):
                    pending.append((item, (place, key), depth + 1))
        elif isinstance(value, list):
            pending.extend(
                (item, (place, index), depth + 1)
                for index, item in enumerate(value)
                if isinstance(item, str | dict | list)
            )


def _nul(place: _Place) -> Invalid:
    parts: list[str | int] = []
    while place is not None:
        place, part = place
        parts.append(part)
    return Invalid("must not hold the character U+0000 (NUL)", path=join_path(reversed(parts)))
