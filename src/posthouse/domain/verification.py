"""Whether an endpoint has passed its handshake, and when that is looked at again. Pure.

                  begun              confirmed               grace is over
      (new, or ─────────► unverified ─────────► verified ───────────────────► failed
       changed)           ▲ │  the last try     ▲    │ ▲ made again           │  │
                          │ └───────────────────┼────┼─┘ and confirmed ◄──────┘  │
                          │      was refused    │    └─ refused: stays, until grace is over
                          └─────────────────────┴── asked for again ◄────────────┘

Only a verified endpoint is sent to; what another one is owed waits. Times are unix seconds, of the store's clock.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.balance import urls_of
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.handshake import Handshake
from posthouse.domain.limits import HANDSHAKE_BACKOFF_SECONDS


class State(StrEnum):
    UNVERIFIED = "unverified"
    VERIFIED = "verified"
    FAILED = "failed"


class Reason(StrEnum):
    """Why a handshake came to nothing: all that anybody is told of it. None of these tells anything of the network."""

    NO_ANSWER = "no_answer"  # whatever kept one from coming
    WRONG_STATUS = "wrong_status"
    WRONG_ANSWER = "wrong_answer"  # the headers or the body are not as expected
    NO_CONSENT = "no_consent"
    BAD_SIGNATURE_ACCEPTED = "bad_signature_accepted"
    NOT_CONFIRMED = "not_confirmed"  # nobody followed the URL in time
    UNUSABLE = "unusable"  # the request cannot be made with the endpoint as it is
    LAPSED = "lapsed"  # it was not made again in time


class Happening(StrEnum):
    BEGUN = "begun"  # there is something new to verify
    ASKED = "asked"  # somebody wants it made now
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    EXHAUSTED = "exhausted"  # refused, and that was the last try
    LAPSED = "lapsed"  # refused, and its grace is over


TRANSITIONS: Final[dict[tuple[State, Happening], State]] = {
    (State.UNVERIFIED, Happening.BEGUN): State.UNVERIFIED,
    (State.UNVERIFIED, Happening.ASKED): State.UNVERIFIED,
    (State.UNVERIFIED, Happening.CONFIRMED): State.VERIFIED,
    (State.UNVERIFIED, Happening.REFUSED): State.UNVERIFIED,
    (State.UNVERIFIED, Happening.EXHAUSTED): State.FAILED,
    (State.UNVERIFIED, Happening.LAPSED): State.FAILED,
    (State.VERIFIED, Happening.BEGUN): State.UNVERIFIED,
    (State.VERIFIED, Happening.ASKED): State.VERIFIED,
    (State.VERIFIED, Happening.CONFIRMED): State.VERIFIED,
    (State.VERIFIED, Happening.REFUSED): State.VERIFIED,
    (State.VERIFIED, Happening.EXHAUSTED): State.VERIFIED,
    (State.VERIFIED, Happening.LAPSED): State.FAILED,
    (State.FAILED, Happening.BEGUN): State.UNVERIFIED,
    (State.FAILED, Happening.ASKED): State.UNVERIFIED,
    (State.FAILED, Happening.CONFIRMED): State.VERIFIED,
    (State.FAILED, Happening.REFUSED): State.FAILED,
    (State.FAILED, Happening.EXHAUSTED): State.FAILED,
    (State.FAILED, Happening.LAPSED): State.FAILED,
}


class Verification(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`reason` is why the last try came to nothing, None where it did not; `tries` those that did, in a row. `next_at` is when
    it is looked at again, None where nothing happens by itself.

    A handshake is made of places, each step with each URL: it is at `place`. Where somebody has to follow a URL, it waits
    until `waits_until`; `followed` says that he was faster than we. `allowing` is the lowest rate that this handshake was
    allowed so far, and `allowed_per_second` what the last one that was confirmed came to.
    """

    state: State = State.UNVERIFIED
    reason: Reason | None = None
    since: float = 0.0
    verified_at: float | None = None
    next_at: float | None = None
    tries: int = 0
    allowed_per_second: float | None = None
    place: int = 0
    waits_until: float | None = None
    followed: bool = False
    allowing: float | None = None

    @property
    def sendable(self) -> bool:
        """Whether the endpoint is sent to."""
        return self.state is State.VERIFIED


def begun(now: float, old: Verification | None = None) -> Verification:
    """Of an endpoint that is new, or of which something changed that was verified: due at once."""
    state = TRANSITIONS[State.UNVERIFIED if old is None else old.state, Happening.BEGUN]
    since = now if old is None or old.state is not state else old.since
    return Verification(state=state, since=since, next_at=now)


def asked(old: Verification, *, now: float) -> Verification:
    """Somebody wants it made now, from its first place on."""
    return _moved(old, Happening.ASKED, now, next_at=now, tries=0)


def confirmed(old: Verification, handshake: Handshake, *, now: float) -> Verification:
    """The last place was passed."""
    return _moved(
        old,
        Happening.CONFIRMED,
        now,
        reason=None,
        verified_at=now,
        next_at=None if handshake.every is None else now + handshake.every,
        tries=0,
        allowed_per_second=old.allowing,
    )


def refused(old: Verification, handshake: Handshake, reason: Reason, *, now: float) -> Verification:
    """A try came to nothing: there is another one later, or it is over."""
    tries = old.tries + 1
    match old.state:
        case State.UNVERIFIED if tries <= len(HANDSHAKE_BACKOFF_SECONDS):
            happening, next_at = Happening.REFUSED, now + HANDSHAKE_BACKOFF_SECONDS[tries - 1]
        case State.UNVERIFIED | State.FAILED:
            return _moved(old, Happening.EXHAUSTED, now, reason=reason, tries=tries, next_at=None)
        case State.VERIFIED:
            due_at, ends_at = again_at(old, handshake), lapses_at(old, handshake)
            if due_at is None or ends_at is None:
                # Somebody asked. What it was verified for has not changed, and is not taken back for a bad moment.
                return _moved(old, Happening.REFUSED, now, reason=reason, tries=tries, next_at=None)
            if now >= ends_at:
                return _moved(old, Happening.LAPSED, now, reason=Reason.LAPSED, tries=tries, next_at=None)
            later = now + HANDSHAKE_BACKOFF_SECONDS[min(tries, len(HANDSHAKE_BACKOFF_SECONDS)) - 1]
            happening, next_at = Happening.REFUSED, due_at if now < due_at else min(later, ends_at)
    return _moved(old, happening, now, reason=reason, tries=tries, next_at=next_at)


def postponed(old: Verification, *, now: float, seconds: float) -> Verification:
    """Something went wrong on our side: it is made again from where it was, and no try is spent."""
    return msgspec.structs.replace(old, next_at=now + seconds)


def reached(old: Verification, place: int, *, allowing: float | None, now: float) -> Verification:
    """All before a place was passed, and whoever made it stops there: it goes on from there at once, and no try is spent."""
    return msgspec.structs.replace(
        old, place=place, followed=False, allowing=lower(old.allowing, allowing), next_at=now
    )


def awaited(old: Verification, handshake: Handshake, place: int, *, within: float, now: float) -> Verification:
    """The request at a place brought a URL, which somebody has to follow."""
    waiting = msgspec.structs.replace(old, place=place, waits_until=now + within)
    if old.followed:
        return followed(waiting, now=now)
    ends_at = lapses_at(old, handshake)
    until = now + within if ends_at is None else max(min(now + within, ends_at), now)
    return msgspec.structs.replace(waiting, waits_until=until, next_at=until)


def followed(old: Verification, *, now: float, allowing: float | None = None) -> Verification:
    """Somebody followed the URL: the next place is due. Where the answer to the request with the URL has not been settled yet
    (it does not wait so far), that is noted, and `awaited` goes on."""
    rate = lower(old.allowing, allowing)
    if old.waits_until is None:
        return msgspec.structs.replace(old, followed=True, allowing=rate)
    return msgspec.structs.replace(
        old, place=old.place + 1, waits_until=None, followed=False, allowing=rate, next_at=now
    )


def again_at(verification: Verification, handshake: Handshake) -> float | None:
    """When it is to be made again, None: never."""
    if verification.verified_at is None or handshake.every is None:
        return None
    return verification.verified_at + handshake.every


def lapses_at(verification: Verification, handshake: Handshake) -> float | None:
    """When a verified endpoint is no longer so."""
    due_at = again_at(verification, handshake)
    return None if due_at is None or verification.state is not State.VERIFIED else due_at + handshake.grace


def lower(one: float | None, other: float | None) -> float | None:
    """Of two rates, None: any."""
    return other if one is None else one if other is None else min(one, other)


def _moved(old: Verification, happening: Happening, now: float, **changes: object) -> Verification:
    """In the state that it comes to, and at the first place again."""
    state = TRANSITIONS[old.state, happening]
    since = old.since if state is old.state else now
    blank: dict[str, object] = {"place": 0, "waits_until": None, "followed": False, "allowing": None}
    return msgspec.structs.replace(old, **(blank | {"state": state, "since": since} | changes))


# What is verified


def is_anew(old: EndpointConfig, new: EndpointConfig) -> bool:
    """Whether an endpoint has to be verified anew after a change of its configuration: of one of its URLs, or of its handshake.

    That its requests are signed otherwise, or with other keys, takes nothing back: the target is the same, and a rotation must
    not hold back what it is owed.
    """
    return new.handshake is not None and (urls_of(old), old.handshake) != (urls_of(new), new.handshake)


def after_change(
    verification: Verification | None, old: EndpointConfig, new: EndpointConfig, *, keys: bool, now: float
) -> Verification | None:
    """What a change of an endpoint, perhaps of its keys, makes of its verification; None where that stays as it is. One that
    is not verified is due with any change: that may be what was wrong."""
    if is_anew(old, new):
        return begun(now, verification)
    if verification is None or verification.sendable or new.handshake is None or not (keys or old != new):
        return None
    return begun(now, verification)
