"""An endpoint as we speak to it."""

from __future__ import annotations

import msgspec
import pytest
from structlog.testing import capture_logs
from tests.fakes import an_endpoint

from posthouse.domain.circuit import HEALTHY, Health
from posthouse.domain.delivery import HealthTurn
from posthouse.domain.endpoint import Endpoint, Secret
from posthouse.domain.named_keys import NamedKeys
from posthouse.send.peer import Peer


def ended(peer: Peer, *, confirmed: bool, now: float) -> HealthTurn | None:
    circuit = peer.routes[0].circuit
    return peer.ended(circuit, circuit.began(now), confirmed=confirmed, down=False, held_until=None, now=now)


def test_only_a_turn_is_told() -> None:
    peer = Peer(an_endpoint(partition=3))
    assert ended(peer, confirmed=True, now=1.0) is None
    assert ended(peer, confirmed=False, now=2.0) == HealthTurn(3, peer.endpoint.id, Health(2.0))
    assert ended(peer, confirmed=False, now=3.0) is None
    assert peer.failing_since == 2.0
    assert ended(peer, confirmed=True, now=4.0) == HealthTurn(3, peer.endpoint.id, HEALTHY)
    assert peer.failing_since is None


def test_what_the_store_knows_is_where_it_begins() -> None:
    peer = Peer(an_endpoint(health=Health(7.0)))
    assert ended(peer, confirmed=False, now=9.0) is None
    assert peer.failing_since == 7.0


def test_a_renderer_serves_until_what_it_is_made_of_changes() -> None:
    peer = Peer(an_endpoint())
    first = peer.routes[0].renderer
    peer.configure(an_endpoint(paused=True))
    assert peer.routes[0].renderer is first
    assert peer.endpoint.paused
    peer.configure(an_endpoint(revision=2, url="https://example.com/other"))
    assert peer.routes[0].renderer is not None
    assert peer.routes[0].renderer.target.path == "/other"
    second = peer.routes[0].renderer
    peer.configure(an_endpoint(revision=2, url="https://example.com/other", secrets=(Secret("v1", b"k" * 32),)))
    third = peer.routes[0].renderer
    assert third is not second, "a rotated secret is no new revision"
    peer.configure(msgspec.structs.replace(peer.endpoint, keys=NamedKeys({"a": ("x",)})))
    assert peer.routes[0].renderer is not third, "nor is a rotated key"


def test_an_endpoint_that_is_enabled_again_begins_anew() -> None:
    peer = Peer(an_endpoint(health=Health(1.0)))
    peer.configure(an_endpoint(health=Health(1.0)))
    assert peer.failing_since == 1.0
    peer.configure(an_endpoint(enabled=False))
    assert peer.failing_since == 1.0
    peer.configure(an_endpoint())
    assert peer.failing_since is None


@pytest.mark.parametrize(
    "endpoint",
    [
        an_endpoint(url="ftp://example.com/"),
        an_endpoint(url="https://user:secret@example.com/"),
        an_endpoint(headers=(("X-A", "a\r\nX-B: b"),)),
        an_endpoint(secrets=(Secret("v1", b"short"),)),
        an_endpoint(secrets=(Secret("v9", b"k" * 32),)),
    ],
)
def test_what_cannot_be_spoken_to_is_told_and_raises_nothing(endpoint: Endpoint) -> None:
    with capture_logs() as logs:
        peer = Peer(endpoint)
    assert peer.routes[0].renderer is None
    assert [entry["event"] for entry in logs] == ["endpoint.unusable"]
    assert "user:secret" not in str(logs)
    peer.configure(an_endpoint(revision=2))
    assert peer.routes[0].renderer is not None
