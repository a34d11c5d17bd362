"""What waits in the outbox and what was refused, to be looked at (in the admin, in tests). `emit` writes; the relay removes.

The tables are made by the migration, as `posthouse_sdk.outbox.statements` says, and Django does not manage them.
"""

from __future__ import annotations

from django.db import models


class _Event(models.Model):
    id = models.BigAutoField(primary_key=True)
    uid = models.TextField()
    type = models.TextField()
    subject = models.TextField(null=True)
    event_key = models.TextField(null=True)
    app = models.TextField(null=True)
    data = models.TextField()
    extra = models.TextField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.type} {self.uid}"


class OutboxEvent(_Event):
    """An event that was committed and is not yet published."""

    class Meta:
        managed = False
        db_table = "posthouse_outbox"


class DeadOutboxEvent(_Event):
    """An event that the server refused, with the reason."""

    reason = models.TextField()

    class Meta:
        managed = False
        db_table = "posthouse_outbox_dead"
