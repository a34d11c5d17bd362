"""Whether the event loop has time to spare."""

from __future__ import annotations

from typing import Final

from posthouse.ports.clock import Clock

LOOK_SECONDS: Final = 0.05
BUSY_SHARE: Final = 0.75


class Busy:
    """True while the loop's thread computes for three quarters of the time, as of the last twentieth of a second or more: then
    what waits is not waiting for its target. Elsewhere, such as on a machine that others keep busy, it is false."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._looked_at = clock.boot()
        self._cpu = clock.cpu()
        self._busy = False

    def __call__(self) -> bool:
        boot = self._clock.boot()
        passed = boot - self._looked_at
        if passed >= LOOK_SECONDS:
            cpu = self._clock.cpu()
            self._busy = cpu - self._cpu > BUSY_SHARE * passed
            self._looked_at, self._cpu = boot, cpu
        return self._busy
