"""An endpoint with several URLs: where a delivery goes, and when nothing may be sent at all."""

from __future__ import annotations

import math
from typing import Any

import pytest
from tests.fakes import EPOCH, a_delivery, an_endpoint, an_event, virtual_time

from posthouse.domain.circuit import Circuit, CircuitPolicy, CircuitState, Health
from posthouse.domain.delivery import HealthTurn, OwedReason
from posthouse.domain.endpoint import Balance, Endpoint, EqualUrl
from posthouse.send.peer import Peer

POLICY = CircuitPolicy(requests_min=2, probe_seconds=5.0, recovery_requests=2)
SECOND, THIRD = "https://example.com/second", "https://example.com/third"


def several(**fields: Any) -> Endpoint:
    return an_endpoint(fallback_urls=(SECOND, THIRD), **fields)


def end(
    peer: Peer, index: int, *, down: bool, now: float = EPOCH, held_until: float | None = None, told: bool = True
) -> HealthTurn | None:
    """One request to one of its URLs."""
    circuit = peer.routes[index].circuit
    token = circuit.began(now)
    confirmed = not down if told else None
    return peer.ended(circuit, token, confirmed=confirmed, down=down, held_until=held_until, now=now)


def open_circuit(peer: Peer, index: int, now: float = EPOCH) -> None:
    while peer.routes[index].circuit.closed:
        end(peer, index, down=True, now=now)


def choose(peer: Peer, *tried: int, now: float = EPOCH, draw: float = 0.0, **event: Any) -> int | None:
    bits = sum(1 << index for index in tried)

    @virtual_time
    async def chosen() -> None:
        found.append(peer.choose(a_delivery(event=an_event(**event), tried=bits), now, draw))

    found: list[int | None] = []
    chosen()
    return found[0]


def test_fallbacks_come_in_their_order_each_once() -> None:
    peer = Peer(several(), POLICY)
    assert [choose(peer, *range(n)) for n in range(4)] == [0, 1, 2, None]
    assert [route.url for route in peer.routes] == ["https://example.com/1", SECOND, THIRD]


def test_one_url_is_tried_once() -> None:
    peer = Peer(an_endpoint(), POLICY)
    assert choose(peer) == 0
    assert choose(peer, 0) is None


def test_a_url_whose_circuit_is_open_is_passed_over_until_its_probe() -> None:
    peer = Peer(several(), POLICY)
    open_circuit(peer, 0)
    assert choose(peer) == 1
    open_circuit(peer, 1)
    assert choose(peer) == 2
    assert peer.wait(EPOCH) == 0.0, "there still is one"
    open_circuit(peer, 2, EPOCH + 1)
    assert choose(peer) is None
    assert peer.wait(EPOCH + 1) == 4.0, "until the first probe of any"
    assert peer.quiet_reason is OwedReason.CIRCUIT_OPEN
    assert choose(peer, now=EPOCH + 5) == 0


def test_a_url_that_cannot_be_spoken_to_is_passed_over() -> None:
    peer = Peer(an_endpoint(url="ftp://example.com/", fallback_urls=(SECOND,)), POLICY)
    assert peer.usable
    assert choose(peer) == 1
    assert not Peer(an_endpoint(url="ftp://example.com/"), POLICY).usable


def test_equal_urls_share_as_their_weights_say_and_fallbacks_come_last() -> None:
    peer = Peer(an_endpoint(equal_urls=(EqualUrl(SECOND, 3),), fallback_urls=(THIRD,)), POLICY)
    assert [choose(peer, draw=draw) for draw in (0.0, 0.24, 0.26, 0.99)] == [0, 0, 1, 1]
    assert choose(peer, 0) == 1
    assert choose(peer, 0, 1) == 2


def test_a_sticky_key_stays_and_moves_only_while_its_url_is_down() -> None:
    peer = Peer(an_endpoint(equal_urls=(EqualUrl(SECOND), EqualUrl(THIRD)), balance=Balance.STICKY), POLICY)
    keys = [f"shop:{n}" for n in range(30)]
    before = {key: choose(peer, key=key, draw=0.9) for key in keys}
    assert set(before.values()) == {0, 1, 2}
    assert {key: choose(peer, key=key, draw=0.1) for key in keys} == before, "chance decides nothing"
    open_circuit(peer, 1)
    after = {key: choose(peer, key=key) for key in keys}
    assert {key for key in keys if after[key] != before[key]} == {key for key in keys if before[key] == 1}


# Its health


def test_it_is_as_well_as_the_best_of_its_urls() -> None:
    peer = Peer(several(), POLICY)
    open_circuit(peer, 0)
    assert peer.health.circuit is CircuitState.CLOSED
    assert not peer.calm
    assert peer.works
    open_circuit(peer, 1)
    open_circuit(peer, 2, EPOCH + 1)
    assert (peer.health.circuit, peer.health.probe_at) == (CircuitState.OPEN, EPOCH + 5), "the first probe"
    assert not peer.works


def test_a_failure_that_goes_on_elsewhere_says_nothing_of_the_endpoint() -> None:
    peer = Peer(several(), POLICY)
    assert end(peer, 0, down=True, told=False) is None
    assert peer.failing_since is None
    assert end(peer, 1, down=False) is None
    turn = end(peer, 0, down=True, told=False)
    assert turn is not None, "but the circuit of that URL opened"
    assert turn.health == Health()


def test_a_url_that_stays_keeps_its_circuit_over_a_revision() -> None:
    peer = Peer(several(), POLICY)
    open_circuit(peer, 0)
    peer.configure(an_endpoint(revision=2, url=SECOND, fallback_urls=("https://example.com/1",)))
    assert [route.circuit.closed for route in peer.routes] == [True, False]
    peer.configure(an_endpoint(revision=3, url="https://example.com/new"))
    assert peer.calm, "nothing is known of a new one"


def test_enabled_again_every_circuit_is_closed_and_nothing_is_held() -> None:
    peer = Peer(several(), POLICY)
    open_circuit(peer, 0)
    end(peer, 1, down=True, held_until=EPOCH + 100)
    peer.configure(several(enabled=False))
    assert peer.wait(EPOCH) == 100.0
    peer.configure(several())
    assert peer.wait(EPOCH) == 0.0
    assert peer.calm


def test_what_is_on_record_holds_after_a_restart() -> None:
    peer = Peer(an_endpoint(health=Health(EPOCH, CircuitState.OPEN, EPOCH, EPOCH + 7, 2, None)), POLICY)
    assert peer.wait(EPOCH) == 7.0
    held = Peer(an_endpoint(health=Health(held_until=EPOCH + 60)), POLICY)
    assert not held.calm
    assert held.wait(EPOCH) == 60.0
    assert held.quiet_reason is OwedReason.HELD
    assert held.wait(EPOCH + 60) == 0.0
    assert held.calm


# Asked to be left alone


def test_retry_after_holds_all_of_it_for_the_longest_that_was_asked() -> None:
    peer = Peer(several(), POLICY)
    turn = end(peer, 0, down=True, held_until=EPOCH + 60)
    assert turn is not None
    assert turn.health.held_until == EPOCH + 60
    assert peer.wait(EPOCH + 10) == 50.0
    assert end(peer, 1, down=False, held_until=EPOCH + 30, now=EPOCH + 1) is not None, "it confirms again"
    assert peer.wait(EPOCH + 10) == 50.0, "what was asked for before still is"
    turn = end(peer, 0, down=True, held_until=EPOCH + 60.5, now=EPOCH + 2, told=False)
    assert peer.wait(EPOCH + 60) == pytest.approx(0.5)
    assert turn is not None, "its circuit opened"
    assert end(peer, 0, down=True, held_until=EPOCH + 90, now=EPOCH + 3, told=False) is not None


def test_while_a_probe_is_under_way_the_rest_waits_for_it() -> None:
    peer = Peer(an_endpoint(), POLICY)
    open_circuit(peer, 0)
    circuit = peer.routes[0].circuit
    token = circuit.began(EPOCH + 5)
    assert peer.wait(EPOCH + 5) == math.inf
    circuit.ended(token, failed=None, now=EPOCH + 5)
    assert peer.wait(EPOCH + 5) == 0.0


def test_circuits_know_only_their_own_url() -> None:
    peer = Peer(several(), POLICY)
    assert len({id(route.circuit) for route in peer.routes}) == 3
    assert all(isinstance(route.circuit, Circuit) for route in peer.routes)


def test_while_the_target_is_to_be_left_alone_there_is_no_url() -> None:
    peer = Peer(an_endpoint(fallback_urls=("https://b.example",)))
    assert choose(peer) == 0
    peer.held_until = EPOCH + 5
    assert choose(peer) is None
    assert choose(peer, now=EPOCH + 5) == 0
