"""What code under test published, and assertions about it that say what was there instead."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, overload

from posthouse_sdk.publishing.errors import PublishError
from posthouse_sdk.publishing.event import Event, Receipt
from posthouse_sdk.publishing.event_types import declared_type
from posthouse_sdk.publishing.recording import Recorder, plain_path

SHOWN_MAX: Final = 10
_ANY: Final = object()


class EmittedEvent:
    """An event that was published: `type`, `data` (as receivers see them), `subject`, `key`, `app`, …, and its `receipt`."""

    __slots__ = ("app", "attributes", "channels", "data", "event", "key", "receipt", "subject", "type")

    def __init__(self, event: Event, receipt: Receipt) -> None:
        told: dict[str, Any] = json.loads(event.body) if event.is_json else {}
        self.event: Final = event
        self.receipt: Final = receipt
        self.type: Final = event.type
        self.data: Any = event.data
        self.subject: Final = event.subject
        self.app: Final = event.app
        self.key: str | None = told.get("key")
        self.channels: list[str] = told.get("channels", [])
        self.attributes: dict[str, str] = told.get("attributes", {})

    def __repr__(self) -> str:
        about = "".join(
            f", {name}={value!r}"
            for name in ("subject", "app", "key", "channels", "attributes")
            if (value := getattr(self, name))
        )
        return f"{self.type} {json.dumps(self.data, ensure_ascii=False, default=repr)[:300]}{about}"


class Emitted(Sequence[EmittedEvent]):
    """Events in the order in which they were published."""

    def __init__(self, events: Sequence[EmittedEvent] = ()) -> None:
        self._events = list(events)

    def add(self, event: Event, receipt: Receipt) -> None:
        self._events.append(EmittedEvent(event, receipt))

    def of(self, what: str | type) -> Emitted:
        """Those of a type: its name, or its class."""
        name = _name(what)
        return Emitted([event for event in self._events if event.type == name])

    def about(self, subject: str) -> Emitted:
        """Those about a subject."""
        return Emitted([event for event in self._events if event.subject == subject])

    @property
    def types(self) -> list[str]:
        return [event.type for event in self._events]

    def clear(self) -> None:
        """Forget them, and begin anew."""
        self._events.clear()

    @overload
    def __getitem__(self, index: int) -> EmittedEvent: ...
    @overload
    def __getitem__(self, index: slice) -> Emitted: ...
    def __getitem__(self, index: int | slice) -> EmittedEvent | Emitted:
        return Emitted(self._events[index]) if isinstance(index, slice) else self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[EmittedEvent]:
        return iter(list(self._events))

    def __repr__(self) -> str:
        if not self._events:
            return "nothing was emitted"
        lines = [f"  {index}: {event!r}" for index, event in enumerate(self._events[:SHOWN_MAX])]
        more = len(self._events) - len(lines)
        return "emitted were\n" + "\n".join(lines) + (f"\n  and {more} more" if more else "")


class FakeHub:
    """What the fixture `posthouse` is: it has all that any hub published since the test began, and checks it.

    Data of a type that a class declares (`@event_type`) must fit its schema, as at the server; `schemas` has others, by type:
    add yours. `down()` is a context in which nothing can be published.
    """

    def __init__(self) -> None:
        self.emitted: Final = Emitted()
        self.schemas: Final[dict[str, dict[str, Any]]] = {}
        self.recorder: Final = Recorder(self.emitted, self._wrong)
        self._validators: dict[str, tuple[dict[str, Any], Any]] = {}

    def down(self, error: PublishError | None = None) -> AbstractContextManager[None]:
        """Within, nothing can be published: what waits gets UnavailableError or `error`, and `on_failed` is told."""
        return self.recorder.down(error)

    def assert_emitted(
        self,
        what: str | type,
        data: Any = _ANY,
        *,
        including: Mapping[str, Any] | None = None,
        where: Callable[[EmittedEvent], bool] | None = None,
        times: int | None = None,
        **fields: Any,
    ) -> EmittedEvent:
        """The first event of this type with just these `data`, or data that hold those of `including`; with these fields
        (`subject`, `app`, `key`, `channels`, `attributes`); for which `where` is true. With `times`, just so many.

        Raises: AssertionError, which shows what was emitted instead.
        """
        __tracebackhide__ = True
        name = _name(what)
        wanted = dict(fields) | ({} if data is _ANY else {"data": data})
        if unknown := set(fields) - {"subject", "app", "key", "channels", "attributes"}:
            raise TypeError(f"an event has no {', '.join(sorted(unknown))}")
        found = [
            event
            for event in self.emitted.of(name)
            if all(getattr(event, field) == value for field, value in wanted.items())
            and (including is None or _holds(event.data, including))
            and (where is None or where(event))
        ]
        if len(found) == times or (times is None and found):
            return found[0] if found else _nothing(name)
        told = ", ".join(f"{field}={value!r}" for field, value in wanted.items())
        told += f"{', ' if told else ''}data including {dict(including)!r}" if including is not None else ""
        told += f"{', ' if told else ''}for which `where` is true" if where is not None else ""
        count = "no" if not found else str(len(found))
        instead = f" instead of {times}" if times is not None else ""
        raise AssertionError(f"{count} {name}{f' with {told}' if told else ''}{instead}; {self.emitted!r}")

    def assert_not_emitted(self, what: str | type) -> None:
        """No event of this type was published."""
        __tracebackhide__ = True
        found = self.emitted.of(what)
        assert not found, f"{_name(what)} was not to be emitted; {found!r}"

    def assert_nothing_emitted(self) -> None:
        """No event was published."""
        __tracebackhide__ = True
        assert not self.emitted, f"nothing was to be emitted; {self.emitted!r}"

    def _wrong(self, event: Event) -> tuple[str, str] | None:
        schema = self.schemas.get(event.type)
        if schema is None:
            declared = declared_type(event.type)
            schema = None if declared is None else declared.schema()
        if schema is None or not event.is_json:
            return None
        known = self._validators.get(event.type)
        if known is None or known[0] != schema:
            known = self._validators[event.type] = (schema, _validator(schema))
        error = next(iter(known[1].iter_errors(event.data)), None)
        return None if error is None else (plain_path(list(error.instance_path)), str(error.message)[:500])


def _nothing(name: str) -> Any:
    """For `times=0`: there is no event to return."""
    return None


def _name(what: str | type) -> str:
    if isinstance(what, str):
        return what
    declared = vars(what).get("__posthouse_event_type__")
    if declared is None:
        raise TypeError(f"{what!r} is no event type: it is declared with @event_type")
    return str(declared.name)


def _holds(data: Any, including: Any) -> bool:
    """Whether data hold these, objects within objects."""
    if isinstance(including, Mapping):
        return isinstance(data, Mapping) and all(
            name in data and _holds(data[name], value) for name, value in including.items()
        )
    return bool(data == including)


def _validator(schema: dict[str, Any]) -> Any:
    try:
        import jsonschema_rs
    except ImportError:
        raise RuntimeError(
            "data are checked against their schema with jsonschema-rs, as the server does: pip install 'posthouse-sdk[testing]'"
        ) from None
    return jsonschema_rs.validator_for(schema)
