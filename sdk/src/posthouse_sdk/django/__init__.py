"""The outbox in Django: put `posthouse_sdk.django` into INSTALLED_APPS, migrate, and emit inside `atomic()`.

    from posthouse_sdk.django import emit

    with transaction.atomic():
        order = Order.objects.create(shop=42)
        emit("order.created", {"order": order.pk}, subject="shop:42", key=f"order:{order.pk}")

`manage.py posthouse_relay` publishes what was committed, by the database of your settings; `posthouse relay --dsn …` does, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from posthouse_sdk.outbox.writing import emit as emit_with
from posthouse_sdk.publishing.event import MISSING

__all__ = ["emit"]


def emit(
    what: object,
    data: Any = MISSING,
    *,
    using: str | None = None,
    subject: str | None = None,
    key: str | None = None,
    app: str | None = None,
    channels: tuple[str, ...] | list[str] = (),
    attributes: Mapping[str, str] | None = None,
    expires_at: datetime | timedelta | None = None,
) -> str:
    """Write an event into the transaction that is under way on the database `using` (default: the default one).

    Everything else is as in `posthouse_sdk.outbox.emit`. Raises NotInTransactionError outside of `atomic()`.
    """
    from django.db import DEFAULT_DB_ALIAS, connections

    return emit_with(
        connections[using or DEFAULT_DB_ALIAS],
        what,
        data,
        subject=subject,
        key=key,
        app=app,
        channels=channels,
        attributes=attributes,
        expires_at=expires_at,
    )
