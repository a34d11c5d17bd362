"""Where a signature and what goes along with it are put, and what must not get there."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import NAME_LENGTH_MAX
from posthouse.domain.signing import Place, Placed
from posthouse.wire.headers import fault_of
from posthouse.wire.message import Message, Unsendable
from posthouse.wire.signing.fields import open_fields, pointer, put_field
from posthouse.wire.signing.texts import Names, SentText, Turn

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_REPLAY: Final = "webhook-replay"

Put = Callable[[Message, str], None]

ORDER: Final = (Place.FIELD, Place.QUERY, Place.HEADER)
"""In which they are filled: what is in the URL may tell of the body, and what is in a header of both."""


class Spot:
    """A place with the text that goes there.

    `default` is the text where the configuration has none. Raises: Invalid for a name that cannot be used there and for a
    template with an unknown name or a control character.
    """

    __slots__ = ("place", "put", "text")

    def __init__(self, config: Placed, *, known: Names, path: str, default: str = "") -> None:
        text = config.value or default
        if not text:
            raise Invalid("this says nothing: a template is missing", path=f"{path}.value")
        self.place: Final = config.place
        self.text: Final = sent_text(text, config.place, known=known, path=f"{path}.value")
        self.put: Final = _put(config, f"{path}.name")

    def prepare(self, turn: Turn) -> None:
        """To be done before what is put there is made. Raises: Unsendable."""
        if self.place is Place.FIELD:
            open_fields(turn.message.document)
            turn.body_changed()

    def fill(self, turn: Turn) -> None:
        """Put it there. Raises: Unsendable."""
        self.put(turn.message, self.text.of(turn))
        if self.place is Place.FIELD:
            turn.body_changed()


def sent_text(text: str, place: Place, *, known: Names, path: str, continues: bool = False) -> SentText:
    """A template of something that goes to a place; one that `continues` another may begin with a space.

    Raises: Invalid for an unknown name, and for a character that cannot be sent there.
    """
    template = SentText(text, known=known, path=path, header=place is Place.HEADER)
    if _CONTROL.search(text):
        raise Invalid("a value that is sent holds no line break or other control", path=path)
    sample = template.sample("x")
    if place is Place.HEADER and (fault := fault_of("x", f"x{sample}" if continues else sample)):
        raise Invalid(fault, path=path)
    return template


def add_header(message: Message, name: str, value: str) -> None:
    """Raises: Unsendable for a value that no header can have, and for a second header of a name."""
    if fault := fault_of(name, value):
        raise Unsendable(f"the header {name} cannot be sent: {fault}")
    lower = name.lower()
    if any(other.lower() == lower for other, _ in message.headers):
        raise Unsendable(f"there would be two headers {name}, one of them the signature's")
    message.headers.append((name, value))


def _put(config: Placed, path: str) -> Put:
    name = config.name
    match config.place:
        case Place.HEADER:
            fault = fault_of(name, "")
            if name.lower() == _REPLAY:
                fault = "this header cannot be set: it says that an event is sent again"
            if fault:
                raise Invalid(fault, path=path)
            return lambda message, value: add_header(message, name, value)
        case Place.QUERY:
            _check_name(name, path)
            return lambda message, value: _add_parameter(message, name, value)
        case Place.FIELD:
            _check_name(name, path)
            steps = pointer(name, path) or (name,)
            return lambda message, value: _put_field(message, steps, value)


def _check_name(name: str, path: str) -> None:
    if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise Invalid(f"a name here is 1 to {NAME_LENGTH_MAX} printable characters", path=path)


def _add_parameter(message: Message, name: str, value: str) -> None:
    if _CONTROL.search(value):
        raise Unsendable(f"the parameter {name} would hold a control character")
    if any(other == name for other, _ in message.query):
        raise Unsendable(f"there would be two parameters {name}, one of them the signature's")
    message.query.append((name, value))


def _put_field(message: Message, steps: tuple[str, ...], value: str) -> None:
    if _CONTROL.search(value):
        raise Unsendable(f"the field {steps[-1]} would hold a control character")
    put_field(message.document, steps, value)
