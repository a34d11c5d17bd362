"""The benchmark from end to end, small: that everything is measured, counted and told. Never how fast anything is."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from bench.__main__ import MEASURES
from bench.measures.audience import AUDIENCE
from bench.measures.isolation import LARGE_PACE, PER_APP, beset_routes
from bench.measures.many_endpoints import FEW
from bench.measures.soak import SHARE_OF_PEAK
from bench.measures.workers import WARM_UP
from bench.programs.generator import counted as routed
from bench.scale import FULL, QUICK
from tests.tidy.tree import ROOT

WHOLE: Final = os.environ.get("POSTHOUSE_TEST_BENCH") == "all"
LONGER: Final = ("triggers", "https", "isolation", "many-endpoints", "workers", "backlog", "stored", "lists", "soak")
"""Measured here only where POSTHOUSE_TEST_BENCH=all asks for it: each starts servers of its own."""

NAMES: Final = [name for name in MEASURES if WHOLE or name not in LONGER]
RATE = QUICK.paced_rate
FIGURES = {
    # The design's, at the rate of this scale.
    "events_per_second",
    "deliveries_per_second_fanout3",
    f"latency_p50_ms_at_{RATE}",
    f"latency_p99_ms_at_{RATE}",
    "cpu_us_per_delivery",
    "pg_cpu_us_per_delivery",
    "rss_mb",
    "floor_ratio",
    "journey_floor_ratio",
    "render_us",
    "render_xml_us",
    "journey_floor_attempts_per_commit",
    # What they are compared to, and how they were checked.
    "batched_published_per_second",
    "mission_events_per_second",
    "mission_session_events_per_second",
    "over_mission_ratio",
    "direct_per_second",
    "generator_load",
    "target_load",
    "hostile_healthy_p99_ratio",
    "hostile_healthy_max_ms",
    "eta_ratio",
    "audience5_cost_ratio",
    "crowd_accepted_ms",
    "crowd_others_p99_ms",
    "slow_target_per_second",
    "mission_slow_target_per_second",
}
ONE_SAMPLE: set[str] = set()
if WHOLE:
    FIGURES |= {
        "isolation_healthy_p99_ratio",
        "many_endpoints_cost_ratio",
        "backlog_publish_p50_ratio",
        "backlog_p99_ratio",
        "https_events_per_second",
        "https_journey_floor_ratio",
        "workers1_pg_cpu_us_per_delivery",
        "workers2_pg_cpu_ratio",
        "workers2_pg_cpu_ratio_same_load",
        "stored_ratio",
    }
    ONE_SAMPLE |= {
        "isolation_rss_mb",
        "isolation_large_rss_mb",
        "isolation_ill_open",
        "many_endpoints_rss_mb",
        "backlog_rss_mb",
        "backlog_peak_rss_mb",
        "backlog_startup_seconds",
        "backlog_claim_ms",
        "soak_peak_per_second",
        "soak_latency_p99_ms",
        "soak_rss_mb",
        "soak_postgres_mb",
        "soak_files",
    }


def test_the_names_are_those_of_the_design() -> None:
    assert FULL.paced_rate == 2_000
    assert all(len(set(sizes)) >= 5 for scale in (FULL, QUICK) for sizes in (scale.batch_sizes, scale.drain_rounds))
    assert all(len(scale.drain_concurrency) >= 2 for scale in (FULL, QUICK))
    assert not set(FULL.batch_sizes) & set(FULL.batch_held_out)
    assert not {rounds for rounds, c in FULL.drain_held_out if c in FULL.drain_concurrency} & set(FULL.drain_rounds)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What a quick run wrote."""
    path = tmp_path_factory.mktemp("bench") / "bench.json"
    ran = subprocess.run(
        [sys.executable, "-m", "bench", "--quick", "--json", path, "--only", ",".join(NAMES)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=580 if WHOLE else 280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert all(name in ran.stdout for name in NAMES)
    return json.loads(path.read_text())


@pytest.mark.timeout(600)
def test_a_quick_run_measures_everything_and_loses_nothing(told: Any) -> None:
    assert told.keys() >= FIGURES
    for name in FIGURES:
        assert told[name] > 0, name
        assert len(told["samples"][name]) == (len(QUICK.drain_held_out) if name == "eta_ratio" else QUICK.runs), name
        assert told["how"][name]
    for name in ONE_SAMPLE:
        assert told[name] > 0, name
        assert told["how"][name]
    assert told["lost_deliveries"] == told["repeated_deliveries"] == 0
    assert told["counted_deliveries"] == counted() + (counted_longer(told) if WHOLE else 0)
    assert told["machine"]["cores"] >= 1
    assert told["machine"]["versions"].keys() >= {"posthouse", "python", "postgresql", "commit"}


def test_the_models_are_fitted_and_tried_on_sizes_held_out(told: Any) -> None:
    fits = told["fits"]
    for name in ("batch", "append"):
        assert [p["x"] for p in fits[name]["fitted"]] == list(QUICK.batch_sizes)
        assert [p["x"] for p in fits[name]["held_out"]] == list(QUICK.batch_held_out)
        predicted = [fits[name]["a"] * p["x"] + fits[name]["b"] for p in fits[name]["held_out"]]
        assert predicted == pytest.approx([p["predicted"] for p in fits[name]["held_out"]])
    drain = fits["drain"]
    assert len(drain["fitted"]) == len(QUICK.drain_rounds) * len(QUICK.drain_concurrency)
    for p in (*drain["fitted"], *drain["held_out"]):
        assert p["predicted"] == pytest.approx((drain["a"] * p["x"] + drain["b"]) / p["c"])
        # Nobody is faster than the target: that is arithmetic, not speed. (Its timer counts whole milliseconds.)
        assert p["observed"] >= 0.9 * p["x"] / p["c"] * QUICK.drain_delay_ms / 1000
    assert [(p["x"], p["c"], p["target_ms"]) for p in drain["beyond"]] == list(QUICK.drain_beyond)


def test_a_chart_is_drawn_of_whatever_was_measured(told: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the chart needs the dependency group `bench`")
    from bench import chart

    for name in ("chart.svg", "chart.png"):
        chart.draw(told, tmp_path / name)
        assert (tmp_path / name).stat().st_size > 10_000
    assert "requests.post" in (tmp_path / "chart.svg").read_text()
    chart.draw(told | {"fits": {}, "distributions": {}}, tmp_path / "little.svg")


def counted() -> int:
    """How many deliveries a quick run makes; each measurement once more than it counts, to warm up."""
    s = QUICK
    throughput = s.events * (1 + 1 + 1 + 2) + s.events // 2 * 3 + 2 * s.mission_events + s.floor_count
    paced = 2 * s.paced_rate * s.paced_seconds + 2 * s.hostile_rate * s.hostile_seconds
    batches = sum((*s.batch_sizes, *s.batch_held_out)) * s.batch_samples + max(*s.batch_sizes, *s.batch_held_out)
    drains = [r * c for r in s.drain_rounds for c in s.drain_concurrency]
    drains += [rounds * c for rounds, c in s.drain_held_out] + [x for x, *_ in s.drain_beyond]
    first = [min(s.drain_rounds[0], 10) * c for c in s.drain_concurrency] + [
        min(x, 10 * c) for x, c, _ in s.drain_beyond
    ]
    audience = 2 * s.audience_events * AUDIENCE + 2 * s.crowd_rate * s.crowd_seconds
    return (
        (s.runs + 1) * (throughput + paced + audience)
        + batches
        + s.drain_samples * (sum(drains) + s.drain_mission_events)
        + sum(first)
        + relayed()
        + (s.paced_rate * s.console_seconds if shutil.which("chromium") else 0)
    )


def relayed() -> int:
    """Of an outbox, and as many of each kind of trigger."""
    s = QUICK
    return (s.runs + 1) * s.relay_events + s.runs * sum(s.relay_rates) * s.relay_seconds


def counted_longer(told: Any) -> int:
    """The same for what is measured only where it is asked for."""
    s = QUICK
    beset, large = beset_routes("beset", s.isolation_apps), int(s.isolation_rate * LARGE_PACE)
    isolation = (
        s.isolation_apps * PER_APP
        + len({route for route in beset if route.counted})
        + s.isolation_rate * s.isolation_control_seconds
        + routed(s.isolation_rate * s.isolation_seconds, beset)
    )
    isolated = s.runs * isolation + routed(large * s.isolation_large_seconds, beset)
    many = s.many_apps + 2 * (s.runs + 1) * s.many_rate * s.many_seconds * FEW
    backlog = 2 + (2 * (s.runs + 1) + s.runs) * s.backlog_rate * s.backlog_seconds
    https = (s.runs + 1) * (3 * s.events + s.floor_count)
    several = s.worker_rounds * (len(s.workers) - 1) * (s.events // WARM_UP)  # once more, under the load of one
    workers = s.worker_rounds * len(s.workers) * (s.events + s.events // WARM_UP) + several
    stored = s.apps + s.runs * 2 * (s.events + s.events // WARM_UP)
    rate = int(SHARE_OF_PEAK * statistics.median(told["samples"]["soak_peak_per_second"]))
    own = isolated + many + backlog + 2 * relayed()
    return own + https + workers + stored + (s.runs + 1) * s.events + int(rate * s.soak_parts * s.soak_part_seconds)
