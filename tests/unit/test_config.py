"""Settings that become a policy, and what is wrong with them told by name."""

from __future__ import annotations

import pytest

from posthouse.config import load
from posthouse.domain.circuit import CircuitPolicy
from posthouse.domain.errors import SetupError


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("settings"))


def test_by_default_a_circuit_is_as_its_policy_says() -> None:
    assert load().circuit_policy() == CircuitPolicy()


def test_every_threshold_of_a_circuit_can_be_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_CIRCUIT_FAILURE_RATIO", "0.8")
    monkeypatch.setenv("POSTHOUSE_CIRCUIT_REQUESTS_MIN", "3")
    monkeypatch.setenv("POSTHOUSE_CIRCUIT_WINDOW_SECONDS", "60")
    monkeypatch.setenv("POSTHOUSE_CIRCUIT_PROBE_SECONDS", "1")
    monkeypatch.setenv("POSTHOUSE_CIRCUIT_PROBE_SECONDS_MAX", "9.5")
    assert load().circuit_policy() == CircuitPolicy(
        failure_ratio=0.8, requests_min=3, window_seconds=60.0, probe_seconds=1.0, probe_seconds_max=9.5
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("circuit_failure_ratio", 0.0),
        ("circuit_failure_ratio", 1.5),
        ("circuit_failure_ratio", float("nan")),
        ("circuit_requests_min", 0),
        ("circuit_window_seconds", 0.0),
        ("circuit_window_seconds", float("inf")),
        ("circuit_probe_seconds", 0.0),
        ("circuit_probe_seconds_max", -1.0),
        ("circuit_probe_seconds_max", 4.9),
    ],
)
def test_a_threshold_that_makes_no_sense_is_named(name: str, value: float) -> None:
    with pytest.raises(SetupError, match=f"bad settings: {name}: "):
        load(**{name: value})


def test_the_longest_wait_is_compared_with_the_first() -> None:
    with pytest.raises(
        SetupError, match="circuit_probe_seconds_max: must be at least circuit_probe_seconds, which is 400"
    ):
        load(circuit_probe_seconds=400.0)
