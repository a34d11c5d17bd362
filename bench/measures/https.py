"""How much goes through to targets that speak TLS, over kept connections; beside the journey floor that speaks it too.

The certificate authority is made for the run, and given to the server as an operator would give it its own: certificates
are verified as always. On an empty platform, since the server has to be started with that authority.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import trustme

from bench.figures import Figure, Report, interleaved
from bench.harness import CONNECTIONS, OURS, Bench, Journey, Run, Worker, busy
from bench.measures.throughput import Floor, floor_run
from bench.programs import target
from bench.scale import Scale

HOST: Final = "127.0.0.1"


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    authority, certificate = certify(bench.folder)
    tls = Worker(target.run_https)
    try:
        port: int = tls.ask(str(certificate))
        bench.renew({"POSTHOUSE_CA_FILE": str(authority)})
        journey = Journey(port, ca_file=authority)
        try:
            _measure(bench, scale, report, tls, f"https://{HOST}:{port}", journey)
        finally:
            journey.stop()
    finally:
        tls.stop(("stop",))


def certify(folder: Path) -> tuple[Path, Path]:
    """Make a certificate authority and a target's certificate: the authority's file, and that of key and certificate."""
    authority, certificate = folder / "authority.pem", folder / "target.pem"
    made = trustme.CA()
    made.cert_pem.write_to_path(str(authority))
    made.issue_cert(HOST).private_key_and_cert_chain_pem.write_to_path(str(certificate))
    return authority, certificate


def _measure(bench: Bench, scale: Scale, report: Report, tls: Worker, url: str, journey: Journey) -> None:
    events = scale.events
    handshakes: list[int] = []

    def over_tls(through: Journey | None = None) -> Run:
        with bench.aimed_at(tls, url):
            return bench.measure("HTTPS", secure, events, through=through)

    def https_run() -> Run:
        before = tls.ask(("connections",))
        run = over_tls()
        handshakes.append(tls.ask(("connections",)) - before)
        return run

    with bench.aimed_at(tls, url):
        secure = bench.make_apps("https", scale.apps)
    bare = bench.make_apps("http", scale.apps)
    rounds = interleaved(
        scale.runs,
        {
            "https": https_run,
            "http": lambda: bench.measure("HTTP, beside HTTPS", bare, events),
            "journey": lambda: over_tls(journey),
            "floor": lambda: floor_run(bench, scale.floor_count),
        },
    )
    https, http, journeys = ([r for r in rounds[name] if isinstance(r, Run)] for name in ("https", "http", "journey"))
    floors = [r for r in rounds["floor"] if isinstance(r, Floor)]

    def add(name: str, samples: list[float], how: str, digits: int = 0) -> None:
        report.add(Figure(f"https_{name}", tuple(samples), how, digits))

    add("events_per_second", [r.per_second for r in https],
        f"{events:,} events, certificates verified, {CONNECTIONS} connections, first publish to last receipt")  # fmt: skip
    add("over_http_ratio", [s.per_second / p.per_second for s, p in zip(https, http, strict=True)],
        "events/s over those of the same platform to HTTP targets, run by run", 2)  # fmt: skip
    add("cpu_us_per_delivery", [r.cpu_us for r in https], "the server's process", 1)
    add("pg_cpu_us_per_delivery", [r.postgres_us for r in https], "all of PostgreSQL", 1)
    add("floor_ratio", [r.all_us / f.total for r, f in zip(https, floors, strict=True)],
        "all CPU of a delivery over the floor's (bare send without TLS, bare insert), run by run", 2)  # fmt: skip
    add("journey_floor_us_per_delivery", [j.all_us for j in journeys], "the journey floor to the same HTTPS target", 1)
    add("journey_floor_per_second", [j.per_second for j in journeys], "events/s of that program")
    add("journey_floor_ratio", [r.all_us / j.all_us for r, j in zip(https, journeys, strict=True)],
        "all CPU of a delivery over the journey floor's over TLS, run by run", 2)  # fmt: skip
    add(
        "handshakes",
        [float(count) for count in handshakes[1:]],
        "TLS handshakes in each of those runs; all else is kept alive",
    )
    for name in (*OURS, "others"):
        add(f"{name}_load", [r.shares[name] for r in https], "share of one core", 2)
    for sentence in busy("HTTPS targets", https):
        report.remark(sentence)
