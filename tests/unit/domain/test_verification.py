"""Verifications: every state, whatever happens; and when a handshake is made again."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from posthouse.domain.encryption import Envelope
from posthouse.domain.endpoint import EndpointConfig, EqualUrl
from posthouse.domain.handshake import Handshake, RequestStep
from posthouse.domain.limits import HANDSHAKE_BACKOFF_SECONDS
from posthouse.domain.signing import Algorithm, CustomSigner, Place, Placed, StandardSigner
from posthouse.domain.verification import (
    TRANSITIONS,
    Happening,
    Reason,
    State,
    Verification,
    after_change,
    asked,
    awaited,
    begun,
    confirmed,
    followed,
    is_anew,
    lower,
    postponed,
    reached,
    refused,
)

ONCE = Handshake(steps=(RequestStep(),))
DAILY = Handshake(steps=(RequestStep(),), every=86_400.0, grace=3_600.0)
SIGNER = CustomSigner(
    algorithm=Algorithm.HMAC_SHA256, key="signs", parts=("{body}",), signature=Placed(place=Place.HEADER, name="X-Sig")
)


def verified(handshake: Handshake = ONCE, at: float = 100.0) -> Verification:
    return confirmed(begun(at), handshake, now=at)


def test_the_table_is_total_and_only_a_confirmation_verifies() -> None:
    assert set(TRANSITIONS) == set(itertools.product(State, Happening))
    for (state, happening), after in TRANSITIONS.items():
        if after is State.VERIFIED:
            assert happening is Happening.CONFIRMED or state is State.VERIFIED


def test_it_is_tried_a_few_times_and_then_no_more() -> None:
    now, it = 10.0, begun(10.0)
    assert (it.state, it.next_at, it.sendable) == (State.UNVERIFIED, 10.0, False)
    for tries, seconds in enumerate(HANDSHAKE_BACKOFF_SECONDS, 1):
        it = refused(it, ONCE, Reason.NO_ANSWER, now=now)
        assert (it.state, it.reason, it.tries, it.next_at) == (State.UNVERIFIED, Reason.NO_ANSWER, tries, now + seconds)
        assert it.since == 10.0
        now += seconds
    it = refused(it, ONCE, Reason.WRONG_STATUS, now=now)
    assert (it.state, it.reason, it.next_at, it.since) == (State.FAILED, Reason.WRONG_STATUS, None, now)
    again = asked(it, now=now + 9)
    assert (again.state, again.tries, again.next_at, again.since) == (State.UNVERIFIED, 0, now + 9, now + 9)
    assert confirmed(again, ONCE, now=now + 10).sendable
    assert refused(it, ONCE, Reason.NO_ANSWER, now=now + 1).state is State.FAILED


def test_confirmed_once_it_stays_so() -> None:
    it = verified()
    assert (it.state, it.verified_at, it.next_at, it.reason, it.tries) == (State.VERIFIED, 100.0, None, None, 0)
    bad = refused(asked(it, now=200.0), ONCE, Reason.NO_ANSWER, now=201.0)
    assert (bad.state, bad.reason, bad.next_at, bad.since) == (State.VERIFIED, Reason.NO_ANSWER, None, 100.0)


def test_made_again_it_lapses_as_its_grace_is_over() -> None:
    it = verified(DAILY)
    due = 100.0 + 86_400
    assert it.next_at == due
    early = refused(asked(it, now=200.0), DAILY, Reason.NO_ANSWER, now=201.0)
    assert (early.state, early.next_at) == (State.VERIFIED, due), "who asks too early loses nothing"
    one = refused(it, DAILY, Reason.NO_ANSWER, now=due)
    assert (one.state, one.next_at) == (State.VERIFIED, due + HANDSHAKE_BACKOFF_SECONDS[0])
    for _ in range(10):
        one = refused(one, DAILY, Reason.NO_ANSWER, now=due + 1)
    assert one.next_at == due + 1 + HANDSHAKE_BACKOFF_SECONDS[-1] or one.next_at == due + DAILY.grace
    last = refused(one, DAILY, Reason.NO_ANSWER, now=due + DAILY.grace - 1)
    assert (last.state, last.next_at) == (State.VERIFIED, due + DAILY.grace)
    lapsed = refused(last, DAILY, Reason.NO_ANSWER, now=due + DAILY.grace)
    assert (lapsed.state, lapsed.reason, lapsed.next_at, lapsed.sendable) == (State.FAILED, Reason.LAPSED, None, False)
    assert confirmed(last, DAILY, now=due + 7).next_at == due + 7 + 86_400


def test_begun_anew_everything_before_is_forgotten() -> None:
    rated = confirmed(msgspec.structs.replace(begun(1.0), allowing=2.0), DAILY, now=1.0)
    assert rated.allowed_per_second == 2.0
    assert begun(50.0, rated) == Verification(since=50.0, next_at=50.0)
    assert begun(50.0, begun(1.0)) == Verification(since=1.0, next_at=50.0)


def test_waiting_until_somebody_follows() -> None:
    it = awaited(begun(1.0), ONCE, 2, within=60.0, now=5.0)
    assert (it.place, it.waits_until, it.next_at) == (2, 65.0, 65.0)
    went = followed(it, now=9.0, allowing=3.0)
    assert (went.place, went.waits_until, went.next_at, went.allowing) == (3, None, 9.0, 3.0)
    late = refused(it, ONCE, Reason.NOT_CONFIRMED, now=65.0)
    assert (late.place, late.waits_until, late.reason) == (0, None, Reason.NOT_CONFIRMED)
    fast = followed(begun(1.0), now=2.0)
    assert (fast.place, fast.followed) == (0, True)
    assert awaited(fast, ONCE, 2, within=60.0, now=5.0).place == 3
    graced = awaited(verified(DAILY), DAILY, 0, within=1e9, now=100.0 + 86_400)
    assert graced.next_at == 100.0 + 86_400 + 3_600, "it waits no longer than it is verified"
    assert not begun(9.0, it).followed


def test_our_own_faults_spend_nothing() -> None:
    it = postponed(begun(1.0), now=5.0, seconds=7.0)
    assert (it.state, it.tries, it.next_at) == (State.UNVERIFIED, 0, 12.0)


@pytest.mark.parametrize(
    "old",
    [
        begun(1.0),
        refused(begun(1.0), ONCE, Reason.NO_ANSWER, now=2.0),
        verified(DAILY),
        asked(verified(ONCE), now=200.0),
        msgspec.structs.replace(begun(1.0), state=State.FAILED, tries=5),
    ],
)
def test_what_is_left_of_a_long_one_is_due_at_once_and_spends_nothing(old: Verification) -> None:
    early = msgspec.structs.replace(old, followed=True, allowing=2.0)
    it = reached(early, 7, allowing=3.0, now=300.0)
    assert (it.place, it.next_at, it.waits_until, it.followed, it.allowing) == (7, 300.0, None, False, 2.0)
    assert reached(it, 9, allowing=1.0, now=320.0).allowing == 1.0
    assert (it.state, it.since, it.tries, it.reason) == (old.state, old.since, old.tries, old.reason)
    done = confirmed(it, ONCE, now=400.0)
    assert (done.sendable, done.place, done.allowed_per_second) == (True, 0, 2.0)


@pytest.mark.parametrize(
    ("change", "anew"),
    [
        ({}, False),
        ({"url": "https://example.com/2"}, True),
        ({"fallback_urls": ("https://example.com/2",)}, True),
        ({"equal_urls": (EqualUrl("https://example.com/2"),)}, True),
        ({"handshake": DAILY}, True),
        ({"handshake": None}, False),
        ({"signing": ()}, False),
        ({"encryption": Envelope(key="seals")}, False),
        ({"headers": {"X-Shop": "1"}}, False),
        ({"description": "main"}, False),
    ],
)
def test_what_has_to_be_verified_anew(change: dict[str, Any], anew: bool) -> None:
    old = EndpointConfig(url="https://example.com/1", handshake=ONCE, signing=(StandardSigner(),))
    assert is_anew(old, msgspec.structs.replace(old, **change)) is anew


def test_one_that_is_not_verified_is_due_with_whatever_changes() -> None:
    """What was wrong may just have been put right."""
    old = EndpointConfig(url="https://example.com/1", handshake=ONCE)
    new = msgspec.structs.replace(old, headers={"X-Shop": "1"})
    failed = msgspec.structs.replace(begun(1.0), state=State.FAILED, reason=Reason.UNUSABLE, next_at=None, tries=5)
    again = after_change(failed, old, new, keys=False, now=9.0)
    assert again == Verification(state=State.UNVERIFIED, since=9.0, next_at=9.0)
    assert after_change(failed, old, old, keys=True, now=9.0) == again
    assert after_change(failed, old, old, keys=False, now=9.0) is None
    verified = msgspec.structs.replace(begun(1.0), state=State.VERIFIED)
    assert after_change(verified, old, new, keys=True, now=9.0) is None
    assert after_change(None, EndpointConfig(url="https://e.com"), old, keys=False, now=9.0) == begun(9.0)


def test_without_a_handshake_there_is_nothing_to_verify() -> None:
    assert not is_anew(EndpointConfig(url="https://e.com"), EndpointConfig(url="https://e.com/2"))


def test_the_lower_of_two_rates() -> None:
    assert [lower(None, None), lower(None, 1.0), lower(2.0, None), lower(2.0, 1.0)] == [None, 1.0, 2.0, 1.0]
