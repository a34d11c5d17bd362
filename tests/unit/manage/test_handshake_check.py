"""Handshakes as they are written: what is wrong is told with its path, before anything is stored."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import pytest

from posthouse.domain.configuration import read
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.handshake import Handshake
from posthouse.domain.named_keys import NO_KEYS, NamedKeys
from posthouse.manage.handshake_check import check_confirmable, check_handshake
from posthouse.manage.key_change import check_keys

STEP: Final = {"kind": "request"}
CONFIRM: Final = {"kind": "confirm", "headers": {"X-Url": "{confirm_url}"}}
OPTIONS: Final = {"kind": "options", "origin": "events.example.com"}


def config_of(*steps: dict[str, Any], url: str = "https://example.com/hooks", **handshake: Any) -> EndpointConfig:
    made = read({"steps": list(steps)} | handshake, Handshake, "handshake")
    return EndpointConfig(url=url, handshake=made)


@pytest.mark.parametrize(
    "config",
    [
        config_of(STEP),
        config_of(*[STEP] * 5),
        config_of(STEP, {"kind": "refusal"}, CONFIRM, OPTIONS, every=60, grace=0),
        config_of(OPTIONS | {"rate": 1, "callback": True, "within": 60}, every=366 * 86_400),
        EndpointConfig(url="https://example.com"),
    ],
)
def test_what_can_be_made(config: EndpointConfig) -> None:
    check_handshake(config, NO_KEYS)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        (config_of(), "handshake.steps"),
        (config_of(*[STEP] * 6), "handshake.steps"),
        (config_of(STEP, every=59.9), "handshake.every"),
        (config_of(STEP, every=366 * 86_400 + 1), "handshake.every"),
        (config_of(STEP, every=float("nan")), "handshake.every"),
        (config_of(STEP, grace=-0.1), "handshake.grace"),
        (config_of(STEP, STEP | {"type": "no type"}), "handshake.steps[1].type"),
        (config_of(CONFIRM | {"within": 59}), "handshake.steps[0].within"),
        (config_of(OPTIONS | {"within": 31 * 86_400}), "handshake.steps[0].within"),
        (config_of(OPTIONS | {"origin": ""}), "handshake.steps[0].origin"),
        (config_of(OPTIONS | {"origin": "a\r\nX: y"}), "handshake.steps[0].origin"),
        (config_of(OPTIONS | {"origin": "é" * 254}), "handshake.steps[0].origin"),
        (config_of(OPTIONS | {"rate": 0}), "handshake.steps[0].rate"),
        (config_of(STEP, STEP | {"key": "nobody"}), "handshake.steps[1].key"),
        (config_of(STEP | {"data": {"a": "x" * 3000}}), "handshake.steps[0].data.a"),
        (config_of(STEP | {"data": [["x" * 250] * 100]}), "handshake.steps[0].data"),
        (config_of(STEP | {"headers": {"Host": "evil.example"}}), "handshake.steps[0].headers.Host"),
        (config_of(STEP | {"headers": {"X-A": "a\nb"}}), "handshake.steps[0].headers.X-A"),
        (config_of(STEP | {"query": {"a": "{data}"}}), "handshake.steps[0].query.a"),
        (config_of(STEP | {"expect": {"json": {f"/{n}": n for n in range(17)}}}), "handshake.steps[0].expect.json"),
    ],
)
def test_what_cannot(config: EndpointConfig, path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_handshake(config, NO_KEYS)
    assert refused.value.path == path


def test_each_url_counts() -> None:
    config = config_of(STEP | {"query": {"a": "x" * 1000, "b": "x" * 1000}})
    check_handshake(config, NO_KEYS)
    longer = msgspec.structs.replace(config, fallback_urls=("https://example.com/" + "y" * 1_000,))
    with pytest.raises(Invalid):
        check_handshake(longer, NO_KEYS)


def test_a_key_that_a_handshake_needs_cannot_be_taken_away() -> None:
    config = config_of(STEP | {"key": "shown", "headers": {"X-Key": "{key}"}})
    check_keys(config, NamedKeys({"shown": ("text",)}))
    with pytest.raises(Invalid) as refused:
        check_keys(config, NO_KEYS)
    assert refused.value.path == "handshake.steps[0].key"
    with pytest.raises(Invalid) as refused:
        check_keys(config, NamedKeys({"shown": ("a line\nbreak",)}))
    assert "break" not in str(refused.value).replace("line break", "")


def test_who_is_to_follow_a_url_needs_one() -> None:
    none = EndpointConfig(url="https://example.com")
    for place, config in enumerate([config_of(CONFIRM), config_of(STEP, OPTIONS | {"callback": True})]):
        check_confirmable(none, config, "https://hooks.example.com")
        check_confirmable(config, config, "")
        with pytest.raises(Invalid) as refused:
            check_confirmable(none, config, "")
        assert refused.value.path == f"handshake.steps[{place}]"
        assert "public_url" in str(refused.value)
    check_confirmable(none, config_of(STEP, OPTIONS), "")
