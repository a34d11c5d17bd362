"""Settings that become a policy, and what is wrong with them told by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.config import BadSettings, load, unknown_variables
from posthouse.domain.circuit import CircuitPolicy


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
    with pytest.raises(BadSettings, match=f"bad settings: --{name.replace('_', '-')}: "):
        load(**{name: value})


def test_what_is_wrong_is_called_as_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTHOUSE_WORKERS", "0")
    monkeypatch.setenv("POSTHOUSE_LOG_LEVEL", "loud")
    (tmp_path / "posthouse.toml").write_text('retention_days = 1\nworkes = 3\nlog_level = "info"\n')
    with pytest.raises(BadSettings) as refused:
        load(port="none", allowed_networks="10.0.0.0/99")
    for name in (
        "--port",
        "--allow-network",
        "POSTHOUSE_WORKERS",
        "POSTHOUSE_LOG_LEVEL",
        "retention_days in posthouse.toml",
        "workes in posthouse.toml",
    ):
        assert f"{name}: " in str(refused.value)
    (tmp_path / "posthouse.toml").write_text("retention_days = \n")
    with pytest.raises(BadSettings, match=r"bad settings: posthouse.toml: .*line 1"):
        load()


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_no_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POSTHOUSE_PORT", "tcp://10.0.0.1:9000")
    assert load().port == 8080


def test_a_variable_that_is_no_setting() -> None:
    ours = ("POSTHOUSE_PORT", "posthouse_workers", "POSTHOUSE_URL", "POSTHOUSE_KEY", "POSTHOUSE_API_KEY", "PATH")
    others = (
        "POSTHOUSE_OUTBOX_DSN",
        "POSTHOUSE_LISTEN_KEY_TOKEN",
        "POSTHOUSE_SERVICE_HOST",
        "POSTHOUSE_PORT_8080_TCP_ADDR",
    )
    assert unknown_variables([*ours, *others]) == []
    assert unknown_variables(["POSTHOUSE_DATABSE_URL", "POSTHOUSE_XYZ"]) == [
        ("POSTHOUSE_DATABSE_URL", "POSTHOUSE_DATABASE_URL"),
        ("POSTHOUSE_XYZ", None),
    ]


def test_the_longest_wait_is_compared_with_the_first() -> None:
    with pytest.raises(
        BadSettings, match="POSTHOUSE_CIRCUIT_PROBE_SECONDS_MAX: must be at least circuit_probe_seconds, which is 400"
    ):
        load(circuit_probe_seconds=400.0)
