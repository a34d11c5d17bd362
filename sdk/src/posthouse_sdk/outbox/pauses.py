"""What a relay leaves alone for a while, and for how long: a key at which the server fails, an app over its quota."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, NamedTuple

from posthouse_sdk.outbox.store import Held

log = logging.getLogger("posthouse.relay")

BACKOFF_SECONDS: Final = 0.1
HELD_MAX: Final = 1_000
FORGOTTEN_SECONDS: Final = 120.0
_APP: Final = "\x1eapp:"


class Stopped(Exception):
    """Everything waits: the server is not there, or the lease is not ours. `seconds` is for how long, where that is known."""

    def __init__(self, reason: str, seconds: float | None, *, refused: bool = False) -> None:
        super().__init__(reason)
        self.seconds = seconds
        self.refused = refused


class Waits(Exception):
    """An app waits; others go on."""


class _Wait(NamedTuple):
    until: float
    failures: int


class Pauses:
    """Lines (`Row.line`), apps (as `app_name` has them) and rows (by id) that wait. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float], draw: Callable[[], float], seconds_max: float) -> None:
        self._now = now
        self._draw = draw
        self._seconds_max = seconds_max
        self._waits: dict[str | int, _Wait] = {}

    def __bool__(self) -> bool:
        return bool(self._waits)

    def hold(self, what: str | int, reason: str, seconds: float | None) -> None:
        """Leave it alone: as long as the server says, or ever longer. Raises Stopped where too many wait."""
        wait = self._waits.get(what)
        failures = 1 if wait is None else wait.failures + 1
        pause = self.backoff(failures) if seconds is None else seconds * (1 + self._draw() / 4)
        self._waits[what] = _Wait(self._now() + pause, failures)
        if failures == 1:
            log.warning("%s waits: %s", _shown(what), reason)
        if len(self._waits) > HELD_MAX:
            raise Stopped(f"more than {HELD_MAX} keys and apps wait; the last one: {reason}", pause)

    def free(self, what: str | int) -> None:
        if self._waits.pop(what, None) is not None:
            log.info("%s goes on", _shown(what))

    def held(self) -> Held:
        """What is to be left alone now."""
        now = self._now()
        # What somebody else removed is not heard of again.
        self._waits = {what: wait for what, wait in self._waits.items() if now - wait.until < FORGOTTEN_SECONDS}
        held = Held()
        for what, wait in self._waits.items():
            if wait.until > now:
                if isinstance(what, int):
                    held.ids.add(what)
                elif what.startswith(_APP):
                    held.apps.add(what.removeprefix(_APP))
                else:
                    held.lines.add(what)
        return held

    def next_seconds(self) -> float | None:
        """Until something that waits is due; None where nothing waits."""
        now = self._now()
        return min((wait.until - now for wait in self._waits.values() if wait.until > now), default=None)

    def backoff(self, failures: int) -> float:
        """Seconds after so many failures in a row: doubling, of which between a half and all."""
        most = min(BACKOFF_SECONDS * 2.0 ** min(failures - 1, 20), self._seconds_max)
        return most * (0.5 + self._draw() / 2)


def app_name(app: str | None) -> str:
    """What stands for an app, or for what is for no one app."""
    return f"{_APP}{app or ''}"


def _shown(what: str | int) -> str:
    if isinstance(what, int):
        return f"row {what}"
    if what.startswith(_APP):
        app = what.removeprefix(_APP)
        return f"app {app}" if app else "what is for no one app"
    app, _, key = what.partition("\x1f")
    return f"key {key}" + (f" of app {app}" if app else "")
