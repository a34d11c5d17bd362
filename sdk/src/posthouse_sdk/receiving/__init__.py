"""Receiving: verified, once, by type.

    Webhook        is it from who it claims to be (`posthouse_sdk`)
    Gate           and is it new: with a replay store, for a view or route of your own
    Receiver       and which function is it for: a dispatcher by type

Frameworks have modules of their own, each an extra of the package: `fastapi`, `flask`, `django`, `drf`. So have replay stores:
`stores.memory`, `stores.redis`, `stores.django_cache`, `stores.dbapi`, `stores.sqlalchemy`.
"""

from posthouse_sdk.received import Claimed, ReceivedEvent
from posthouse_sdk.receiving.answers import Answer, RetryLater
from posthouse_sdk.receiving.gate import Gate
from posthouse_sdk.receiving.receiver import Receiver, ignore, refuse
from posthouse_sdk.receiving.store import AsyncReplayStore, Claim, ReplayStore
from posthouse_sdk.receiving.stores.memory import MemoryReplayStore

__all__ = [
    "Answer",
    "AsyncReplayStore",
    "Claim",
    "Claimed",
    "Gate",
    "MemoryReplayStore",
    "ReceivedEvent",
    "Receiver",
    "ReplayStore",
    "RetryLater",
    "ignore",
    "refuse",
]
