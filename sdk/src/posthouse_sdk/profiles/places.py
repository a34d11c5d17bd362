"""Where a signature and what goes along with it were put: in a header, the query, or a field of the body."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

from posthouse_sdk.encryption.reading import Reader
from posthouse_sdk.errors import MalformedHeaderError, MissingHeaderError
from posthouse_sdk.profiles.request import Told, field_of, steps_of
from posthouse_sdk.profiles.texts import Text

HEADER: Final = "header"
QUERY: Final = "query"
FIELD: Final = "field"

PLACES: Final = (HEADER, QUERY, FIELD)
KINDS: Final = {HEADER: "header", QUERY: "query parameter", FIELD: "field"}


class Placed:
    """A value and where it is. `default` is its text where the configuration has none. Raises: SettingError."""

    __slots__ = ("name", "place", "text")

    def __init__(self, reader: Reader, default: str = "", forms: Mapping[str, str] | None = None) -> None:
        self.place: Final = reader.one_of("in", PLACES)
        self.name: Final = reader.text("name")
        self.text: Final = Text(reader.text("value", "") or default, reader.path("value"), forms)
        reader.check_all_read()

    def value(self, told: Told) -> str:
        """Raises: MissingHeaderError, MalformedHeaderError, MalformedBodyError."""
        match self.place:
            case "header":
                value = told.request.header(self.name)
            case "query":
                value = told.request.parameter(self.name)
            case _:
                value = field_of(told, steps_of(self.name))
        if value is None:
            raise MissingHeaderError(self.name, KINDS[self.place])
        return value

    def read(self, told: Told) -> dict[str, str]:
        """What the names of its text stand for. Raises: as `value`."""
        found = self.text.match(self.value(told))
        if found is None:
            raise self.malformed(f"is not {self.text.text[:100]!r}, as the profile has it")
        if self.place == HEADER:  # where what an event brings along is percent-encoded
            found = {name: unquote(value) for name, value in found.items()}
        return found

    def malformed(self, why: str) -> MalformedHeaderError:
        return MalformedHeaderError(self.name, why, KINDS[self.place])
