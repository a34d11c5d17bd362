"""The callback: what a target's answer makes happen. Pure; the caller acts on the decision."""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Final

import msgspec

from posthouse.domain.exchange import Answer, Failure, Fault, Result
from posthouse.domain.limits import FAILING_DAYS_MAX, RETRY_AFTER_SECONDS_MAX
from posthouse.domain.reaction import AnyRule, ConfirmRule, DisableRule, GiveUpRule, RetryRule
from posthouse.domain.retry import Retry

CONFIRMED: Final = "confirmed"
HTTP_STATUS: Final = "http_status"
REDIRECT: Final = "redirect"
GONE: Final = "gone"
EXHAUSTED: Final = "exhausted"
NOT_ACKNOWLEDGED: Final = "not_acknowledged"  # 2xx, and the endpoint's acknowledgement rule does not hold
ACK_FAILED: Final = "ack_failed"  # 2xx, and its acknowledgement rule has no value
RULE_RETRY: Final = "rule_retry"  # a response rule, or the answer itself, says so, whatever the status is
RULE_GIVE_UP: Final = "rule_give_up"
RULE_DISABLE: Final = "rule_disable"
GONE_STATUS: Final = 410
BY_ANSWER: Final = "by_answer"  # why an endpoint is disabled: the same


class Confirm(msgspec.Struct, frozen=True, gc=False):
    """Delivered."""


class RetryAt(msgspec.Struct, frozen=True, gc=False):
    """Not yet: the next attempt is due at `at` (unix seconds)."""

    at: float
    reason: str


class GiveUp(msgspec.Struct, frozen=True, gc=False):
    """No attempt is left. The delivery stays visible and can be resent."""

    reason: str


class Block(msgspec.Struct, frozen=True, gc=False):
    """No attempt is left, and the line behind it stands until somebody decides."""

    reason: str


class Disable(msgspec.Struct, frozen=True, gc=False):
    """Give up, and disable the endpoint: it said, or showed, that it wants no more."""

    reason: str


Decision = Confirm | RetryAt | GiveUp | Block | Disable


def classify(result: Result) -> str:
    """`confirmed`, or the reason for which the attempt failed.

    2xx confirms; 410 says the endpoint is gone; redirects are never followed, so they fail (Standard Webhooks).
    """
    if isinstance(result, Failure):
        return result.fault.value
    status = result.status
    if 200 <= status < 300:
        return CONFIRMED
    if status == GONE_STATUS:
        return GONE
    return REDIRECT if 300 <= status < 400 else HTTP_STATUS


_OVERLOADED_STATUSES: Final = frozenset({429, 502, 503, 504})
_OVERLOADED_FAULTS: Final = frozenset(
    {Fault.CONNECT_TIMEOUT, Fault.TLS_TIMEOUT, Fault.FIRST_BYTE_TIMEOUT, Fault.TOTAL_TIMEOUT}
)
_HOLDING_STATUSES: Final = frozenset({429, 503})


def is_down(result: Result) -> bool:
    """Whether the URL does not work: no complete answer came, or one that says so (5xx). Other answers are about the event, as
    is what could not be made into a request."""
    if isinstance(result, Failure):
        return result.fault is not Fault.UNSENDABLE
    return result.status >= 500


def is_overloaded(result: Result) -> bool:
    """Whether the target shows that it has too much to do (Standard Webhooks: 429, 502 and 504 throttle; and time-outs)."""
    if isinstance(result, Failure):
        return result.fault in _OVERLOADED_FAULTS
    return result.status in _OVERLOADED_STATUSES


def held_until(result: Result, *, now: float) -> float | None:
    """Until when (unix seconds) the target asks to be left alone by everything: 429 or 503 with a `Retry-After`."""
    if isinstance(result, Failure) or result.status not in _HOLDING_STATUSES:
        return None
    seconds = retry_after(result.header(b"retry-after"), now=now)
    return now + seconds if seconds else None


def retry_after(value: bytes | None, *, now: float) -> float | None:
    """Seconds that a `Retry-After` header asks for (RFC 9110, section 10.2.3), within 0 and a day; None if unreadable."""
    if value is None:
        return None
    text = value.decode("latin-1").strip()
    if text.isascii() and text.isdigit():
        seconds = float(text) if len(text) < 10 else float(RETRY_AFTER_SECONDS_MAX)
    else:
        try:
            at = parsedate_to_datetime(text)
            # A date without a zone (the asctime form) is in GMT like the others, not in ours.
            seconds = (at.replace(tzinfo=UTC) if at.tzinfo is None else at).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return min(max(seconds, 0.0), float(RETRY_AFTER_SECONDS_MAX))


def decide(
    result: Result,
    retry: Retry,
    *,
    number: int,
    failing_since: float | None,
    now: float,
    draw: float,
    blocks: bool = False,
    reason: str | None = None,
    rule: AnyRule | None = None,
) -> Decision:
    """What follows attempt `number` (from 1).

    `failing_since` (unix seconds) is since when the endpoint has confirmed nothing: after five days it is disabled. `blocks`
    says that the line stands where no attempt is left. `reason` is what `classify` says, unless the answer says something
    of its own of this event. `rule` is the response rule that the answer meets: where it says what becomes of the delivery,
    that is what does.

    A `schedule` of a rule is counted by attempts, as the endpoint's own is: its n-th delay follows the n-th attempt, whenever
    the rule is met. So nothing has to be remembered of it, and an answer that does not meet the rule is followed by the
    endpoint's own delay. The endpoint's attempts stay the limit, and a shorter schedule is one, too: no rule retries for ever.
    """
    match rule:
        case ConfirmRule():
            return Confirm()
        case GiveUpRule():
            return GiveUp(RULE_GIVE_UP)
        case DisableRule():
            return Disable(BY_ANSWER)
        case RetryRule(after=after, schedule=schedule):
            reason = RULE_RETRY
            if schedule is not None:
                retry = Retry(schedule[: len(retry.schedule)], retry.jitter)
            elif after is not None:
                retry = Retry((after,) * len(retry.schedule), 0.0)
        case _:
            pass
    reason = reason or classify(result)
    if reason == CONFIRMED:
        return Confirm()
    if reason == GONE:
        return Disable(GONE)
    if failing_since is not None and now - failing_since >= FAILING_DAYS_MAX * 86_400:
        return Disable("failing_for_days")
    floor = retry_after(result.header(b"retry-after"), now=now) if isinstance(result, Answer) else None
    delay = retry.delay(number, draw=draw, floor=floor)
    if delay is None:
        return Block(EXHAUSTED) if blocks else GiveUp(EXHAUSTED)
    return RetryAt(now + delay, reason)
