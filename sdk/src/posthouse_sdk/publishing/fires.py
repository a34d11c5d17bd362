"""`@hub.fires(…)`: an event after a function returned.

    @hub.fires("order_create", subject=lambda order: f"shop:{order.shop}", data=lambda order: {"order": order.id})
    def create_order(cart: Cart) -> Order: ...

It is published once the function has returned, and not where it raised. Each value is a value, or a function of the result,
or of the result and the arguments (a dict by name, defaults included). Without `data` they are the result.

The function's caller never pays for publishing: the event goes in the background, and whatever goes wrong with it (data that
cannot be JSON, a full buffer, a server that refuses it) is logged and told to `on_failed`. With `required=True` the caller
does: it waits until the event is durable, and gets the error. But the function has done its work by then: what must be undone
together with the event belongs into the outbox, with the database's own transaction.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypedDict, TypeVar

from posthouse_sdk.publishing.background import Failure, Handle, log
from posthouse_sdk.publishing.event import MISSING, Event

F = TypeVar("F", bound=Callable[..., Any])
Taken = Callable[..., Any]
"""A function of the result, or of the result and the arguments."""


class Fires(TypedDict, total=False):
    """How `fires` makes its event. `when`: only where this holds. `required`: the caller waits, and gets the error."""

    data: Any
    subject: str | Taken | None
    app: str | Taken | None
    key: str | Taken | None
    channels: tuple[str, ...] | list[str] | Taken
    attributes: Mapping[str, str] | Taken | None
    expires_at: datetime | timedelta | Taken | None
    idempotency_key: str | Taken | None
    when: Taken | None
    required: bool


class _Maker:
    """Makes the event of a call: its values asked for once it has returned."""

    def __init__(self, function: Callable[..., Any], what: str | type | None, how: Fires) -> None:
        values: dict[str, Any] = dict(how)
        values.pop("required", None)
        self._when = _asked(values.pop("when", True))
        self._data = _asked(values.pop("data", lambda result: result))
        self._values: Final = {name: _asked(value) for name, value in values.items()}
        self._what = _name(what)
        self._signature = inspect.signature(function)

    @property
    def type(self) -> str:
        return self._what or "(the type of its data)"

    def event(self, result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Event | None:
        """The event, or None where `when` does not hold. Raises whatever the values raise, and EventError."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = bound.arguments
        if not self._when(result, arguments):
            return None
        data = self._data(result, arguments)
        about = {name: value(result, arguments) for name, value in self._values.items()}
        return Event(data, MISSING, **about) if self._what is None else Event(self._what, data, **about)


def decorator(
    submit: Callable[[Event], Handle],
    publish: Callable[[Event], object] | None,
    publish_async: Callable[[Event], Awaitable[object]],
    tell_failed: Callable[[Failure], None],
    what: str | type | None,
    how: Fires,
) -> Callable[[F], F]:
    """The decorator, for a hub that takes events in these ways. Raises TypeError for what it cannot decorate."""
    required = how.get("required", False)
    if unknown := set(how) - set(Fires.__annotations__):
        raise TypeError(
            f"fires() does not know {', '.join(sorted(unknown))}; it knows {', '.join(Fires.__annotations__)}"
        )

    def decorate(function: F) -> F:
        if not callable(function) or isinstance(function, type | staticmethod | classmethod):
            raise TypeError("@fires decorates a function; put it under @staticmethod and @classmethod")
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TypeError(f"{function.__qualname__} is a generator: it returns before its work is done")
        maker = _Maker(function, what, how)

        def made(result: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Event | None:
            try:
                return maker.event(result, args, kwargs)
            except Exception as error:
                if required:
                    raise
                log.exception("%s made no event of type %s", function.__qualname__, maker.type)
                tell_failed(Failure(maker.type, error))
                return None

        def fire(event: Event) -> None:
            try:
                submit(event)
            except Exception as error:  # noqa: BLE001 - the caller must not pay for it; it is logged
                log.exception("%s published no event of type %s", function.__qualname__, event.type)
                tell_failed(Failure(event.type, error, event))

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def fired_async(*args: Any, **kwargs: Any) -> Any:
                result = await function(*args, **kwargs)
                if (event := made(result, args, kwargs)) is not None:
                    if required:
                        await publish_async(event)
                    else:
                        fire(event)
                return result

            return fired_async  # type: ignore[return-value]
        if required and publish is None:
            raise TypeError(
                f"{function.__qualname__} is no coroutine, and cannot wait for AsyncPosthouse: make it async, or use Posthouse"
            )

        @functools.wraps(function)
        def fired(*args: Any, **kwargs: Any) -> Any:
            result = function(*args, **kwargs)
            if (event := made(result, args, kwargs)) is not None:
                if required and publish is not None:
                    publish(event)
                else:
                    fire(event)
            return result

        return fired  # type: ignore[return-value]

    return decorate


def _name(what: str | type | None) -> str | None:
    if what is None or isinstance(what, str):
        return what
    declared = vars(what).get("__posthouse_event_type__")
    if declared is None:
        raise TypeError(f"{what!r} is no event type: declare it with @event_type, or give the name of one")
    return str(declared.name)


def _asked(value: Any) -> Callable[[Any, Mapping[str, Any]], Any]:
    """The value as a function of the result and the arguments."""
    if not callable(value):
        return lambda _result, _arguments: value
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):  # some built-in ones do not tell
        return lambda result, _arguments: value(result)
    places = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) or len([p for p in places if p.default is p.empty]) >= 2:
        return lambda result, arguments: value(result, arguments)
    if places:
        return lambda result, _arguments: value(result)
    return lambda _result, _arguments: value()
