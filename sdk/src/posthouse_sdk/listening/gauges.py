"""What a listener tells of itself: plain numbers, which somebody else may show."""

from __future__ import annotations

from typing import NamedTuple


class Held(NamedTuple):
    """What a sink has of it. `reason` is why it cannot go on; empty where it can."""

    published: int = 0
    queued: int = 0
    set_aside: int = 0
    oldest_seconds: float = 0.0
    reason: str = ""


class Gauges(NamedTuple):
    """Counts are of this process since it began; `queued`, `set_aside` and `oldest_seconds` of all that share the spool.

    observed        events that were made of answers
    published       events that the server has, as this process knows
    queued          events that wait to be published; of a spool counted up to 10,000
    set_aside       events that the server refused, and that wait in the spool for `posthouse outbox retry`
    dropped         events that were made and are lost: there was no room, or no time (`full`, `unsent`, `refused`)
    failed          rules that fitted an answer of which no event could be made (all other reasons)
    late            answers that went out before their event was in the spool, because that took too long
    oldest_seconds  how long the oldest event has waited: the lag
    reason          why nothing can be stored or published just now; empty where it can
    misses          `dropped` and `failed` by their reasons (see `Miss`)
    """

    observed: int
    published: int
    queued: int
    set_aside: int
    dropped: int
    failed: int
    late: int
    oldest_seconds: float
    reason: str
    misses: dict[str, int]
