"""A request's body as JSON: what is wrong with its form is told with line and column, and with a path what no text may hold."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from posthouse.api.problems import join_path
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import JSON_DEPTH_MAX
from posthouse.intake.malformed import check_utf8, located, too_deep

UNSUPPORTED: Final = "unsupported_media_type"


def check_json(body: bytes, content_type: bytes | None, content_encoding: bytes | None = None) -> None:
    """Raises Invalid for a body that is not strict JSON in UTF-8, is nested too deeply, or holds NUL; no body is fine."""
    if not body:
        return
    _check_type(content_type, content_encoding)
    _check_texts(_decoded(body))


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
        return msgspec.json.decode(body)
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
