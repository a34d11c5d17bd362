"""A dispatcher: verified events go to the handler of their type, each once.

receiver = Receiver("whsec_…", store=MemoryReplayStore())

@receiver.on("order.created")
def created(event: ReceivedEvent[Any]) -> None: ...

@receiver.on("order.*")
async def other(event: ReceivedEvent[Any]) -> None: ...

receiver.fallback(ignore)

answer = receiver.handle(body, headers)
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeVar, Unpack

from posthouse_sdk.errors import ReceiverError
from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.receiving.answers import Answer, Outcome, RetryLater, of_batch, of_one
from posthouse_sdk.receiving.gate import Gate, GateOptions
from posthouse_sdk.receiving.payloads import Decode, decoder_of, event_type_of
from posthouse_sdk.receiving.steps import Call, Course, arun, run
from posthouse_sdk.webhook import Headers

if TYPE_CHECKING:
    from posthouse_sdk.profiles import Received

Handler = Callable[[ReceivedEvent[Any]], Any]
"""Takes the event; what it returns, or what is awaited of it, is nobody's business. What it raises brings the event back."""

H = TypeVar("H", bound=Handler)

log: Final = logging.getLogger("posthouse_sdk.receiving")


def ignore(event: ReceivedEvent[Any]) -> None:
    """A fallback: other types are confirmed, and nothing comes of them."""
    log.info("ignored %s of type %s", event.id, event.type)


def refuse(event: ReceivedEvent[Any]) -> None:
    """A fallback: other types are not confirmed; the sender tries again, until there is a handler, and gives up in the end."""
    raise RetryLater(3600, f"there is no handler for {event.type}")


@dataclass(frozen=True, slots=True)
class _Entry:
    handler: Handler
    decode: Decode | None = None


class Receiver(Gate):
    """The most precise pattern takes an event: its type, else the longest `prefix.*`, else the fallback, which there must be.

    A handler that raises makes the answer 500, and the event come again; `RetryLater` says when. Blocking handlers run in a
    thread where the program is on an event loop; asynchronous ones in an event loop of their own where it is not.

    Raises: what a `Gate` raises, whose `options` it takes.
    """

    def __init__(
        self, secrets: str | Iterable[str] | None, *, fallback: Handler | None = None, **options: Unpack[GateOptions]
    ) -> None:
        super().__init__(secrets, **options)
        self._exact: Final[dict[str, _Entry]] = {}
        self._prefixes: Final[dict[str, _Entry]] = {}
        self._fallback: _Entry | None = None
        if fallback is not None:
            self.fallback(fallback)

    def on(self, *types: str | type, data: type | None = None) -> Callable[[H], H]:
        """Decorates the handler of some types: names, patterns (`order.*`), or event-type classes.

        `data`, or the event-type class, is what the payload is decoded to: a pydantic model, a msgspec Struct or a dataclass.

        Raises: ReceiverError for what is no pattern, has a handler already, or is no event-type class.
        """
        if not types:
            raise ReceiverError('on() takes types: on("order.created"), on("order.*")')
        entries = [(_pattern(each), decoder_of(data if isinstance(each, str) else each)) for each in types]

        def register(handler: H) -> H:
            _check(handler)
            for pattern, decode in entries:
                where, name = (self._prefixes, pattern[:-1]) if pattern.endswith(".*") else (self._exact, pattern)
                if name in where:
                    raise ReceiverError(f"{pattern} has a handler already: {_named(where[name].handler)}")
                where[name] = _Entry(handler, decode)
            return handler

        return register

    def fallback(self, handler: H) -> H:
        """Decorates the handler of everything that no other one takes; `ignore` and `refuse` are ready-made.

        Raises: ReceiverError where there is one already.
        """
        _check(handler)
        if self._fallback is not None:
            raise ReceiverError(f"there is a fallback already: {_named(self._fallback.handler)}")
        self._fallback = _Entry(handler)
        return handler

    def check(self) -> None:
        """Integrations ask it when they are built.

        Raises: ReceiverError where there is no fallback.
        """
        if self._fallback is None:
            raise ReceiverError(
                "this receiver has no fallback: what shall become of an event that no handler takes, such as a new type? "
                "Decorate a function with @receiver.fallback, or say receiver.fallback(ignore) to confirm such events, "
                "receiver.fallback(refuse) to have them again later"
            )

    def handle(self, body: bytes | str, headers: Headers) -> Answer:
        """Verify a request, hand its events to their handlers, and say what to answer, whatever the request holds.

        Raises: ReceiverError where the receiver is not ready, or its store is asynchronous.
        """
        self.check()
        self.check_blocking()
        return run(self._course(body, headers))

    async def ahandle(self, body: bytes | str, headers: Headers) -> Answer:
        """The same on an event loop."""
        self.check()
        return await arun(self._course(body, headers))

    def respond(self, received: Received) -> Answer:
        """Hand the event of a request that a `ProfileReceiver` verified to its handler, and say what to answer: what the
        profile confirms with, once it is handled. A handshake is answered as it is.

        Raises: as `handle`.
        """
        self.check()
        self.check_blocking()
        return run(self._responding(received))

    async def arespond(self, received: Received) -> Answer:
        """The same on an event loop."""
        self.check()
        return await arun(self._responding(received))

    def _responding(self, received: Received) -> Course[Answer]:
        confirming = Answer(received.status, received.body, tuple(received.headers.items()))
        if received.event is None:
            return confirming
        outcome = yield from self._handling(received.event)
        return confirming if outcome.confirmed else of_one(outcome)

    def _course(self, body: bytes | str, headers: Headers) -> Course[Answer]:
        events = self.read(body, headers)
        if isinstance(events, Answer):
            return events
        if not events[0].batched:
            return of_one((yield from self._handling(events[0])))
        results = []
        for event in events:
            results.append((event.id, (yield from self._handling(event))))  # noqa: PERF401 - `yield from` is in no comprehension
        return of_batch(results)

    def _handling(self, event: ReceivedEvent[Any]) -> Course[Outcome]:
        claimed = yield from self.claiming(event)
        if isinstance(claimed, Outcome):
            return claimed
        outcome = yield from self._calling(claimed)
        yield from self.settling(claimed, confirmed=outcome.confirmed)
        return outcome

    def _calling(self, event: ReceivedEvent[Any]) -> Course[Outcome]:
        entry = self._entry(event.type)
        if entry.decode is not None:
            try:
                event = replace(event, data=entry.decode(event.data))
            except Exception:
                log.exception("the data of %s are no %s", event.id, event.type)
                return Outcome(422, f"the data are not what {event.type} is here")
        try:
            yield Call(entry.handler, (event,))
        except RetryLater as later:
            log.info("%s is put off for %g s: %s", event.id, later.seconds, later.reason)
            return Outcome(503, later.reason, later.seconds)
        except Exception:
            log.exception("the handler of %s (%s) failed", event.type, event.id)
            return Outcome(500, "the handler failed")
        return Outcome(200)

    def _entry(self, type: str | None) -> _Entry:
        assert self._fallback is not None
        if type is None:
            return self._fallback
        if type in self._exact:
            return self._exact[type]
        end = len(type)
        while (end := type.rfind(".", 0, end)) > 0:
            if (entry := self._prefixes.get(type[: end + 1])) is not None:
                return entry
        return self._fallback


def _pattern(each: str | type) -> str:
    pattern = each if isinstance(each, str) else event_type_of(each)
    name = pattern.removesuffix(".*")
    if not name or "*" in name or name != name.strip() or name.endswith("."):
        advice = "; for all types there is @receiver.fallback" if pattern == "*" else ""
        raise ReceiverError(f'{pattern!r} is no type and no pattern such as "order.*"{advice}')
    return pattern


def _check(handler: Handler) -> None:
    try:
        inspect.signature(handler).bind(None)
    except TypeError:
        raise ReceiverError(f"{_named(handler)} must take one argument, the event") from None
    except ValueError:  # something built in, which tells nothing about itself
        return


def _named(handler: Handler) -> str:
    return f"{getattr(handler, '__module__', '?')}.{getattr(handler, '__qualname__', repr(handler))}"
