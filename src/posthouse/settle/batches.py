"""Batches that the store did not take as they were: by halves, and without what can be spared. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from posthouse.domain.delivery import JournalBatch
from posthouse.domain.ids import origin_of


def reduced(batch: JournalBatch) -> JournalBatch | None:
    """A batch of one attempt at most without what can be spared: its counters, then the answer, then what the answer makes
    happen; None if it has none of these."""
    if batch.rollups:
        return replace(batch, rollups=())
    bare = tuple(
        replace(a, response_headers=None, response_body=None, error="the store refused this answer")
        for a in batch.attempts
    )
    if bare != batch.attempts:
        return replace(batch, attempts=bare)
    return replace(batch, effects=()) if batch.effects else None


def halves(batch: JournalBatch) -> tuple[JournalBatch, JournalBatch]:
    """Two batches, to be written in this order: the first half of the attempts with their own rows, then all the rest,
    the cursors too. A crash between them is like one before a result was written: recovery derives the rest. Effects go with
    the attempts that they are of: by one that is on record without them they would be lost."""
    middle = len(batch.attempts) // 2
    first, second = batch.attempts[:middle], batch.attempts[middle:]
    keys = {a.key for a in first} - {a.key for a in second}
    origins = {(origin_of(a.id), a.endpoint_id) for a in first}
    early = JournalBatch(
        owner=batch.owner,
        epochs=batch.epochs,
        attempts=first,
        owed=tuple(o for o in batch.owed if o.key in keys),
        settled=tuple(s for s in batch.settled if s[1:] in keys),
        effects=tuple(e for e in batch.effects if (origin_of(e.id), e.endpoint_id) in origins),
        lines=batch.lines,
    )
    late = replace(
        batch,
        attempts=second,
        owed=tuple(o for o in batch.owed if o.key not in keys),
        settled=tuple(s for s in batch.settled if s[1:] not in keys),
        effects=tuple(e for e in batch.effects if (origin_of(e.id), e.endpoint_id) not in origins),
    )
    return early, late
