"""Judgements of `posthouse doctor` over facts. The planted faults are in tests/integration/test_doctor.py."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from posthouse.manage.diagnose import CHECKS, Finding, Verdict, diagnose, exit_code
from posthouse.ports.diagnosis import (
    Backlog,
    DatabaseFacts,
    DirectoryFacts,
    Facts,
    FileFacts,
    GuardFacts,
    Lease,
    NameFacts,
    Rewind,
    ServerFacts,
    Snapshot,
    Trouble,
    Vacuum,
)

GIB = 1024**3
DATABASE = DatabaseFacts(
    where="postgresql://db/posthouse",
    version="18.4",
    installed=True,
    ahead_seconds=0.1,
    snapshots=(),
    missing_days={},
    leases=(Lease(0, True), Lease(1, True)),
    processes=1,
    rewinds=(Rewind(8 * 86_400.0, (0,)),),
    backlog=Backlog(0, 0.0, 0, 0.0),
    vacuum=Vacuum(True, 10, 100),
    settings={"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "max_connections": "100"},
    connections=10,
    secrets=(("0a0b0c0d", None),),
)
FACTS = Facts(
    posthouse_version="1.0",
    python_version=(3, 12, 1),
    platform="Linux x86_64",
    uid=1000,
    database=DATABASE,
    directory=DirectoryFacts(
        path="/data",
        folder=FileFacts(path="/data", mode=0o700, owner_uid=1000),
        keys=(FileFacts(path="/data/master.key", mode=0o600, owner_uid=1000),),
        free_bytes=50 * GIB,
        total_bytes=100 * GIB,
        holder_pid=42,
    ),
    server=ServerFacts("http://127.0.0.1:8080", "posthouse"),
    guard=GuardFacts(False, False, (), False),
    names=(NameFacts("example.com", None),),
    open_files_max=65_536,
    open_files_of="a process",
    sockets_max=1000,
    workers=1,
    owns=True,
    master_key=None,
)
DIRECTORY = FACTS.directory
assert DIRECTORY is not None


def judged(**changes: Any) -> dict[str, Finding]:
    """Facts that are well but for these; `db__x` changes the database's. The findings that are not ok, by check."""
    inner = {name.removeprefix("db__"): value for name, value in changes.items() if name.startswith("db__")}
    outer = {name: value for name, value in changes.items() if not name.startswith("db__")}
    if inner:
        outer["database"] = msgspec.structs.replace(DATABASE, **inner)
    findings = diagnose(msgspec.structs.replace(FACTS, **outer))
    return {finding.check: finding for finding in findings if finding.verdict is not Verdict.OK}


def in_directory(**changes: Any) -> DirectoryFacts:
    assert DIRECTORY is not None
    return msgspec.structs.replace(DIRECTORY, **changes)


def test_where_all_is_well_every_check_says_so() -> None:
    assert judged() == {}
    assert len(diagnose(FACTS)) == len(CHECKS)
    assert exit_code(diagnose(FACTS)) == 0


@pytest.mark.parametrize(
    ("check", "verdict", "changes"),
    [
        ("version", "fail", {"python_version": (3, 10, 0)}),
        ("server", "warn", {"server": ServerFacts("http://x", "nobody")}),
        ("server", "fail", {"server": ServerFacts("http://x", "other")}),
        ("server", "fail", {"server": ServerFacts("http://x", "posthouse", "the database does not answer")}),
        ("database", "fail", {"db__version": "14.9"}),
        ("migrations", "fail", {"db__pending_migrations": ("0002_x",)}),
        ("migrations", "fail", {"db__schema_trouble": "newer"}),
        ("clock", "warn", {"db__ahead_seconds": -3.0}),
        ("clock", "fail", {"db__ahead_seconds": 301.0}),
        ("days", "fail", {"db__missing_days": {1: ("event_20260102",)}}),
        ("days", "warn", {"db__missing_days": {2: ("event_20260103",)}}),
        ("partitions", "fail", {"db__leases": (Lease(0, False), Lease(1, True))}),
        ("partitions", "fail", {"db__leases": (Lease(0, True, 120.0), Lease(1, True))}),
        ("partitions", "fail", {"db__leases": (Lease(0, True, 0.0, True),)}),
        ("log", "warn", {"db__rewinds": (Rewind(3_600.0, (0, 1)), Rewind(8 * 86_400.0, (0,)))}),
        ("backlog", "warn", {"db__backlog": Backlog(5, 100.0, 5, 400.0)}),
        ("backlog", "warn", {"db__backlog": Backlog(100_001, 100.0, 0, 0.0)}),
        ("snapshots", "warn", {"db__snapshots": (Snapshot(1, "psql", "me", 61.0, False),)}),
        ("snapshots", "warn", {"db__snapshots": (Snapshot(1, "psql", "me", 11.0, True),)}),
        ("snapshots", "fail", {"db__snapshots": (Snapshot(1, "psql", "me", 901.0, False),)}),
        ("vacuum", "fail", {"db__vacuum": Vacuum(False, 0, 0)}),
        ("vacuum", "warn", {"db__vacuum": Vacuum(True, 1_000_000, 10)}),
        ("durability", "fail", {"db__settings": DATABASE.settings and DATABASE.settings | {"full_page_writes": "off"}}),
        (
            "durability",
            "warn",
            {"db__settings": DATABASE.settings and DATABASE.settings | {"synchronous_commit": "off"}},
        ),
        ("connections", "fail", {"db__settings": DATABASE.settings and DATABASE.settings | {"max_connections": "20"}}),
        ("connections", "warn", {"db__connections": 95}),
        ("connections", "fail", {"db__connections": 80, "server": ServerFacts("http://x", "nobody")}),
        ("connections", "fail", {"owns": False, "workers": 5}),
        ("partitions", "warn", {"db__processes": 3}),
        ("partitions", "warn", {"db__processes": 1, "workers": 2}),
        ("master_key", "fail", {"master_key": "there is no master key"}),
        ("master_key", "fail", {"db__secrets": (("0a0b0c0d", "does not open"),)}),
        (
            "key_files",
            "fail",
            {"directory": in_directory(keys=(FileFacts(path="/k", mode=0o640, owner_uid=1000),))},
        ),
        ("data_dir", "fail", {"directory": in_directory(folder=FileFacts(path="/data", mode=0o750, owner_uid=1000))}),
        ("data_dir", "fail", {"directory": in_directory(folder=FileFacts(path="/data", mode=0o710, owner_uid=1000))}),
        ("data_dir", "fail", {"directory": in_directory(folder=FileFacts(path="/data", mode=0o700, owner_uid=7))}),
        ("data_dir", "warn", {"directory": in_directory(folder=None)}),
        ("disk", "warn", {"directory": in_directory(free_bytes=4 * GIB)}),
        ("disk", "fail", {"directory": in_directory(free_bytes=GIB // 2)}),
        ("open_files", "fail", {"open_files_max": 1024}),
        ("guard", "warn", {"guard": GuardFacts(True, False, (), False)}),
        ("guard", "warn", {"guard": GuardFacts(False, True, (), False)}),
        ("guard", "fail", {"guard": GuardFacts(False, False, ("0.0.0.0/0",), True)}),
        ("dns", "warn", {"names": (NameFacts("a", None), NameFacts("b", "the name does not exist in DNS"))}),
        ("dns", "fail", {"names": (NameFacts("a", "refused", ours=True),)}),
        ("dns", "skipped", {"names": ()}),
    ],
)
def test_one_thing_wrong_is_one_finding(check: str, verdict: str, changes: dict[str, Any]) -> None:
    found = judged(**changes)
    others = {"server"} if "server" in changes else set()
    assert found.keys() - others == {check} - others or found.keys() == {check}
    assert found[check].verdict == verdict
    assert bool(found[check].advice) == (verdict != "skipped")


def test_of_several_processes_each_has_its_own_needs() -> None:
    assert judged(db__processes=2, workers=2) == {}
    assert judged(db__processes=0, workers=2, owns=False) == {}, "one that only answers takes no partitions"
    found = diagnose(msgspec.structs.replace(FACTS, workers=3, server=ServerFacts("http://x", "nobody")))
    told = {finding.check: finding for finding in found}
    assert "a server of 3 processes takes up to 75" in told["connections"].found
    assert "in each of 3 processes" in told["open_files"].found
    assert judged(workers=4, server=ServerFacts("http://x", "nobody"))["connections"].verdict is Verdict.FAIL


def test_without_a_database_nothing_of_it_is_judged() -> None:
    found = judged(database=Trouble("cannot be reached"))
    assert found["database"].verdict is Verdict.FAIL
    skipped = {check for check, finding in found.items() if finding.verdict is Verdict.SKIPPED}
    assert skipped >= {"migrations", "clock", "days", "partitions", "backlog", "master_key"}


def test_no_server_and_no_owner_is_a_warning_unless_events_wait() -> None:
    nobody = ServerFacts("http://x", "nobody")
    assert judged(server=nobody, db__leases=(Lease(0, False),))["partitions"].verdict is Verdict.WARN
    assert judged(server=nobody, db__leases=(Lease(0, False, 120.0),))["partitions"].verdict is Verdict.FAIL


def test_roots_data_directory_may_be_passed_through() -> None:
    folder = FileFacts(path="/data", mode=0o710, owner_uid=0)
    assert "data_dir" not in judged(uid=0, directory=in_directory(folder=folder))


@pytest.mark.parametrize(
    ("verdicts", "code"), [(["ok", "skipped"], 0), (["ok", "warn"], 6), (["warn", "fail", "ok"], 1), ([], 0)]
)
def test_exit_codes(verdicts: list[str], code: int) -> None:
    assert exit_code([Finding("x", Verdict(verdict), "") for verdict in verdicts]) == code
