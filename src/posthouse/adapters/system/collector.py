"""The garbage collector of a process that serves: what it pauses for is felt by every delivery under way."""

from __future__ import annotations

import gc
from typing import Final

# Almost nothing here is in cycles: what is not needed any more is freed at once, by its count. With the interpreter's own
# thresholds (700, 10, 10) the collector takes a fifteenth of a busy server's time. A second generation of 20,000 objects
# takes some 4 ms; one of 200,000, as when many lanes are made, took 40.
THRESHOLDS: Final = (5_000, 4, 500)


def hold_collector() -> None:
    """Called first of all, before a thousand modules are imported: hardly anything that a start makes is garbage, and to look
    through it takes a seventh of the start. Until `calm_collector`."""
    gc.disable()


def calm_collector() -> None:
    """Called once, when everything is imported and made, before the first request: from here on the collector looks only
    at what comes after. Looking through what a server consists of takes it some 50 to 90 ms, in which nothing else runs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
    gc.enable()
