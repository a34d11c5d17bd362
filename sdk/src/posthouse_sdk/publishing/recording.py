"""The fake hub: while a recorder is in place, whatever any hub of the process publishes goes to it, and nowhere else.

So tests need not know how, where or when the code under test made its hub. `posthouse_sdk.pytest_plugin` puts one in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.publishing.errors import PublishError, RefusedError, UnavailableError, refusal
from posthouse_sdk.publishing.event import Event, Receipt, new_key

if TYPE_CHECKING:
    from posthouse_sdk.publishing.emitted import Emitted

active: Recorder | None = None
"""Who hears of everything that is published, in place of the server."""

lenient: bool = False
"""Whether a hub may be made without URL and key: it complains when it publishes (pytest imports modules before fixtures)."""


class Recorder:
    """Takes events as a server would: the ones that fit. `emitted` are those that it took, in order.

    `validate` is asked for what is wrong with an event's data: (path, what), or None.
    """

    def __init__(self, emitted: Emitted, validate: Callable[[Event], tuple[str, str] | None]) -> None:
        self.emitted: Final = emitted
        self._validate = validate
        self._failing: PublishError | None = None
        self._receipts: dict[tuple[str | None, str], Receipt] = {}

    def take(self, events: Sequence[Event]) -> list[Receipt]:
        """All of them, or none. Raises what a hub would."""
        if self._failing is not None:
            raise self._failing
        for index, event in enumerate(events):
            if (wrong := self._validate(event)) is not None:
                raise _mismatch(event, wrong, f"[{index}]." if len(events) > 1 else "")
        return [self._take(event) for event in events]

    @contextmanager
    def down(self, error: PublishError | None = None) -> Iterator[None]:
        """Within, nothing can be published: UnavailableError, or this error."""
        before = self._failing
        self._failing = error or UnavailableError("not taken: the fake hub is down", in_doubt=False, tries=1)
        try:
            yield
        finally:
            self._failing = before

    def _take(self, event: Event) -> Receipt:
        key = (event.app, event.idempotency_key)
        known = self._receipts.get(key)
        if known is not None:
            return known
        receipt = Receipt(f"evt_{new_key()}", event.type, datetime.now(UTC), 1 if event.app is None else None)
        self._receipts[key] = receipt
        self.emitted.add(event, receipt)
        return receipt


def _mismatch(event: Event, wrong: tuple[str, str], prefix: str) -> RefusedError:
    path, told = wrong
    return refusal(
        422, "schema_mismatch", f"the data do not fit the schema of {event.type}: {told}", path=f"{prefix}{path}"
    )


@contextmanager
def recorded(recorder: Recorder) -> Iterator[Recorder]:
    """Within, this recorder is in place."""
    global active
    before, active = active, recorder
    try:
        yield recorder
    finally:
        active = before


def plain_path(parts: Sequence[Any]) -> str:
    """`data.items[2].sku` of what a validator says."""
    return "data" + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
