"""Who should own how many partitions. Pure."""

from __future__ import annotations

from collections.abc import Collection


def share_of(process: bytes, live: Collection[bytes], partitions: int) -> int:
    """How many partitions a process should own: the shares of all live ones differ by one at most, and are all there are.

    The first ones by id have one more; ids are given in time, so a process that joins changes nobody's rank. `process`
    counts as live in any case.
    """
    ranked = sorted({process, *live})
    whole, rest = divmod(partitions, len(ranked))
    return whole + (ranked.index(process) < rest)
