"""What was received already: the port of a replay store.

An event is claimed before the work, and confirmed after it. Whoever comes in between is told that it is held; once confirmed,
an event is refused for `keep_seconds`. After a failure the claim is released, and the event may come again. A worker that dies
releases nothing: its claim ends by itself after `claim_seconds`.

    free ── claim ──> held ── confirm ──> confirmed ── keep_seconds ──> free
     ^                 │
     └── release, claim_seconds

A confirmation tells a fact, so it holds whoever has the claim by then; a release takes back only one's own claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from posthouse_sdk.errors import ReceiverError

CLAIM_SECONDS: Final = 60.0
KEEP_SECONDS: Final = 7 * 24 * 3600.0
KEY_LENGTH_MAX: Final = 400
TOKEN_LENGTH_MAX: Final = 64


class Claim(Enum):
    """What comes of an attempt to claim an event."""

    GRANTED = "granted"
    """It is yours: do the work, then confirm it."""
    HELD = "held"
    """Somebody is at it, or has died over it a short while ago."""
    CONFIRMED = "confirmed"
    """It is done."""


class ReplayStore(Protocol):
    """Keys are at most KEY_LENGTH_MAX visible ASCII characters; a token, of at most TOKEN_LENGTH_MAX, names one claim.

    Safe to use from several threads.

    Each call may be repeated: a token claims what it holds already. Raises: whatever its backend raises.
    """

    def claim(self, key: str, token: str) -> Claim: ...

    def confirm(self, key: str, token: str) -> None: ...

    def release(self, key: str, token: str) -> None: ...

    def forget(self, key: str) -> None:
        """Let an event in again although it is confirmed, because it is to be handled a second time on purpose."""


class AsyncReplayStore(Protocol):
    """The same for programs on an event loop."""

    async def claim(self, key: str, token: str) -> Claim: ...

    async def confirm(self, key: str, token: str) -> None: ...

    async def release(self, key: str, token: str) -> None: ...

    async def forget(self, key: str) -> None: ...


AnyReplayStore = ReplayStore | AsyncReplayStore


@dataclass(frozen=True, slots=True)
class Terms:
    """How long a claim holds, and how long a confirmed event is refused.

    Raises: ReceiverError for spans that make no sense.
    """

    claim_seconds: float = CLAIM_SECONDS
    keep_seconds: float = KEEP_SECONDS

    def __post_init__(self) -> None:
        if not 0 < self.claim_seconds <= self.keep_seconds:
            raise ReceiverError(
                f"claim_seconds is {self.claim_seconds:g} and keep_seconds {self.keep_seconds:g}: a claim holds for longer "
                "than nothing, and at most as long as a confirmation"
            )
