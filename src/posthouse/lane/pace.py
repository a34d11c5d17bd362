"""The pace of a lane: its rate limit, and how many requests at once its target takes well."""

from __future__ import annotations

from collections import deque
from typing import Final

from posthouse.domain.endpoint import RateLimit

SHORT: Final = 0.1  # weight of an answer in the mean of the last ten or so
LONG: Final = 0.01  # and in the mean of the last hundred or so
SLOWER: Final = 2.0  # the short mean over the long one, from which on the target counts as slowing down
SLOWER_SECONDS: Final = 0.1  # and by at least so much
BACK_OFF: Final = 0.5  # after a sign of overload
EASE_OFF: Final = 0.8  # after slowing down
RECENT: Final = 32  # takes of a bucket that are remembered


class Bucket:
    """A token bucket on the boot clock: at most `per_second · w + capacity` requests in any span of `w` seconds.

    It begins empty: what an earlier owner of the lane sent is not known.
    """

    __slots__ = ("_at", "_capacity", "_most", "_per_second", "_recent", "_tokens")

    def __init__(self, limit: RateLimit, *, at: float) -> None:
        self._at = at
        self._tokens = 0.0
        self._most = 0.0  # tokens that there were at any time: what would have been more than the capacity is no credit
        self._per_second = limit.per_second
        self._capacity = float(limit.capacity)
        self._recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # when something was taken, of how many tokens

    def configure(self, limit: RateLimit, boot: float) -> None:
        """Go on with another limit; what was saved up stays, as far as the new one allows."""
        self._fill(boot)
        self._per_second = limit.per_second
        self._capacity = float(limit.capacity)
        self._tokens = min(self._tokens, self._capacity)
        self._most = self._capacity  # what was known of the time before is of the limit before

    def credit(self, seconds: float) -> None:
        """So much longer before it began, nobody had sent anything. Once, whenever that becomes known."""
        earlier = min(seconds * self._per_second, max(self._capacity - self._most, 0.0))
        self._tokens += earlier
        self._most = self._capacity

    def wait(self, boot: float) -> float:
        """Seconds until a request may start; 0 where one may now."""
        self._fill(boot)
        # A hair's breadth of rounding must not cost a timer.
        return 0.0 if self._tokens >= 1 - 1e-9 else (1 - self._tokens) / self._per_second

    def take(self) -> None:
        """A request starts, right after `wait` answered 0."""
        self._recent.append((self._at, self._tokens))
        self._tokens -= 1

    def give_back(self, taken_at: float, boot: float) -> None:
        """The request that started at `taken_at` (boot clock) was not made after all: there are as many tokens as if it had not
        started. What would have been above the capacity meanwhile stays lost."""
        self._fill(boot)
        recent = self._recent
        if len(recent) == RECENT and recent[0][0] > taken_at:
            return  # what there was meanwhile is not known any more
        since = [tokens for at, tokens in recent if at > taken_at]
        back = max(min(1.0, self._capacity - max(since, default=0.0), self._capacity - self._tokens), 0.0)
        self._tokens += back
        self._most = max(self._most, self._tokens)
        if since:
            self._recent = deque(((at, tokens + back * (at > taken_at)) for at, tokens in recent), maxlen=RECENT)

    def full(self, boot: float) -> bool:
        """Whether there is nothing to remember."""
        self._fill(boot)
        return self._tokens >= self._capacity

    def _fill(self, boot: float) -> None:
        self._tokens = min(self._tokens + max(boot - self._at, 0.0) * self._per_second, self._capacity)
        self._most = max(self._most, self._tokens)
        self._at = boot


class Concurrency:
    """How many requests may run at once: up to what the endpoint allows, fewer where the target does not take it well.

    A sign of overload (a timeout; 429, 502, 503, 504) halves it, slowing down takes a fifth; answers while it is used to the
    full give one back for each round. What is already under way when it is lowered does not lower it again. After `restart`
    it grows from one, doubling each round, until the first such sign.
    """

    __slots__ = ("_ceiling", "_exact", "_long", "_lowered_at", "_restarting", "_short", "limit")

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._exact = float(ceiling)
        self._lowered_at = 0.0
        self._short = self._long = 0.0
        self._restarting = False
        self.limit = ceiling

    def configure(self, ceiling: int) -> None:
        """Go on under another ceiling."""
        if self.limit >= self._ceiling or ceiling < self.limit:
            self._exact = float(ceiling)
        self._ceiling = ceiling
        self.limit = max(1, int(min(self._exact, ceiling)))

    def restart(self) -> None:
        """The target comes back: begin with one request at a time."""
        self._restarting = True
        self._set(1.0)

    def answered(self, seconds: float, *, overloaded: bool, running: int, started_at: float, boot: float) -> None:
        """A request ended that began at `started_at` (boot clock), `running` of them with it under way."""
        if overloaded:
            self._lower(BACK_OFF, started_at, boot)
            return
        if self._long == 0.0:
            self._short = self._long = seconds
        else:
            self._short += SHORT * (seconds - self._short)
            self._long += LONG * (seconds - self._long)
        if self._short > SLOWER * self._long and self._short > self._long + SLOWER_SECONDS:
            self._lower(EASE_OFF, started_at, boot)
        elif self._restarting and 2 * running > self.limit:
            self._set(self._exact + 1.0)  # one more for each answer of a round that began with half as many
        elif self._exact < self._ceiling and running >= self.limit:
            self._set(self._exact + 1.0 / self._exact)

    def _lower(self, factor: float, started_at: float, boot: float) -> None:
        if started_at >= self._lowered_at:
            self._lowered_at = boot
            self._restarting = False
            self._set(max(self._exact * factor, 1.0))

    def _set(self, exact: float) -> None:
        self._exact = min(exact, float(self._ceiling))
        self.limit = max(1, int(self._exact))
