"""Payloads as classes: what a handler asked for with `on(OrderCreated)`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from posthouse_sdk.errors import ReceiverError

Decode = Callable[[Any], Any]
"""Makes the object of a payload. Raises whatever its library raises for data that do not fit."""


def decoder_of(cls: type | None) -> Decode | None:
    """How a payload becomes a pydantic model, a msgspec Struct or a dataclass; None for None.

    Raises: ReceiverError for another class.
    """
    if cls is None:
        return None
    if hasattr(cls, "model_validate"):
        validate: Decode = cls.model_validate
        return validate
    if hasattr(cls, "__struct_fields__"):
        import msgspec

        return lambda data: msgspec.convert(data, cls)
    if dataclasses.is_dataclass(cls):
        return lambda data: _dataclass(cls, data)
    raise ReceiverError(f"{cls.__qualname__} is no pydantic model, msgspec Struct or dataclass")


def _dataclass(cls: Any, data: Any) -> Any:
    """Its fields are taken as they are; what it does not know is passed over, for senders may add."""
    if not isinstance(data, dict):
        raise TypeError(f"{cls.__qualname__} takes an object, not a {type(data).__name__}")
    known = {field.name for field in dataclasses.fields(cls) if field.init}
    return cls(**{name: value for name, value in data.items() if name in known})


def event_type_of(cls: type) -> str:
    """The event type that a class is declared as (`@event_type("order.created")`).

    Raises: ReceiverError where it is not.
    """
    declared = getattr(cls, "__posthouse_event_type__", None)
    if declared is None:
        raise ReceiverError(
            f"{cls.__qualname__} is declared as no event type: decorate it with @event_type, "
            f'or say on("order.created", data={cls.__qualname__})'
        )
    name: str = declared.name
    return name
