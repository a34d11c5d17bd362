"""Checks of the database, and of what is in it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from posthouse.domain.limits import CONNECTIONS_PER_PROCESS
from posthouse.manage.diagnose.findings import Check, Finding, Thresholds, Verdict, fail, ok, skipped, warn
from posthouse.ports.diagnosis import DatabaseFacts, Facts, Trouble

DATABASE_MAJOR_MIN: Final = 15


def database(facts: Facts, _: Thresholds) -> list[Finding]:
    match facts.database:
        case Trouble(told=told):
            return fail("database", told, "nothing of the database was checked; put this right and look again")
        case DatabaseFacts(version=found, where=where, settings=settings):
            if int(found.partition(".")[0]) < DATABASE_MAJOR_MIN:
                return fail(
                    "database",
                    f"{where} is PostgreSQL {found}",
                    f"upgrade it to PostgreSQL {DATABASE_MAJOR_MIN} or newer, or use the embedded one",
                )
            if settings is not None and settings.get("transaction_read_only") == "on":
                return fail(
                    "database",
                    f"PostgreSQL {found} answers and takes no writes ({where})",
                    "it is a standby: name the primary in POSTHOUSE_DATABASE_URL; or default_transaction_read_only is on",
                )
            return ok("database", f"PostgreSQL {found} answers ({where})")


def _of_database(check: str, judge: Callable[[DatabaseFacts, Facts, Thresholds], list[Finding] | None]) -> Check:
    """A check that needs the database; `judge` answers None where its facts could not be had."""

    def run(facts: Facts, at: Thresholds) -> list[Finding]:
        if isinstance(facts.database, Trouble):
            return skipped(check, "the database was not reached")
        found = judge(facts.database, facts, at)
        return skipped(check, "the schema is not there, or not this program's") if found is None else found

    return run


def _migrations(found: DatabaseFacts, _: Facts, __: Thresholds) -> list[Finding]:
    if found.schema_trouble is not None:
        return fail("migrations", found.schema_trouble, "until then no server of this version starts on it")
    if found.pending_migrations:
        return fail(
            "migrations",
            f"{len(found.pending_migrations)} pending: {', '.join(found.pending_migrations)}",
            "run `posthouse migrate`, or start the server, which does it too",
        )
    return ok("migrations", "the schema is this program's")


def _clock(found: DatabaseFacts, _: Facts, at: Thresholds) -> list[Finding] | None:
    if found.ahead_seconds is None:
        return None
    off = abs(found.ahead_seconds)
    told = f"this machine's clock is {off:.1f} s {'ahead of' if found.ahead_seconds > 0 else 'behind'} the database's"
    advice = "let both keep time by NTP; ids and signatures carry the time"
    if off > at.skew_fail_seconds:
        return fail("clock", told, advice)
    return warn("clock", told, advice) if off > at.skew_warn_seconds else ok("clock", told)


def _snapshots(found: DatabaseFacts, _: Facts, at: Thresholds) -> list[Finding] | None:
    if found.snapshots is None:
        return None
    findings = []
    for session in found.snapshots:
        limit = at.idle_warn_seconds if session.idle_in_transaction else at.snapshot_warn_seconds
        if session.seconds > limit:
            what = "sits idle in a transaction" if session.idle_in_transaction else "holds a snapshot"
            findings.append(
                Finding(
                    "snapshots",
                    Verdict.FAIL if session.seconds > at.snapshot_fail_seconds else Verdict.WARN,
                    f"session {session.pid} ({session.program or 'no name'}, user {session.user}) {what} since "
                    f"{session.seconds:.0f} s",
                    f"end it: SELECT pg_terminate_backend({session.pid}); meanwhile PostgreSQL prunes nothing and "
                    "publishing slows down",
                )
            )
    oldest = max((session.seconds for session in found.snapshots), default=0.0)
    return findings or ok("snapshots", f"the oldest snapshot is {oldest:.0f} s old")


def _days(found: DatabaseFacts, _: Facts, __: Thresholds) -> list[Finding] | None:
    if found.missing_days is None:
        return None
    if not found.missing_days:
        return ok("days", "the tables of today and the coming days are there")
    names = [name for tables in found.missing_days.values() for name in tables]
    told = f"missing: {', '.join(names[:4])}{' …' if len(names) > 4 else ''}"
    advice = "a running server makes them within the hour; its log says what keeps it from that"
    # Without today's or tomorrow's, publishing stops at midnight at the latest.
    return (fail if min(found.missing_days) <= 1 else warn)("days", told, advice)


def _partitions(found: DatabaseFacts, facts: Facts, at: Thresholds) -> list[Finding] | None:
    if found.leases is None:
        return None
    findings = []
    lost = [lease.partition for lease in found.leases if lease.lost]
    if lost:
        findings.append(
            Finding(
                "partitions",
                Verdict.FAIL,
                f"halted, since the log has a gap: {_numbers(lost)}",
                "part of the log is missing (a failover, a restored backup?); restore the database as a whole",
            )
        )
    stuck = [lease for lease in found.leases if lease.waiting_seconds > at.waiting_fail_seconds and not lease.lost]
    ownerless = [lease.partition for lease in found.leases if not lease.live]
    if stuck and facts.server.who == "posthouse":
        longest = max(lease.waiting_seconds for lease in stuck)
        findings.append(
            Finding(
                "partitions",
                Verdict.FAIL,
                f"events wait to be dispatched since {longest:.0f} s: {_numbers([lease.partition for lease in stuck])}",
                "the server's log says what holds these partitions",
            )
        )
    if ownerless:
        findings.append(
            Finding(
                "partitions",
                Verdict.WARN if facts.server.who == "nobody" and not stuck else Verdict.FAIL,
                f"{len(ownerless)} of {len(found.leases)} have no owner: {_numbers(ownerless)}",
                "no server runs, or it lost its database: start one, or look at its log",
            )
        )
    if (shared := _shared(found.processes or 0, len(found.leases), facts)) is not None:
        findings.append(shared)
    return findings or ok("partitions", f"all {len(found.leases)} have an owner, and none lags behind")


def _shared(processes: int, partitions: int, facts: Facts) -> Finding | None:
    """Whether as many processes share the partitions as should, and as can."""
    if processes > partitions:
        return Finding(
            "partitions",
            Verdict.WARN,
            f"{processes} processes share {partitions} partitions: {processes - partitions} of them deliver nothing",
            "start fewer (--workers); an installation keeps the partitions that it was made with (POSTHOUSE_PARTITIONS)",
        )
    if facts.owns and facts.server.who == "posthouse" and processes < facts.workers:
        return Finding(
            "partitions",
            Verdict.WARN,
            f"{processes} of {facts.workers} processes deliver",
            "the others may be starting; else the server's log says why they end",
        )
    return None


def _log(found: DatabaseFacts, _: Facts, at: Thresholds) -> list[Finding] | None:
    if found.rewinds is None:
        return None
    lately = [rewind for rewind in found.rewinds if rewind.seconds <= at.rewound_warn_seconds]
    if not lately:
        return ok("log", "it has not lost its end")
    hours = lately[0].seconds / 3600
    return warn(
        "log",
        f"it had lost its end {hours:.1f} h ago: {_numbers(sorted({p for one in lately for p in one.partitions}))}",
        "events that were accepted just before that failover are gone; publish them again (docs/en/operate/postgresql.md)",
    )


def _backlog(found: DatabaseFacts, _: Facts, at: Thresholds) -> list[Finding] | None:
    if found.backlog is None:
        return None
    owed = found.backlog
    if owed.overdue:
        return warn(
            "backlog",
            f"{owed.overdue} or more of {owed.rows} owed deliveries are overdue, the longest by {owed.overdue_seconds:.0f} s",
            "no server runs, or targets are slower than what is owed to them: `posthouse deliveries list`",
        )
    told = f"{owed.rows} deliveries are owed" + (
        f", the oldest event is {owed.oldest_seconds / 3600:.1f} h old" if owed.rows else ""
    )
    if owed.rows > at.backlog_warn_rows:
        return warn("backlog", told, "see which endpoints fail: `posthouse attempts list --outcome failed`")
    return ok("backlog", told)


def _vacuum(found: DatabaseFacts, _: Facts, at: Thresholds) -> list[Finding] | None:
    if found.vacuum is None:
        return None
    table = found.vacuum
    if not table.on:
        return fail(
            "vacuum",
            "autovacuum is off for the table delivery",
            "ALTER TABLE delivery RESET (autovacuum_enabled), and autovacuum = on; without it the backlog slows down",
        )
    told = f"delivery has {table.dead_rows} dead rows beside {table.live_rows}"
    if table.dead_rows > at.dead_rows_warn and table.dead_rows > 2 * table.live_rows:
        return warn("vacuum", told, "something holds vacuum back, most often an old snapshot; VACUUM delivery")
    return ok("vacuum", told)


def _durability(found: DatabaseFacts, _: Facts, __: Thresholds) -> list[Finding] | None:
    if found.settings is None:
        return None
    off = [name for name in ("fsync", "full_page_writes") if found.settings.get(name) == "off"]
    if off:
        return fail(
            "durability",
            f"{' and '.join(off)} {'is' if len(off) == 1 else 'are'} off",
            f"ALTER SYSTEM SET {off[0]} = on; SELECT pg_reload_conf(); a crash of the machine destroys the database",
        )
    if found.settings.get("synchronous_commit") == "off":
        return warn(
            "durability",
            "synchronous_commit is off by default",
            "Posthouse turns it on for itself, so its 202 holds; other programs on this database may lose commits",
        )
    return ok("durability", "commits are durable")


def _connections(found: DatabaseFacts, facts: Facts, at: Thresholds) -> list[Finding] | None:
    if found.settings is None or found.connections is None:
        return None
    most = int(found.settings["max_connections"])
    wanted = CONNECTIONS_PER_PROCESS * facts.workers
    whose = "a server" if facts.workers == 1 else f"a server of {facts.workers} processes"
    told = f"{found.connections} of {most} connections are in use, and {whose} takes up to {wanted}"
    # A server that runs has its own already.
    needed = 0 if facts.server.who == "posthouse" else wanted
    if most < wanted or found.connections + needed > most:
        fewer = "" if facts.workers == 1 else ", or start fewer processes (--workers)"
        return fail("connections", told, f"raise max_connections of PostgreSQL, and restart it{fewer}")
    if found.connections > most * at.connections_warn_share:
        return warn("connections", told, "raise max_connections of PostgreSQL, or end what holds them")
    return ok("connections", told)


def _master_key(found: DatabaseFacts, facts: Facts, _: Thresholds) -> list[Finding] | None:
    if found.secrets is None:
        return None
    if not found.secrets:
        return ok("master_key", "no secret is stored yet")
    if facts.master_key is not None:
        return fail("master_key", facts.master_key, "without it no stored secret can be read")
    findings = [
        Finding("master_key", Verdict.FAIL, why, "deliveries to the endpoints that it belongs to wait until it opens")
        for _, why in found.secrets
        if why is not None
    ]
    return findings or ok("master_key", f"opens what was sealed with {', '.join(key for key, _ in found.secrets)}")


def _numbers(partitions: list[int]) -> str:
    shown = ", ".join(map(str, partitions[:10]))
    return f"partition {shown}{' …' if len(partitions) > 10 else ''}"


CHECKS: Final[tuple[Check, ...]] = (
    database,
    _of_database("migrations", _migrations),
    _of_database("clock", _clock),
    _of_database("days", _days),
    _of_database("partitions", _partitions),
    _of_database("log", _log),
    _of_database("backlog", _backlog),
    _of_database("snapshots", _snapshots),
    _of_database("vacuum", _vacuum),
    _of_database("durability", _durability),
    _of_database("connections", _connections),
    _of_database("master_key", _master_key),
)
