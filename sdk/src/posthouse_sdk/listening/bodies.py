"""Bodies as they go by: kept up to a limit, if a rule needs them, and read as JSON or as a form. Pure."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

from posthouse_sdk.listening.misses import UnreadableError
from posthouse_sdk.listening.references import ABSENT

BODY_BYTES_MAX: Final = 256 * 1024
FORM_FIELDS_MAX: Final = 1_000
_FORM: Final = "application/x-www-form-urlencoded"
_WINDOWS: Final = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class Body:
    """A body with the headers it came with (names in lower case), of which at most `bytes_max` are kept.

    Kept is what has fields: JSON, and forms where `forms` says so. Everything else (files, streams of events, HTML) goes by,
    and a reference to it finds nothing. `whose` is what messages call it.
    """

    def __init__(self, whose: str, headers: Mapping[str, str], bytes_max: int, *, forms: bool = False) -> None:
        self._whose = whose
        self._bytes_max = bytes_max
        media = headers.get("content-type", "").partition(";")[0].strip().lower()
        self._is_form = forms and media == _FORM
        self._encoding = headers.get("content-encoding", "").strip().lower()
        self._pieces: list[bytes] = []
        self._size = 0
        self._value: Any = None
        self._is_read = False
        self.has_fields: Final = self._is_form or media == "application/json" or media.endswith("+json")
        """Whether it is of a kind that is kept."""
        self.ended = False
        """Whether all of it went by."""
        length = headers.get("content-length", "")
        self._too_large = length.isascii() and length.isdigit() and int(length[:20]) > bytes_max

    @property
    def keeps(self) -> bool:
        """Whether what goes by is still worth adding."""
        return self.has_fields and not self._too_large and not self.ended

    def add(self, data: bytes) -> None:
        """A piece of it; beyond the limit all of it is forgotten."""
        if not self.keeps:
            return
        self._size += len(data)
        if self._size > self._bytes_max:
            self._too_large = True
            self._pieces.clear()
        elif data:
            self._pieces.append(bytes(data))

    def value(self) -> Any:
        """What it says, or ABSENT where it is of another kind, or empty.

        Raises: UnreadableError where it is of such a kind, and was too large, not all seen, encoded, or is not what it says.
        """
        if not self.has_fields:
            return ABSENT
        if self._too_large:
            raise UnreadableError("too_large", f"the body of the {self._whose} has more than {self._bytes_max} bytes")
        if not self.ended:
            if self._whose == "request":
                raise UnreadableError("unread", "the application did not read the body of the request to its end")
            raise UnreadableError("cut_off", "the application did not end its answer")
        if not self._is_read:
            self._value, self._is_read = self._read(b"".join(self._pieces)), True
            self._pieces.clear()
        return self._value

    def _read(self, body: bytes) -> Any:
        body = self._decoded(body)
        if not body:
            return ABSENT
        try:
            return _form(body) if self._is_form else json.loads(body)
        except (ValueError, RecursionError) as error:
            raise UnreadableError("not_json", f"the body of the {self._whose} cannot be read: {error}") from None

    def _decoded(self, body: bytes) -> bytes:
        if self._encoding in ("", "identity") or not body:
            return body
        window = _WINDOWS.get(self._encoding)
        if window is None:
            raise UnreadableError(
                "encoded", f"the body of the {self._whose} has the Content-Encoding {self._encoding[:80]!r}"
            )
        try:
            unpacker = zlib.decompressobj(window)
            found = unpacker.decompress(body, self._bytes_max + 1)
        except zlib.error as error:
            raise UnreadableError("encoded", f"the body of the {self._whose} is not as it says: {error}") from None
        if len(found) > self._bytes_max:
            raise UnreadableError("too_large", f"unpacked, the {self._whose} has more than {self._bytes_max} bytes")
        return found


def _form(body: bytes) -> dict[str, Any]:
    """A form's fields: text each, a list of texts where a name is there several times. Raises ValueError."""
    found: dict[str, Any] = {}
    pairs = parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX, errors="strict")
    for name, value in pairs:
        if name not in found:
            found[name] = value
        elif isinstance(found[name], list):
            found[name].append(value)
        else:
            found[name] = [found[name], value]
    return found
