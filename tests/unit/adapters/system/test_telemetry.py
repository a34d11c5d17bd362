"""Series for Prometheus, and logs that hold no secret."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from functools import lru_cache
from time import perf_counter
from typing import Any

import pytest
import structlog
from prometheus_client.parser import text_string_to_metric_families

from posthouse.adapters.system.series import COUNTERS, GAUGES
from posthouse.adapters.system.telemetry import (
    HIDDEN,
    SERIES_MAX,
    Histogram,
    PrometheusTelemetry,
    configure_logging,
    redact,
)
from posthouse.domain.cache_use import CacheFacts, CacheUse, of_function
from posthouse.domain.errors import SetupError
from posthouse.ports.telemetry import Telemetry


def samples(telemetry: PrometheusTelemetry) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    body, content_type = telemetry.render()
    assert content_type.startswith("text/plain")
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def test_what_happened_is_counted() -> None:
    telemetry = PrometheusTelemetry()
    port: Telemetry = telemetry
    port.published(3, 300)
    port.publish_batch(3, 0.002)
    port.attempt("delivered", "confirmed", "live", 0.02)
    port.attempt("delivered", "confirmed", "replay", 0.02)
    port.attempt("failed", "http_status", "live", 20.0)
    port.attempt("gave_up", "expired", "live", 0.0)
    port.delivered_after(0.5)
    port.journal_batch(4, 0.004)
    found = samples(telemetry)
    assert found["posthouse_events_published_total", ()] == 3
    assert found["posthouse_published_bytes_total", ()] == 300
    assert found["posthouse_attempts_total", (("outcome", "delivered"),)] == 2
    assert found["posthouse_attempts_total", (("outcome", "failed"),)] == 1
    assert found["posthouse_attempts_total", (("outcome", "gave_up"),)] == 1
    assert found["posthouse_attempts_not_delivered_total", (("reason", "http_status"),)] == 1
    assert found["posthouse_attempts_by_class_total", (("class", "replay"),)] == 1
    # What was given up without a request took no time.
    assert found["posthouse_delivery_duration_seconds_count", ()] == 3
    assert found["posthouse_delivery_duration_seconds_sum", ()] == pytest.approx(20.04)
    assert found["posthouse_delivery_duration_seconds_bucket", (("le", "15.0"),)] == 2
    assert found["posthouse_publish_to_delivered_seconds_bucket", (("le", "0.5"),)] == 1
    assert found["posthouse_publish_to_delivered_seconds_bucket", (("le", "0.25"),)] == 0
    assert found["posthouse_journal_batch_results_sum", ()] == 4
    assert found["posthouse_publish_batch_events_sum", ()] == 3


def test_series_exist_before_anything_happened() -> None:
    found = samples(PrometheusTelemetry())
    for outcome in ("delivered", "failed", "gave_up"):
        assert found["posthouse_attempts_total", (("outcome", outcome),)] == 0
    assert ("process_resident_memory_bytes", ()) in found


def test_labels_are_bounded_whatever_comes() -> None:
    telemetry = PrometheusTelemetry()
    for number in range(10 * SERIES_MAX):
        telemetry.attempt("failed", f"reason {number}", "live", 0.1)
    found = samples(telemetry)
    assert found["posthouse_attempts_total", (("outcome", "failed"),)] == 10 * SERIES_MAX
    assert sum(name == "posthouse_attempts_not_delivered_total" for name, _ in found) <= SERIES_MAX + 1


def test_gauges_are_read_when_they_are_asked_for() -> None:
    telemetry = PrometheusTelemetry()
    owed = [1.0]
    telemetry.watch("deliveries_owed", lambda: owed[0])
    telemetry.watch("oldest_owed_seconds", lambda: None)

    def broken() -> float:
        raise RuntimeError("no")

    telemetry.watch("lanes", broken)
    owed[0] = 5.0
    found = samples(telemetry)
    assert found["posthouse_deliveries_owed", ()] == 5
    assert ("posthouse_oldest_owed_seconds", ()) not in found
    assert ("posthouse_lanes", ()) not in found
    with pytest.raises(ValueError, match="no series named"):
        telemetry.watch("made_up", lambda: 1.0)
    for name in (*GAUGES, *COUNTERS):
        telemetry.watch(name, lambda: 1.0)
    assert len(samples(telemetry)) > len(found)


def test_caches_are_read_when_they_are_asked_for() -> None:
    telemetry = PrometheusTelemetry()
    use = CacheUse()
    telemetry.watch_cache("routes", lambda: use.facts(7))

    @lru_cache(maxsize=2)
    def double(number: int) -> int:
        return 2 * number

    def broken() -> CacheFacts:
        raise RuntimeError("no")

    telemetry.watch_cache("seconds", of_function(double))
    telemetry.watch_cache("apps", broken)
    use.hits, use.misses = 5, 2
    assert [double(number) for number in (1, 2, 3, 3)] == [2, 4, 6, 6]
    found = {key: value for key, value in samples(telemetry).items() if key[0].startswith("posthouse_cache_")}
    assert found == {
        ("posthouse_cache_entries", (("cache", "routes"),)): 7,
        ("posthouse_cache_entries", (("cache", "seconds"),)): 2,
        ("posthouse_cache_requests_total", (("cache", "routes"), ("result", "hit"))): 5,
        ("posthouse_cache_requests_total", (("cache", "routes"), ("result", "miss"))): 2,
        ("posthouse_cache_requests_total", (("cache", "seconds"), ("result", "hit"))): 1,
        ("posthouse_cache_requests_total", (("cache", "seconds"), ("result", "miss"))): 3,
    }
    with pytest.raises(ValueError, match="no cache named"):
        telemetry.watch_cache("made_up", broken)


def test_a_bucket_holds_its_upper_end() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        histogram.observe(value)
    family = histogram.family("x", "x")
    assert [(s.labels.get("le"), s.value) for s in family.samples[:3]] == [("1.0", 2), ("2.0", 4), ("+Inf", 5)]


def test_an_attempt_costs_next_to_nothing() -> None:
    telemetry = PrometheusTelemetry()
    best = float("inf")
    for _ in range(5):
        started = perf_counter()
        for _ in range(10_000):
            telemetry.attempt("delivered", "confirmed", "live", 0.01)
            telemetry.delivered_after(0.02)
        best = min(best, perf_counter() - started)
    # 0.8 µs where it was written; a slow machine gets room, prometheus_client's own counters would not.
    assert best / 10_000 < 5e-6


# Logs


def redacted(**event: Any) -> dict[str, Any]:
    return dict(redact(None, "info", event))


@pytest.mark.parametrize(
    "key",
    [
        "authorization",
        "Authorization",
        "proxy_authorization",
        "secret",
        "signing_secret",
        "password",
        "token",
        "payload",
        "body",
        "request_body",
        "cookie",
        "api_key",
        "admin_key",
        "master_key",
        "database_url",
        "dsn",
        "webhook-signature",
    ],
)
def test_values_under_telling_names_are_hidden_at_any_depth(key: str) -> None:
    assert redacted(**{key: "x"}) == {key: HIDDEN}
    assert redacted(detail={"a": [{key: "x"}]}) == {"detail": {"a": [{key: HIDDEN}]}}


def test_ordinary_values_stay() -> None:
    event = {"event": "attempt.failed", "endpoint": "ep_1", "payload_size": 1, "keys": 2, "key": "shop:42", "port": 80}
    assert redacted(**event) == event | {"payload_size": HIDDEN}
    assert redacted(event="x", bodies=3, ratio=0.5, ok=None) == {"event": "x", "bodies": 3, "ratio": 0.5, "ok": None}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("bad whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw here", f"bad whsec_{HIDDEN} here"),
        ("key ph_abcdefghijklmnop", f"key ph_{HIDDEN}"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {HIDDEN}"),
        ("postgresql://posthouse:pw@db/x", f"postgresql://posthouse:{HIDDEN}@db/x"),
        ("https://example.com:8443/x", "https://example.com:8443/x"),
        ("no https://a.example/x?a=1&access_token=abc%2f#b", f"no https://a.example/x?a=1&access_token={HIDDEN}#b"),
        ("(https://a.example/?sig=ab&x=1)", f"(https://a.example/?sig={HIDDEN}&x=1)"),
        ("graph_of_things and whsec_", "graph_of_things and whsec_"),
    ],
)
def test_what_looks_like_a_secret_is_hidden_in_any_text(text: str, left: str) -> None:
    assert redacted(event=text) == {"event": left}
    assert redacted(items=[text]) == {"items": [left]}


def test_bytes_are_told_by_their_size_only() -> None:
    assert redacted(chunk=b"1234") == {"chunk": "<4 bytes>"}


def test_what_is_too_deep_to_look_through_is_hidden() -> None:
    deep: Any = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    for _ in range(20):
        deep = [deep]
    assert "whsec_M" not in str(redacted(deep=deep))


@pytest.fixture
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level, config = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**config)


@pytest.mark.usefixtures("_logging_as_it_was")
def test_json_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True, level="info")
    log = structlog.get_logger("posthouse.test")
    log.debug("not.told")
    log.info("told", endpoint="ep_1", secret="whsec_x")
    logging.getLogger("uvicorn.error").warning("failed: %s", "Bearer abcdef")
    try:
        password = "swordfish"
        raise ValueError("boom")
    except ValueError:
        log.exception("failed")
    out, err = capsys.readouterr()
    assert out == ""
    lines = [json.loads(line) for line in err.splitlines()]
    assert [line["event"] for line in lines] == ["told", f"failed: Bearer {HIDDEN}", "failed"]
    assert lines[0]["secret"] == HIDDEN
    assert lines[0]["level"] == "info"
    assert lines[0]["timestamp"].endswith("Z")
    assert "ValueError: boom" in lines[2]["exception"]
    assert password not in lines[2]["exception"].replace('password = "swordfish"', "")


@pytest.mark.usefixtures("_logging_as_it_was")
def test_a_warning_is_not_written_again_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True)
    for _ in range(3):
        structlog.get_logger("posthouse.test").warning("store.away", error="refused")
        logging.getLogger("uvicorn.error").warning("one of theirs")
    events = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert events == ["store.away", *["one of theirs"] * 3]


@pytest.mark.usefixtures("_logging_as_it_was")
def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=False)
    structlog.get_logger("posthouse.test").warning("told", endpoint="ep_1", token="abc")
    _, err = capsys.readouterr()
    assert "told" in err
    assert "ep_1" in err
    assert "abc" not in err


@pytest.mark.usefixtures("_logging_as_it_was")
def test_where_stderr_is_no_terminal_it_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    structlog.get_logger("posthouse.test").warning("told")
    assert json.loads(capsys.readouterr().err)["event"] == "told"


def test_an_unknown_level_says_which_there_are() -> None:
    with pytest.raises(SetupError, match="info"):
        configure_logging(level="loud")
