"""Medians, spreads and verdicts: what is told of the samples."""

from __future__ import annotations

from array import array
from collections.abc import Callable

import pytest
from bench.figures import Figure, Model, Report, interleaved, percentile
from bench.harness import Received, Run
from bench.measures.throughput import verdicts


def test_a_figure_is_the_median_of_its_runs_with_their_spread() -> None:
    figure = Figure("events_per_second", (7_000.0, 1_000.0, 7_700.4), "counted")
    assert figure.value == 7_000
    assert figure.spread == "1,000 to 7,700"
    assert Figure("rss_mb", (92.04,), "read", 1).value == 92.0
    assert Figure("rss_mb", (92.04,), "read", 1).spread == "one run"


def test_subjects_take_turns_after_a_run_that_does_not_count() -> None:
    log: list[str] = []

    def subject(name: str) -> Callable[[], int]:
        def turn() -> int:
            log.append(name)
            return len(log)

        return turn

    found = interleaved(2, {"ours": subject("ours"), "theirs": subject("theirs")})
    assert log == ["ours", "theirs"] * 3
    assert found == {"ours": [3, 5], "theirs": [4, 6]}


def test_percentiles_are_samples_that_were_there() -> None:
    ordered = list(range(1_000, 101_000, 1_000))
    assert percentile(ordered, 0.5) == 51
    assert percentile(ordered, 0.99) == 100
    assert percentile(ordered, 1.0) == 100


def test_the_report_holds_figures_at_the_top_and_how_beside_them(capsys: pytest.CaptureFixture[str]) -> None:
    report = Report()
    report.add(Figure("events_per_second", (1.0, 3.0), "counted"))
    report.add_model(model(held_out=(1.0, 1.3)))
    report.remark("Beware.")
    told = report.as_json()
    assert told["events_per_second"] == 2
    assert told["how"] == {"events_per_second": "counted (1 to 3)"}
    assert told["samples"] == {"events_per_second": [1.0, 3.0]}
    assert told["fits"]["drain"]["worst_held_out"] == pytest.approx(0.3)
    assert told["remarks"] == ["Beware."]
    printed = capsys.readouterr().out
    assert "NOT within 25 %" in printed
    assert "Note: Beware." in printed


def test_a_prediction_is_judged_by_what_was_held_out(capsys: pytest.CaptureFixture[str]) -> None:
    Report().add_model(model(held_out=(1.0, 0.8)))
    assert "predicted within 25 % (at worst 20% off)" in capsys.readouterr().out


def model(*, held_out: tuple[float, float]) -> Model:
    observed, predicted = held_out
    point = {"x": 1.0, "observed": observed, "predicted": predicted}
    return Model("drain", "y = a·x + b", 1.0, 0.0, 1.0, [], [point], [], "somehow")


def run(per_second: float, **shares: float) -> Run:
    everyone = {"server": 1.0, "postgres": 0.2, "generator": 0.3, "target": 0.2, "others": 0.1} | shares
    return Run(1.0, 1.0, Received(int(per_second), 0, 0, [], array("I"), 1.0), [], 100.0, 50.0, everyone)


def said(plain: Run, fanned: Run, direct: Run, *, cores: int = 4) -> str:
    return " ".join(verdicts([plain], [fanned], [direct], cores=cores))


def test_where_the_programs_beside_the_server_had_room_it_is_said() -> None:
    told = said(run(1_000), run(1_000), run(50_000))
    assert "their own speed was not the limit" in told
    assert "bottleneck" not in told
    assert "full" not in told
    assert "others" not in told


def test_where_a_program_was_the_bottleneck_it_is_said() -> None:
    assert "one endpoint the generator took 97%" in said(run(1_000, generator=0.97), run(1_000), run(50_000))
    assert "three endpoints the target took 95%" in said(run(1_000), run(1_000, target=0.95), run(50_000))
    assert "MAY have been the limit" in said(run(1_000), run(1_000), run(1_200))


def test_where_others_were_at_work_it_is_said() -> None:
    assert "With one endpoint others took up to 70% of a core" in said(run(1_000, others=0.7), run(1_000), run(50_000))


def test_where_the_machine_was_full_it_is_said() -> None:
    told = said(run(1_000, server=1.2, postgres=0.4), run(1_000), run(50_000), cores=2)
    assert "With one endpoint everything together took 105% of 2 cores, generator and target 50% of one" in told
