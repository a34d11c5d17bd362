"""How much goes through, beside the loop that the mission begins with, both floors, and our own programs with nothing between.

All of them take turns, so that a machine that grows slow or busy does so for each.
"""

from __future__ import annotations

from typing import NamedTuple

from bench.figures import Figure, Report, interleaved
from bench.harness import CONNECTIONS, OURS, Bench, Journey, Run, busy
from bench.programs.floor import Insert, Send
from bench.programs.journey import Commits
from bench.programs.mission import MissionLoad
from bench.scale import Scale

BATCH = 100
HEAD_ROOM = 1.5  # a program that could do so much more by itself did not hold the server back
CORE_IS_FULL = 0.9


class Rival(NamedTuple):
    """A run of a program that Posthouse is compared to."""

    per_second: float
    cpu_us: float


class Floor(NamedTuple):
    """Microseconds of CPU for a bare send, a bare insert, and PostgreSQL's for that insert."""

    sending: float
    inserting: float
    postgres: float

    @property
    def total(self) -> float:
        return sum(self)


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    journey = Journey(bench.target_port)
    try:
        _measure(bench, scale, report, journey)
    finally:
        journey.stop()


def _measure(bench: Bench, scale: Scale, report: Report, journey: Journey) -> None:
    single, triple = bench.make_apps("one", scale.apps), bench.make_apps("three", scale.apps, 3)
    events = scale.events
    commits: list[Commits] = []

    def plain_run() -> Run:
        before = _commits(bench)
        run = bench.measure("one endpoint", single, events)
        commits.append(Commits(*(after - had for after, had in zip(_commits(bench), before, strict=True))))
        return run

    rounds = interleaved(
        scale.runs,
        {
            "plain": plain_run,
            "mission": lambda: mission_run(bench, scale.mission_events, session=False),
            "floor": lambda: floor_run(bench, scale.floor_count),
            "journey": lambda: bench.measure("the journey floor", single, events, through=journey),
            "direct": lambda: bench.measure("generator to target", single, events, port=bench.target_port),
            "fanned": lambda: bench.measure("three endpoints", triple, events // 2, fanout=3),
            "session": lambda: mission_run(bench, scale.mission_events, session=True),
            "batched": lambda: bench.measure("batches", single, events * 2, batch=BATCH),
        },
    )
    plain, direct, fanned, batched, journeys = (
        [r for r in rounds[name] if isinstance(r, Run)] for name in ("plain", "direct", "fanned", "batched", "journey")
    )
    mission, session = ([r for r in rounds[name] if isinstance(r, Rival)] for name in ("mission", "session"))
    floors = [r for r in rounds["floor"] if isinstance(r, Floor)]

    def add(name: str, samples: list[float], how: str, digits: int = 0) -> None:
        report.add(Figure(name, tuple(samples), how, digits))

    add("events_per_second", [r.per_second for r in plain],
        f"{events:,} events of ~350 bytes, {CONNECTIONS} connections, first publish to last receipt")  # fmt: skip
    add("published_per_second", [events / r.published_seconds for r in plain], "the same runs, answered 202")
    add("deliveries_per_second_fanout3", [r.per_second for r in fanned], "three endpoints an event")
    add(
        "batched_published_per_second", [2 * events / r.published_seconds for r in batched], f"{BATCH} events a request"
    )
    add("cpu_us_per_delivery", [r.cpu_us for r in plain], "one endpoint, the server's process", 1)
    add("pg_cpu_us_per_delivery", [r.postgres_us for r in plain], "one endpoint, all of PostgreSQL", 1)
    add("mission_events_per_second", [r.per_second for r in mission],
        f"a signed `requests.post` an event in a plain loop, {scale.mission_events:,} events; it stores nothing")  # fmt: skip
    add("mission_session_events_per_second", [r.per_second for r in session], "the same loop over one kept connection")
    add("mission_cpu_us_per_delivery", [r.cpu_us for r in mission], "the loop without a session, its process")
    add("over_mission_ratio", [p.per_second / m.per_second for p, m in zip(plain, mission, strict=True)],
        "events/s of Posthouse over those of the loop, run by run", 2)  # fmt: skip
    add("floor_us_per_delivery", [f.total for f in floors],
        "bare sender loop + bare array insert, PostgreSQL's CPU included", 1)  # fmt: skip
    add("floor_ratio", [p.all_us / f.total for p, f in zip(plain, floors, strict=True)],
        "all CPU of a delivery over the floor's, run by run", 2)  # fmt: skip
    add("journey_floor_us_per_delivery", [j.all_us for j in journeys],
        "a bare program for the journey: accept, commit, 202, sign, send, read, record; with PostgreSQL's CPU", 1)  # fmt: skip
    add("journey_floor_pg_us_per_delivery", [j.postgres_us for j in journeys], "of that, PostgreSQL's", 1)
    add(
        "journey_floor_per_second",
        [j.per_second for j in journeys],
        "that program, from the same generator to the same target",
    )
    add("journey_floor_ratio", [p.all_us / j.all_us for p, j in zip(plain, journeys, strict=True)],
        "all CPU of a delivery over the journey floor's, run by run", 2)  # fmt: skip
    for who, groups in (("", commits[1:]), ("journey_floor_", [journey.commits()])):
        add(
            f"{who}events_per_commit",
            [g.events / g.event_commits for g in groups],
            "one endpoint, the group commits",
            1,
        )
        add(
            f"{who}attempts_per_commit",
            [g.attempts / g.attempt_commits for g in groups],
            "the same, of what was tried",
            1,
        )
    add("direct_per_second", [r.per_second for r in direct], "the generator straight to the target, nothing between")
    for name in (*OURS, "others"):
        add(f"{name}_load", [r.shares[name] for r in plain], "one endpoint, share of one core", 2)
    add("target_load_fanout3", [r.shares["target"] for r in fanned], "three endpoints, share of one core", 2)
    for sentence in verdicts(plain, fanned, direct, cores=bench.cores):
        report.remark(sentence)


def verdicts(plain: list[Run], fanned: list[Run], direct: list[Run], *, cores: int) -> list[str]:
    """Whether it was the server that was measured, said plainly."""
    sentences = []
    alone = min(r.per_second for r in direct)
    # Within the run the programs share the machine with the server; alone they show what they could take.
    for what, runs in (("one endpoint", plain), ("three endpoints", fanned)):
        fastest = max(r.per_second for r in runs)
        for program in ("generator", "target"):
            load = max(r.shares[program] for r in runs)
            if load > CORE_IS_FULL:
                sentences.append(
                    f"With {what} the {program} took {load:.0%} of a core: it was the bottleneck, the figure is a lower bound."
                )
        if what == "one endpoint":
            word = "was not" if alone >= HEAD_ROOM * fastest else "MAY have been"
            sentences.append(
                f"Generator and target alone do {alone:,.0f} events/s, {alone / fastest:.1f} times the fastest run with the "
                f"server between them: their own speed {word} the limit."
            )
        total = [sum(r.shares[name] for name in OURS) for r in runs]
        if max(total) > CORE_IS_FULL * cores:
            ours = max(r.shares["generator"] + r.shares["target"] for r in runs)
            sentences.append(
                f"With {what} everything together took {max(total) / cores:.0%} of {cores} cores, generator and target "
                f"{ours:.0%} of one: the machine was full, and with cores of its own the server would do more."
            )
        sentences += busy(what, runs)
    return sentences


def mission_run(bench: Bench, events: int, *, session: bool, delay_seconds: float = 0.0) -> Rival:
    """The loop that the mission begins with, against a target that answers after a while."""
    run = bench.begin(events, delay_seconds=delay_seconds)
    load = MissionLoad(f"http://127.0.0.1:{bench.target_port}/", run, events, session)
    started, _, cpu = bench.mission.ask(load)
    bench.wait_received(events)
    received = bench.received("the mission's loop")
    return Rival(events / (received.last_at - started), cpu / events * 1e6)


def _commits(bench: Bench) -> Commits:
    told = bench.server.metrics()
    return Commits(
        *(
            round(told[f"posthouse_{name}"])
            for name in (
                "publish_batch_events_sum",
                "publish_batch_events_count",
                "journal_batch_results_sum",
                "journal_batch_results_count",
            )
        )
    )


def floor_run(bench: Bench, count: int) -> Floor:
    """A run of the floor: bare sends to the target, then bare inserts."""
    run = bench.begin(count)
    _, sending = bench.floor.ask(Send(bench.target_port, run, count))
    bench.wait_received(count)
    bench.received("the floor's sender")
    inserting, postgres = bench.floor.ask(Insert(count))
    return Floor(*(seconds / count * 1e6 for seconds in (sending, inserting, postgres)))
