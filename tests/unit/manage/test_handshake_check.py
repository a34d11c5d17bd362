"""Handshakes as they are written: what is wrong is told with its path, before anything is stored."""

from __future__ import annotations

import tracemalloc
from typing import Any, Final

import msgspec
import pytest

from posthouse.domain.configuration import read
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.handshake import Handshake
from posthouse.domain.limits import HANDSHAKE_FILLED_LENGTH_MAX, HANDSHAKE_STEPS_MAX, HANDSHAKE_VALUES_MAX
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


LONG: Final = "{key}" * 200
JSON: Final = {"kind": "json"}


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ({"data": [LONG] * 100}, "data[0]"),
        ({"data": {"a": ["{key}", "{key}", "{key}", "{key}", "{key}"]}}, "data.a[4]"),
        ({"headers": {"X-A": LONG}}, "headers.X-A"),
        ({"query": {"a": "{key}" * 100_000}}, "query.a"),
        ({"format": JSON | {"body": {"a": LONG}}}, "format.body.a"),
        ({"expect": {"json": {"/x": [LONG] * 100}}}, "expect.json./x[0]"),
        ({"expect": {"text": LONG}}, "expect.text"),
        ({"expect": {"headers": {"X-A": LONG}}}, "expect.headers.X-A"),
        ({"expect": {"any": [{"text": "{key}{key}"}] * 3}}, "expect.any[2].text"),
        ({"data": "{key}", "expect": {"text": "{key}{key}{key}{key}"}}, "expect.text"),
    ],
)
def test_what_is_filled_in_is_counted_before_it_is_built(step: dict[str, Any], path: str) -> None:
    config = config_of(STEP | {"key": "shown"} | step)
    tracemalloc.start()
    try:
        with pytest.raises(Invalid) as refused:
            check_handshake(config, NamedKeys({"shown": ("k" * (HANDSHAKE_FILLED_LENGTH_MAX // 4 - 100),)}))
        assert tracemalloc.get_traced_memory()[1] < 4 * 1024 * 1024
    finally:
        tracemalloc.stop()
    assert refused.value.path == f"handshake.steps[0].{path}"
    assert "kk" not in str(refused.value)


def test_what_is_filled_in_is_counted_for_each_step() -> None:
    keys = NamedKeys({"shown": ("k" * 16_000,)})
    step = STEP | {"key": "shown", "expect": {"json": {"/a": ["{key}", "{key}"]}, "text": "{key}{key}"}}
    check_handshake(config_of(*[step] * HANDSHAKE_STEPS_MAX), keys)


@pytest.mark.parametrize(
    ("step", "path"),
    [
        ({"data": [1] * HANDSHAKE_VALUES_MAX}, f"data[{HANDSHAKE_VALUES_MAX - 1}]"),
        ({"format": JSON | {"body": {"a": [[""] * 100_000]}}}, f"format.body.a[0][{HANDSHAKE_VALUES_MAX - 4}]"),
        ({"expect": {"json": {"/a": [0] * 1_500, "/b": [0] * 1_500}}}, "expect.json./b[497]"),
    ],
)
def test_the_values_of_a_step_are_counted(step: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_handshake(config_of(STEP | step), NO_KEYS)
    assert refused.value.path == f"handshake.steps[0].{path}"


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
