"""The circuit: its whole table, what opens it, how it is tried again, and what it makes of requests of an earlier time."""

from __future__ import annotations

import itertools
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.circuit import TRANSITIONS, Circuit, CircuitPolicy, CircuitState, Health, Sign

CLOSED, OPEN, HALF_OPEN = CircuitState.CLOSED, CircuitState.OPEN, CircuitState.HALF_OPEN
POLICY = CircuitPolicy(
    failure_ratio=0.5,
    requests_min=4,
    window_seconds=10.0,
    probe_seconds=5.0,
    probe_factor=2.0,
    probe_seconds_max=30.0,
    recovery_requests=3,
)
START = 1_000.0


def ask(circuit: Circuit, *, failed: bool | None, now: float) -> bool:
    """One request that begins and ends at once; whether the circuit moved as it ended."""
    assert circuit.admits(now)
    return circuit.ended(circuit.began(now), failed=failed, now=now)


def opened(now: float = START) -> Circuit:
    """A circuit that opened just now."""
    circuit = Circuit(POLICY)
    for _ in range(POLICY.requests_min):
        ask(circuit, failed=True, now=now)
    assert circuit.state is OPEN
    return circuit


# The table


def test_the_table_is_total() -> None:
    assert TRANSITIONS.keys() == set(itertools.product(CircuitState, Sign))


@pytest.mark.parametrize(("state", "sign"), list(itertools.product(CircuitState, Sign)))
def test_every_pair_leads_where_the_picture_says(state: CircuitState, sign: Sign) -> None:
    picture = {
        (CLOSED, Sign.TRIPPED): OPEN,
        (OPEN, Sign.PROBED): HALF_OPEN,
        (HALF_OPEN, Sign.TRIPPED): OPEN,
        (HALF_OPEN, Sign.FAILED): OPEN,
        (HALF_OPEN, Sign.RECOVERED): CLOSED,
    }
    assert TRANSITIONS[state, sign] is picture.get((state, sign), state)
    circuit = Circuit(POLICY)
    circuit.state = state
    circuit._move(sign, START)
    assert circuit.state is TRANSITIONS[state, sign]


# What opens it


def test_too_many_failures_open_it_and_fewer_do_not() -> None:
    circuit = Circuit(POLICY)
    moved = [ask(circuit, failed=failed, now=START) for failed in (True, False, False, False, True, False, True)]
    assert moved == [False] * 7, "three of seven"
    assert ask(circuit, failed=True, now=START), "four of eight"
    assert (circuit.state, circuit.opened_at, circuit.probe_at, circuit.trips) == (OPEN, START, START + 5, 1)


def test_a_few_requests_say_nothing_yet() -> None:
    circuit = Circuit(POLICY)
    assert not any(ask(circuit, failed=True, now=START) for _ in range(POLICY.requests_min - 1))
    assert ask(circuit, failed=True, now=START)


def test_a_success_never_opens_it() -> None:
    circuit = Circuit(POLICY)
    for _ in range(3):
        ask(circuit, failed=True, now=START)
    assert not ask(circuit, failed=False, now=START), "three of four failed, but it is answering now"
    assert circuit.closed


def test_what_was_not_sent_counts_for_nothing() -> None:
    circuit = Circuit(POLICY)
    for failed in (None, True, None, True, None, True, None):
        assert not ask(circuit, failed=failed, now=START)
    assert circuit.closed


def test_failures_are_forgotten_with_their_window() -> None:
    circuit = Circuit(POLICY)
    for _ in range(3):
        ask(circuit, failed=True, now=START)
    assert not ask(circuit, failed=True, now=START + POLICY.window_seconds)
    assert circuit.closed


def test_failures_are_remembered_for_half_a_window_at_least() -> None:
    circuit = Circuit(POLICY)
    ask(circuit, failed=False, now=START - 30)
    for seconds in (0.0, 1.0, 2.0):
        ask(circuit, failed=True, now=START + seconds)
    assert ask(circuit, failed=True, now=START + POLICY.window_seconds / 2)


@given(st.integers(0, 2**32))
def test_it_never_opens_for_failures_older_than_its_window(seed: int) -> None:
    """Whenever it opens, too many failed of the requests since some time within the window."""
    draw = Random(seed)
    circuit = Circuit(POLICY)
    told: list[tuple[float, bool]] = []
    now = START
    for _ in range(200):
        now += draw.choice((0.0, 0.1, 1.0, 4.0))
        failed = draw.random() < 0.45
        told.append((now, failed))
        if ask(circuit, failed=failed, now=now):
            begins = [since for since, _ in told if since > now - POLICY.window_seconds]
            spans = [[f for at, f in told if at >= since] for since in begins]
            assert any(len(span) >= 4 and 2 * sum(span) >= len(span) for span in spans)
            assert failed
            return


# How it is tried again


def test_nothing_passes_until_a_probe_is_due_and_then_one() -> None:
    circuit = opened()
    assert not circuit.admits(START)
    assert not circuit.admits(START + 4.999)
    assert circuit.admits(START + 5)
    token = circuit.began(START + 5)
    assert circuit.state is HALF_OPEN
    assert not circuit.admits(START + 60), "one is under way"
    assert not circuit.ended(token, failed=False, now=START + 6), "more are needed"
    assert circuit.admits(START + 6)


def test_each_probe_that_fails_makes_the_next_wait_longer_up_to_a_limit() -> None:
    circuit = opened()
    now, waits = START, []
    for _ in range(6):
        waits.append(circuit.probe_at - now)
        now = circuit.probe_at
        assert ask(circuit, failed=True, now=now)
        assert circuit.state is OPEN
    assert waits == [5.0, 10.0, 20.0, 30.0, 30.0, 30.0]
    assert circuit.opened_at == START, "since when it is not closed"


def test_the_wait_does_not_overflow() -> None:
    circuit = Circuit(POLICY, Health(0.0, OPEN, START, START, trips=100_000))
    assert ask(circuit, failed=True, now=START)
    assert circuit.probe_at == START + 30


def test_half_open_lets_one_more_pass_for_each_that_was_confirmed() -> None:
    circuit = opened()
    now = circuit.probe_at
    running = [circuit.began(now)]
    at_once = []
    for _ in range(POLICY.recovery_requests):
        at_once.append(len(running))
        assert not circuit.ended(running.pop(), failed=False, now=now) or circuit.closed
        while circuit.admits(now) and len(running) < 100:
            running.append(circuit.began(now))
    assert at_once == [1, 2, 3]
    assert circuit.closed
    assert len(running) == 100, "closed, it lets everything pass"
    assert (circuit.opened_at, circuit.probe_at, circuit.trips) == (None, 0.0, 0)


def test_one_failure_opens_it_anew_though_others_were_confirmed() -> None:
    circuit = opened()
    now = circuit.probe_at
    assert not ask(circuit, failed=False, now=now)
    assert not ask(circuit, failed=False, now=now)
    assert ask(circuit, failed=True, now=now)
    assert (circuit.state, circuit.trips, circuit.probe_at) == (OPEN, 2, now + 10)
    # And what was confirmed before counts for nothing after it.
    now = circuit.probe_at
    assert not ask(circuit, failed=False, now=now)
    assert circuit.state is HALF_OPEN


def test_a_probe_that_was_not_sent_gives_its_place_to_the_next() -> None:
    circuit = opened()
    now = circuit.probe_at
    for _ in range(10):
        assert not ask(circuit, failed=None, now=now)
    assert circuit.state is HALF_OPEN
    assert circuit.trips == 1


def test_once_recovered_it_opens_after_the_first_wait_again() -> None:
    circuit = opened()
    ask(circuit, failed=True, now=circuit.probe_at)
    now = circuit.probe_at
    for _ in range(POLICY.recovery_requests):
        ask(circuit, failed=False, now=now)
    assert circuit.closed
    for n in range(1, POLICY.requests_min + 1):
        assert ask(circuit, failed=True, now=now) is (n == POLICY.requests_min), "failures of before are forgotten"
    assert (circuit.opened_at, circuit.probe_at) == (now, now + POLICY.probe_seconds)


def test_what_began_in_an_earlier_state_moves_nothing() -> None:
    circuit = Circuit(POLICY)
    early = [circuit.began(START) for _ in range(20)]
    for token in early[:4]:
        circuit.ended(token, failed=True, now=START)
    assert circuit.state is OPEN
    assert not circuit.ended(early[4], failed=True, now=START + 1)
    assert not circuit.ended(early[5], failed=False, now=START + 1)
    assert (circuit.probe_at, circuit.trips) == (START + 5, 1), "its failures prolong nothing"
    probe = circuit.began(START + 5)
    assert not circuit.ended(early[6], failed=True, now=START + 5)
    assert circuit.state is HALF_OPEN
    for token in early[7:11]:
        assert not circuit.ended(token, failed=False, now=START + 5)
    assert not circuit.admits(START + 5), "nor does what is confirmed late make room"
    assert circuit.ended(probe, failed=True, now=START + 6)
    assert not circuit.ended(probe, failed=True, now=START + 7), "nor does a token that was used"


# After a restart


def test_an_open_circuit_stays_open_over_a_restart() -> None:
    before = opened()
    ask(before, failed=True, now=before.probe_at)
    after = Circuit(POLICY, Health(START, before.state, before.opened_at, before.probe_at, before.trips))
    assert (after.state, after.opened_at, after.probe_at, after.trips) == (OPEN, START, before.probe_at, 2)
    assert not after.admits(before.probe_at - 0.001)
    assert ask(after, failed=True, now=before.probe_at)
    assert after.probe_at == before.probe_at + 20, "the waits go on growing"


def test_half_open_on_record_is_tried_at_once() -> None:
    """Its owner died with the probe under way."""
    circuit = Circuit(POLICY, Health(START, HALF_OPEN, START, None, 1))
    assert circuit.state is OPEN
    assert circuit.admits(START)
    circuit.began(START)
    assert not circuit.admits(START), "by one"


def test_closed_on_record_is_closed() -> None:
    circuit = Circuit(POLICY, Health(START))
    assert circuit.closed
    assert circuit.admits(0.0)


@given(st.integers(0, 2**32))
def test_whatever_happens_it_never_lets_more_pass_than_it_says(seed: int) -> None:
    """Open, nothing passes before its time; half open, never more than one over what was confirmed."""
    draw = Random(seed)
    circuit = Circuit(POLICY)
    running: list[tuple[int, CircuitState]] = []
    now, confirmed = START, 0
    for _ in range(300):
        now += draw.choice((0.0, 0.0, 0.5, 6.0))
        state = circuit.state
        if draw.random() < 0.5 and circuit.admits(now):
            assert state is not OPEN or now >= circuit.probe_at
            token = circuit.began(now)
            if state is OPEN:
                confirmed = 0
            running.append((token, circuit.state))
            if circuit.state is HALF_OPEN:
                mine = [t for t, s in running if t == token and s is HALF_OPEN]
                assert len(mine) <= confirmed + 1
        elif running:
            token, began_in = running.pop(draw.randrange(len(running)))
            failed = draw.choice((True, False, None))
            moved = circuit.ended(token, failed=failed, now=now)
            assert not moved or circuit.state is not state
            if circuit.state is HALF_OPEN and began_in is HALF_OPEN and failed is False and not moved:
                confirmed += 1
            if moved and circuit.state is OPEN:
                assert circuit.probe_at > now
                assert failed
