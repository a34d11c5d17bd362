"""Batches that the store did not take as they were: by halves, and without what can be spared. Pure."""

from __future__ import annotations

from msgspec.structs import replace

from posthouse.domain.delivery import JournalBatch


def reduced(batch: JournalBatch) -> JournalBatch | None:
    """A batch of one attempt at most without what can be spared: its counters, then the answer; None if it has neither."""
    if batch.rollups:
        return replace(batch, rollups=())
    bare = tuple(
        replace(a, response_headers=None, response_body=None, error="the store refused this answer")
        for a in batch.attempts
    )
    return None if bare == batch.attempts else replace(batch, attempts=bare)


def halves(batch: JournalBatch) -> tuple[JournalBatch, JournalBatch]:
    """Two batches, to be written in this order: the first half of the attempts with their own rows, then all the rest,
    the cursors too. A crash between them is like one before a result was written: recovery derives the rest."""
    middle = len(batch.attempts) // 2
    first, second = batch.attempts[:middle], batch.attempts[middle:]
    keys = {a.key for a in first} - {a.key for a in second}
    early = JournalBatch(
        owner=batch.owner,
        epochs=batch.epochs,
        attempts=first,
        owed=tuple(o for o in batch.owed if o.key in keys),
        settled=tuple(s for s in batch.settled if s[1:] in keys),
        lines=batch.lines,
    )
    late = replace(
        batch,
        attempts=second,
        owed=tuple(o for o in batch.owed if o.key not in keys),
        settled=tuple(s for s in batch.settled if s[1:] not in keys),
    )
    return early, late
