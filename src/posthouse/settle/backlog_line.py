"""What memory knows of an endpoint that is owed something."""

from __future__ import annotations

from posthouse.domain.ids import AppId, EventId


class BacklogLine:
    """One endpoint's rows: when the next is due (None: none but those that are held; infinity: they wait for each other), and
    whether they wait for room. Its app is known once they were looked at. `doubted` are held, while there may be another row.
    """

    __slots__ = ("app_id", "doubted", "due_at", "partition", "rows", "waits")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.due_at: float | None = None
        self.app_id: AppId | None = None
        self.doubted: set[EventId] | None = None
        self.waits = False
        self.rows = 0  # about so many
