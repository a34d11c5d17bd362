"""A replay store in this process: for one process, for tests, and for what may be handled again after a restart."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from posthouse_sdk.errors import ReplayStoreError
from posthouse_sdk.receiving.store import CLAIM_SECONDS, KEEP_SECONDS, Claim, Terms

ENTRIES_MAX: Final = 100_000


class MemoryReplayStore:
    """Remembers at most `entries_max` confirmed events, of which the oldest go first, and as many claims.

    `clock` gives seconds that never go back.

    Raises: ReceiverError for spans that make no sense; ReplayStoreError from `claim` when there is no room for another claim.
    """

    quick: Final = True  # it never waits, so it needs no thread

    def __init__(
        self,
        *,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
        entries_max: int = ENTRIES_MAX,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._terms: Final = Terms(claim_seconds, keep_seconds)
        self._entries_max: Final = entries_max
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._claims: Final[OrderedDict[str, tuple[str, float]]] = OrderedDict()  # key: token, when it was made
        self._confirmed: Final[OrderedDict[str, float]] = OrderedDict()  # key: when

    def claim(self, key: str, token: str) -> Claim:
        with self._lock:
            self._drop_what_ended()
            if key in self._confirmed:
                return Claim.CONFIRMED
            if key in self._claims:
                return Claim.GRANTED if self._claims[key][0] == token else Claim.HELD
            if len(self._claims) >= self._entries_max:
                raise ReplayStoreError(f"{self._entries_max} events are being handled already")
            self._claims[key] = (token, self._clock())
            return Claim.GRANTED

    def confirm(self, key: str, token: str) -> None:
        with self._lock:
            self._claims.pop(key, None)
            self._confirmed[key] = self._clock()
            self._confirmed.move_to_end(key)
            while len(self._confirmed) > self._entries_max:
                self._confirmed.popitem(last=False)

    def release(self, key: str, token: str) -> None:
        with self._lock:
            if self._claims.get(key, ("", 0.0))[0] == token:
                del self._claims[key]

    def forget(self, key: str) -> None:
        with self._lock:
            self._claims.pop(key, None)
            self._confirmed.pop(key, None)

    def __len__(self) -> int:
        with self._lock:
            self._drop_what_ended()
            return len(self._claims) + len(self._confirmed)

    def _drop_what_ended(self) -> None:
        """Both are in the order of their time, so what ended is at the front."""
        now = self._clock()
        while self._claims and now - next(iter(self._claims.values()))[1] >= self._terms.claim_seconds:
            self._claims.popitem(last=False)
        while self._confirmed and now - next(iter(self._confirmed.values())) >= self._terms.keep_seconds:
            self._confirmed.popitem(last=False)
