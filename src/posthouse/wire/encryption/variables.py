"""What templates may name of a message, besides what comes of the encryption."""

from __future__ import annotations

from typing import Final

MESSAGE_VARIABLES: Final = frozenset(
    {
        "event.id",
        "event.type",
        "event.subject",
        "event.key",
        "event.time",
        "event.timestamp",
        "message.id",
        "timestamp",
        "timestamp_ms",
        "time",
        "nonce",
        "app.id",
        "endpoint.id",
    }
)
