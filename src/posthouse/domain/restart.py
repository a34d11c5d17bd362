"""When a worker that died is started again. Pure."""

from __future__ import annotations

from typing import Final

RESTART_SECONDS_MIN: Final = 0.5
RESTART_SECONDS_MAX: Final = 30.0
RAN_WELL_SECONDS: Final = 60.0


def failures_after(failures: int, *, lived_seconds: float) -> int:
    """How many times in a row a worker has died, counting this time; one that ran well begins anew."""
    return 1 if lived_seconds >= RAN_WELL_SECONDS else failures + 1


def restart_delay(failures: int, *, draw: float) -> float:
    """Seconds until the next start after so many deaths in a row: doubling up to a bound, less up to a half by chance.

    `draw` in [0, 1) is the chance: workers that died together do not come back together.
    """
    whole = RESTART_SECONDS_MIN * 2.0 ** min(failures - 1, 30)
    return float(min(whole, RESTART_SECONDS_MAX) * (1 - draw / 2))
