"""A log that says once in a while what it would say over and over."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any, Final

import structlog

REPEATED_SECONDS: Final = 10.0
"""How long a warning is not said again."""

WARNINGS_MAX: Final = 1000


class Repetitions:
    """A structlog processor: a warning that is the same as one of the last seconds is left out, and counted in the next one
    that is written, as `repeated`. While the database is away each of a dozen tasks tries, and fails alike, once a second.

    What is worse than a warning is always written, and so is what is told of at all other levels.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._said: OrderedDict[tuple[str, ...], list[float]] = (
            OrderedDict()
        )  # when it was written, and how often not since

    def __call__(self, _logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if event.get("level") != "warning":
            return event
        key = tuple(f"{name}={value!r}" for name, value in sorted(event.items()))
        now, said = self._now(), self._said.pop(key, None)
        if said is not None and now - said[0] < REPEATED_SECONDS:
            said[1] += 1
            self._said[key] = said
            raise structlog.DropEvent
        self._said[key] = [now, 0]
        if len(self._said) > WARNINGS_MAX:
            self._said.popitem(last=False)
        if said is not None and said[1]:
            event["repeated"] = int(said[1])
        return event
