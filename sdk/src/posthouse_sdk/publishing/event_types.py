"""Classes as event types: what an event's data are, said once.

    @event_type("order.created")
    @dataclass
    class OrderCreated:
        order: int
        total: Decimal

    hub.publish(OrderCreated(7, Decimal("9.90")), subject="shop:42")

A pydantic model, a `msgspec.Struct` or a dataclass. Its JSON Schema goes into the server's catalogue by `posthouse catalogue
push MODULE`, and the server holds every event of the type to it.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, TypeVar

from posthouse_sdk.publishing.errors import ConfigurationError
from posthouse_sdk.publishing.event import Event

C = TypeVar("C", bound=type)
Visibility = Literal["public", "granted", "private"]
_VISIBILITIES: Final = ("public", "granted", "private")


class EventType(NamedTuple):
    """An event type that a class declares. `description` and `visibility` are None, `examples` empty where it does not say."""

    name: str
    cls: type
    description: str | None
    visibility: Visibility | None
    examples: tuple[Any, ...]

    @property
    def place(self) -> str:
        return f"{self.cls.__module__}.{self.cls.__qualname__}"

    def schema(self) -> dict[str, Any]:
        """The JSON Schema (2020-12) of what is published. Raises ConfigurationError where a field has none."""
        from posthouse_sdk.publishing.schema import schema_of

        return schema_of(self.cls)

    def declaration(self) -> dict[str, Any]:
        """As `posthouse apply` takes it; only what the class says."""
        told: dict[str, Any] = {"name": self.name, "schema": self.schema()}
        if self.description is not None:
            told["description"] = self.description
        if self.visibility is not None:
            told["visibility"] = self.visibility
        if self.examples:
            told["examples"] = [Event(self.name, example).data for example in self.examples]
        return told


_declared: dict[str, EventType] = {}


def event_type(
    name: str,
    *,
    description: str | None = None,
    visibility: Visibility | None = None,
    examples: tuple[Any, ...] | list[Any] = (),
) -> Callable[[C], C]:
    """Declare a class as the data of the event type `name`; above `@dataclass`, where it is one.

    Without `description` it is the first paragraph of the class's docstring. `examples` are instances, or data. What is
    left out is left to the catalogue.

    Raises: EventError for a name that is none; ConfigurationError for a class that has no fields, or a second one of a name.
    """
    Event(name, None)  # raises for what is no name
    if visibility is not None and visibility not in _VISIBILITIES:
        raise ConfigurationError(f"visibility is {', '.join(_VISIBILITIES)}, and not {visibility!r}")

    def declare(cls: C) -> C:
        if not any(
            hasattr(cls, mark) for mark in ("__pydantic_validator__", "__struct_fields__", "__dataclass_fields__")
        ):
            raise ConfigurationError(
                f"{cls.__qualname__} is no pydantic model, msgspec.Struct or dataclass; @event_type goes above @dataclass"
            )
        declared = EventType(name, cls, description or _doc(cls), visibility, tuple(examples))
        before = _declared.get(name)
        if before is not None and before.place != declared.place:
            raise ConfigurationError(
                f"{before.place} is declared as {name} already; {declared.place} needs another name"
            )
        _declared[name] = declared
        cls.__posthouse_event_type__ = declared  # type: ignore[attr-defined]
        return cls

    return declare


def declared_types(modules: Iterable[ModuleType] | None = None) -> list[EventType]:
    """What is declared: in these modules and those below them, or that they import by name; or everywhere so far."""
    if modules is None:
        return list(_declared.values())
    found: dict[str, EventType] = {}
    for module in modules:
        shown = {id(value) for value in vars(module).values() if isinstance(value, type)}
        for declared in _declared.values():
            home = declared.cls.__module__
            if home == module.__name__ or home.startswith(f"{module.__name__}.") or id(declared.cls) in shown:
                found[declared.name] = declared
    return list(found.values())


def declared_type(name: str) -> EventType | None:
    """The class that is declared as this type."""
    return _declared.get(name)


_OF_A_DATACLASS: Final = re.compile(r"\w+\(.*\)\Z", re.DOTALL)


def _doc(cls: type) -> str | None:
    text = vars(cls).get("__doc__")
    if not text or (hasattr(cls, "__dataclass_fields__") and _OF_A_DATACLASS.match(text)):
        return None
    return " ".join(inspect.cleandoc(text).partition("\n\n")[0].split()) or None
