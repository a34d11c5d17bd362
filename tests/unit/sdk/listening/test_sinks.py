"""Where events wait: durable in a file or an outbox, or in memory; what is told of what is lost, and what a process leaves."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy.orm
from tests.answering import DROP, HANG, Answer, Answering, Asked, answering, problem

from posthouse_sdk import ConfigurationError
from posthouse_sdk.listening import Listener, Memory, Miss, Outbox, Rule, Spool
from posthouse_sdk.listening import writer as writing
from posthouse_sdk.listening.observation import Head, Observation, Occurrence
from posthouse_sdk.listening.rules import Made
from posthouse_sdk.listening.sink import Sink
from posthouse_sdk.listening.spool_file import SpoolFile
from posthouse_sdk.listening.writer import Writer
from posthouse_sdk.outbox.row import NewRow
from posthouse_sdk.outbox.schema import statements
from posthouse_sdk.publishing.errors import BufferFullError, ClosedError, EventError

PATIENCE_SECONDS = 30
RULE = Rule("POST", "/orders", "order_create", data="none", name="orders")


def until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def occurrence(n: object, **made: Any) -> Occurrence:
    fields = {"type": "order_create", "data": {"n": n}, "subject": None, "key": None, "app": None} | made
    return Occurrence("orders", Made(**fields), f"key-{n}")


@contextmanager
def listening(sink: Sink) -> Iterator[tuple[Listener, list[Miss]]]:
    """A listener on it, started, and what it is told."""
    told: list[Miss] = []
    listener = Listener([RULE], sink, on_error=told.append)
    listener.start()
    try:
        yield listener, told
    finally:
        listener.close(0.1)


def rows(path: Path, table: str = "posthouse_outbox") -> list[Any]:
    with closing(sqlite3.connect(path, timeout=10)) as connection:
        return connection.execute(
            f"SELECT uid, type, subject, event_key, app, data FROM {table} ORDER BY id"
        ).fetchall()


# The spool


def test_what_is_put_is_in_the_file_when_it_is_said_so(tmp_path: Path) -> None:
    path = tmp_path / "shop.spool"
    spool = Spool(path, relays=False)
    with listening(spool):
        durable = spool.put(occurrence(1, subject="s", key="k", app="a"))
        assert durable.result(PATIENCE_SECONDS) is True
        assert rows(path) == [("key-1", "order_create", "s", "k", "a", '{"n":1}')]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        held = spool.held()
        assert (held.queued, held.set_aside, held.reason) == (1, 0, "")


def occurrence_key(event: dict[str, Any]) -> str:
    return str(event["idempotency_key"])


def test_it_is_published_with_its_key_however_often_it_is_tried(tmp_path: Path) -> None:
    with answering(503, DROP, 202) as server:
        spool = Spool(tmp_path / "x", url=server.url, api_key="k")
        with listening(spool) as (listener, told):
            spool.put(occurrence(1, subject="s", app=None))
            until(lambda: listener.gauges().published == 1, "the event to be published")
            assert {occurrence_key(event) for event in server.events} == {"key-1"}
            assert len(server.events) == 3
            assert listener.gauges().queued == 0
            assert told == []


def test_what_is_left_is_published_by_the_next_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "x", relays=False)
    with listening(spool):
        for n in range(5):
            spool.put(occurrence(n))
    with answering() as server, listening(Spool(tmp_path / "x", url=server.url, api_key="k")) as (listener, _):
        until(lambda: listener.gauges().published == 5, "all of them")
        assert [event["data"]["n"] for event in server.events] == list(range(5))
    assert rows(tmp_path / "x") == []


def test_closing_publishes_what_waits_while_all_goes_well(tmp_path: Path) -> None:
    with answering() as server:
        spool = Spool(tmp_path / "x", url=server.url, api_key="k")
        listener = Listener([RULE], spool)
        for _ in range(2):
            listener.start()
            for n in range(20):
                spool.put(occurrence(n))
            listener.close(PATIENCE_SECONDS)
            assert rows(tmp_path / "x") == []
            with pytest.raises(ClosedError):
                spool.put(occurrence(1))
        assert len(server.events) == 40
        with closing(sqlite3.connect(tmp_path / "x")) as connection:
            assert connection.execute("SELECT owner FROM posthouse_outbox_lease").fetchall() == [(None,)]


@contextmanager
def answering_later() -> Iterator[tuple[Answering, threading.Event]]:
    """A server that answers once the event is set."""
    opened = threading.Event()

    def step(_: Asked) -> int:
        assert opened.wait(PATIENCE_SECONDS)
        return 202

    with answering(step) as server:
        yield server, opened


@pytest.mark.parametrize("when", ["waits", "stops"])
def test_a_request_while_it_closes_begins_anew(when: str, tmp_path: Path) -> None:
    """Of an application that shares the listener: the relay is still at its last request, to be stopped or stopping."""
    with answering_later() as (server, opened):
        spool = Spool(tmp_path / "x", url=server.url, api_key="k")
        with listening(spool) as (listener, told):
            spool.put(occurrence(1))
            server.wait_for(1)
            closing_it = threading.Thread(target=listener.close, args=(PATIENCE_SECONDS if when == "waits" else 1.0,))
            closing_it.start()
            relay = spool._relay
            assert relay is not None
            stage = (lambda: spool._writer._closed) if when == "waits" else relay._stopping.is_set
            until(stage, "it to be closed so far")
            listener.find("POST", "/orders")
            opened.set()
            closing_it.join(PATIENCE_SECONDS)
            assert not closing_it.is_alive()
            spool.put(occurrence(2))
            until(lambda: listener.gauges().published == 2, "the later one to be published")
            assert told == []


def test_a_relay_that_did_not_end_in_time_begins_anew_as_it_ends(tmp_path: Path) -> None:
    with answering_later() as (server, opened):
        spool = Spool(tmp_path / "x", url=server.url, api_key="k")
        with listening(spool) as (listener, _):
            spool.put(occurrence(1))
            server.wait_for(1)
            listener.close(0.05)
            listener.find("POST", "/orders")
            spool.put(occurrence(2))
            opened.set()
            until(lambda: listener.gauges().published == 2, "the later one to be published")


def test_closing_does_not_wait_for_a_server_that_is_away(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "x", url="http://127.0.0.1:1", api_key="k")
    listener = Listener([RULE], spool)
    listener.start()
    spool.put(occurrence(1)).result(PATIENCE_SECONDS)
    until(lambda: spool._relay is not None and spool._relay.gauges.failing_since is not None, "the relay to fail")
    began = time.monotonic()
    listener.close(PATIENCE_SECONDS)
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    assert len(rows(tmp_path / "x")) == 1


def test_what_the_server_refuses_is_set_aside(tmp_path: Path) -> None:
    def refuses(asked: Asked) -> Any:
        return problem(422, "schema_mismatch", path="data.n") if asked.events[0]["data"]["n"] == "x" else 202

    with answering(refuses) as server:
        spool = Spool(tmp_path / "x", url=server.url, api_key="k")
        with listening(spool) as (listener, _):
            spool.put(occurrence("x")).result(PATIENCE_SECONDS)
            until(lambda: listener.gauges().set_aside == 1, "the refused one to be set aside")
            spool.put(occurrence(1))
            until(lambda: listener.gauges().published == 1, "the other one")


def test_a_clients_retry_that_waits_beside_its_first_try_goes_too(tmp_path: Path) -> None:
    """A server refuses a batch in which a key is there twice; one after the other they are one event."""

    def strict(asked: Asked) -> Any:
        return problem(422, "duplicate_key") if len(set(asked.keys)) < len(asked.keys) else 202

    spool = Spool(tmp_path / "x", relays=False)
    with listening(spool):
        for n in (1, 1, 2):
            spool.put(occurrence(n))
    with answering(strict) as server, listening(Spool(tmp_path / "x", url=server.url, api_key="k")) as (listener, _):
        until(lambda: listener.gauges().published == 3, "all of them")
        assert rows(tmp_path / "x", "posthouse_outbox_dead") == []
        assert {"key-1", "key-2"} == {occurrence_key(event) for event in server.events}


def test_of_several_processes_one_relays(tmp_path: Path) -> None:
    with answering() as server:
        spools = [Spool(tmp_path / "x", url=server.url, api_key="k", lease_seconds=0.5) for _ in range(2)]
        with listening(spools[0]) as (first, _), listening(spools[1]) as (second, _):
            for n in range(10):
                spools[n % 2].put(occurrence(n))
            until(lambda: first.gauges().published + second.gauges().published == 10, "all of them")
            assert first.gauges().queued == second.gauges().queued == 0
        assert sorted(event["data"]["n"] for event in server.events) == list(range(10))


def test_a_file_that_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "x"
    spool = Spool(path, relays=False)
    with listening(spool):
        spool.put(occurrence(1)).result(PATIENCE_SECONDS)
        for name in ("x", "x-wal", "x-shm"):
            (tmp_path / name).unlink(missing_ok=True)
        assert spool.held().queued == 0
        spool.put(occurrence(2)).result(PATIENCE_SECONDS)
        assert [row[0] for row in rows(path)] == ["key-2"]


def test_a_full_spool_takes_no_more_until_there_is_room(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path / "x", relays=False, bytes_max=1024 * 1024)
    with listening(spool) as (listener, _):
        text = "x" * 200_000
        written = [spool.put(occurrence(n, data=text)) for n in range(10)]
        until(lambda: bool(listener.gauges().reason), "it to be full")
        assert "full" in listener.gauges().reason
        assert listener.hold_seconds == 0, "no answer waits for what will not come"
        assert not written[-1].done()
        assert 0 < sum(durable.done() for durable in written) < 10 or not written[0].done()
        with closing(sqlite3.connect(tmp_path / "x", timeout=10)) as connection, connection:
            connection.execute("DELETE FROM posthouse_outbox")
        spool._file._bytes_max *= 10
        assert written[-1].result(PATIENCE_SECONDS) is True
        until(lambda: not listener.gauges().reason, "it to be well")
    assert "events cannot be stored, trying again: OperationalError: database or disk is full" in caplog.text


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"no database, but a file of another kind" * 100)
    spool = Spool(path, relays=False)
    with listening(spool) as (listener, told):
        spool.put(occurrence(1))
        until(lambda: "not a database" in listener.gauges().reason, "the reason")
        listener.close(0.2)
        assert [(miss.reason, miss.rule) for miss in told] == [("unsent", "orders")]
        assert "DatabaseError" in told[0].detail
        assert listener.gauges().dropped == 1


def test_a_relay_that_cannot_begin_says_so_and_begins_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"no database, but a file of another kind" * 100)
    with answering() as server:
        spool = Spool(path, url=server.url, api_key="k")
        with listening(spool) as (listener, _):
            until(lambda: "not a database" in listener.gauges().reason, "the reason")
            path.unlink()
            spool.put(occurrence(1))
            until(lambda: listener.gauges().published == 1, "the event")
            until(lambda: listener.gauges().reason == "", "it to be well")


@pytest.mark.parametrize("fsync", [True, False])
def test_it_is_as_durable_as_it_says(tmp_path: Path, fsync: bool) -> None:
    file = SpoolFile(tmp_path / "x", fsync=fsync, bytes_max=2**20)
    connection = file._connect()
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2 if fsync else 1,)
    connection.close()


def test_a_file_that_sqlite_has_open_is_never_closed_by_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """POSIX: whoever closes a file takes away all locks that the process has on it, SQLite's too."""
    closed: list[int] = []
    close = os.close

    def noted(descriptor: int) -> None:
        closed.append(descriptor)
        close(descriptor)

    monkeypatch.setattr(os, "close", noted)
    for _ in range(3):
        SpoolFile(tmp_path / "x", fsync=True, bytes_max=2**20).make()
    assert len(closed) == 1, "as it was made"


def test_without_a_server_it_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POSTHOUSE_URL", "POSTHOUSE_API_KEY", "POSTHOUSE_KEY"):
        monkeypatch.delenv(name, raising=False)
    Spool(tmp_path / "x")  # in tests, as every hub
    monkeypatch.setattr("posthouse_sdk.publishing.recording.lenient", False)
    with pytest.raises(ConfigurationError, match=r"set POSTHOUSE_URL .*; or relays=False, and `posthouse relay`"):
        Spool(tmp_path / "x")
    Spool(tmp_path / "x", relays=False)


# The writer


class Rows:
    """Keeps what it is given, as it is told to."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.written: list[NewRow] = []
        self.batches: list[int] = []
        self.failures = 0
        self.go_on = threading.Event()
        self.go_on.set()
        self.closed = 0

    def write(self, rows: Sequence[NewRow]) -> None:
        self.go_on.wait(PATIENCE_SECONDS)
        self.batches.append(len(rows))
        if self.failures:
            self.failures -= 1
            raise OSError("no")
        self.written += rows

    def close(self) -> None:
        self.closed += 1

    def close_all(self) -> None: ...

    def forked(self, *, is_closed: bool) -> None: ...


def row(n: int, data: str = "{}") -> NewRow:
    return NewRow(str(n), "t", None, None, None, data, None)


def test_one_commit_serves_all_that_wait() -> None:
    kept = Rows()
    kept.go_on.clear()
    writer = Writer(kept)
    durables = [writer.put("r", row(n)) for n in range(writing.ROWS_MAX + 10)]
    kept.go_on.set()
    assert all(durable.result(PATIENCE_SECONDS) for durable in durables)
    assert [one.uid for one in kept.written] == [str(n) for n in range(len(durables))], "in order"
    assert max(kept.batches) <= writing.ROWS_MAX
    assert len(kept.batches) <= 4
    writer.close(PATIENCE_SECONDS, lambda _: None)
    assert kept.closed == 1


def test_what_fails_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "BACKOFF_SECONDS", 0.001)
    kept = Rows()
    kept.failures = 3
    writer = Writer(kept)
    assert writer.put("r", row(1)).result(PATIENCE_SECONDS) is True
    assert len(kept.batches) == 4
    until(lambda: writer.reason == "", "it to be well")
    writer.close(PATIENCE_SECONDS, lambda _: None)


@pytest.mark.parametrize("limit", ["QUEUE_EVENTS_MAX", "QUEUE_BYTES_MAX"])
def test_memory_is_bounded(limit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, limit, 2 if limit == "QUEUE_EVENTS_MAX" else 2 * (writing.ROW_BYTES + 2))
    kept = Rows()
    kept.go_on.clear()
    writer = Writer(kept)
    for n in range(2):
        writer.put("r", row(n))
    with pytest.raises(BufferFullError, match="2 events wait to be stored"):
        writer.put("r", row(2))
    assert writer.waiting()[0] == 2
    kept.go_on.set()
    until(lambda: writer.waiting() == (0, 0.0), "room")
    writer.put("r", row(3))
    writer.close(PATIENCE_SECONDS, lambda _: None)
    assert len(kept.written) == 3


def test_what_is_opened_while_it_closes_goes_on() -> None:
    kept = Rows()
    writer = Writer(kept)
    told: list[Miss] = []
    with kept.lock:
        first = writer.put("r", row(1))
        closing_it = threading.Thread(target=writer.close, args=(PATIENCE_SECONDS, told.append))
        closing_it.start()
        until(lambda: writer._closed, "it to close")
        writer.open()
        second = writer.put("r", row(2))
        closing_it.join(PATIENCE_SECONDS / 2)
        assert not closing_it.is_alive(), "it waits for nothing any more"
    assert [first.result(PATIENCE_SECONDS), second.result(PATIENCE_SECONDS)] == [True, True]
    assert told == []
    writer.close(PATIENCE_SECONDS, told.append)


def test_what_cannot_be_written_in_time_is_told() -> None:
    kept = Rows()
    kept.failures = 10**6
    writer = Writer(kept)
    durable = writer.put("r", row(1))
    told: list[Miss] = []
    until(lambda: bool(kept.batches), "a try")
    writer.close(0.01, told.append)
    assert [(miss.reason, miss.rule, miss.type) for miss in told] == [("unsent", "r", "t")]
    assert durable.result(0) is False
    writer.open()
    kept.failures = 0
    assert writer.put("r", row(2)).result(PATIENCE_SECONDS) is True
    writer.close(PATIENCE_SECONDS, told.append)
    assert [one.uid for one in kept.written] == ["2"]


# An outbox of the application's own


@pytest.mark.parametrize("kind", ["sqlite3", "engine", "session"])
def test_an_outbox_of_the_applications_own(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        for statement in statements("sqlite"):
            connection.execute(statement)
    engine = sqlalchemy.create_engine(f"sqlite:///{path}")
    made: list[Any] = []
    connect: dict[str, Callable[[], Any]] = {
        "sqlite3": lambda: sqlite3.connect(path),
        "engine": engine.connect,
        "session": sqlalchemy.orm.sessionmaker(engine),
    }

    def counted() -> Any:
        made.append(kind)
        return connect[kind]()

    outbox = Outbox(counted)
    with listening(outbox) as (listener, told):
        for n in range(3):
            assert outbox.put(occurrence(n, subject="s")).result(PATIENCE_SECONDS) is True
        assert [row[0] for row in rows(path)] == ["key-0", "key-1", "key-2"]
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("ALTER TABLE posthouse_outbox RENAME TO away")
        durable = outbox.put(occurrence(3))
        until(lambda: "posthouse_outbox" in listener.gauges().reason, "the reason")
        assert listener.gauges().queued == 1
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("ALTER TABLE away RENAME TO posthouse_outbox")
        assert durable.result(PATIENCE_SECONDS) is True
        assert told == []
    assert len(made) > 1, "a connection that failed is replaced"
    engine.dispose()


# Memory


def test_memory_publishes_with_the_key_of_the_event() -> None:
    with answering(503, 202) as server:
        memory = Memory(url=server.url, api_key="k")
        with listening(memory) as (listener, told):
            memory.put(occurrence(1, subject="s", key="k", app="a"))
            until(lambda: listener.gauges().published == 1, "the event")
            assert {occurrence_key(event) for event in server.events} == {"key-1"}
            assert server.asked[0].path == "/v1/apps/a/events"
            assert server.events[0]["subject"] == "s"
            assert told == []
            assert listener.gauges().oldest_seconds == 0.0


def test_memory_tells_what_was_refused_and_what_had_no_room() -> None:
    released = threading.Event()

    def later(_: Asked) -> Answer:
        released.wait(PATIENCE_SECONDS)
        return problem(422, "schema_mismatch", "it does not fit")

    with answering(later) as server:
        memory = Memory(url=server.url, api_key="k", buffer_events=1)
        with listening(memory) as (listener, told):
            found = [occurrence(n) for n in range(2)]
            assert listener.take(found) is None
            assert [miss.reason for miss in told] == ["full"]
            assert listener.gauges().queued == 1
            assert listener.gauges().oldest_seconds > 0
            released.set()
            until(lambda: len(told) == 2, "the refusal")
            assert (told[1].reason, told[1].rule, told[1].type) == ("refused", "orders", "order_create")
            assert "it does not fit" in told[1].detail
            gauges = listener.gauges()
            assert (gauges.observed, gauges.dropped, gauges.failed) == (1, 2, 0)


def test_memory_begins_anew_after_it_was_closed() -> None:
    with answering() as server:
        memory = Memory(url=server.url, api_key="k")
        listener = Listener([RULE], memory)
        for n in range(2):
            assert listener.find("POST", "/orders")
            memory.put(occurrence(n))
            listener.close(PATIENCE_SECONDS)
        assert len(server.events) == 2


def test_memory_gives_up_what_the_server_did_not_take_in_time() -> None:
    with answering(HANG) as server:
        memory = Memory(url=server.url, api_key="k")
        with listening(memory) as (listener, told):
            memory.put(occurrence(1))
            server.wait_for(1)
            listener.close(0.01)
            assert [miss.reason for miss in told] == ["unsent"]


# What is no event


@pytest.mark.parametrize("memory", [True, False])
@pytest.mark.parametrize(
    "made",
    [{"type": "no type!"}, {"subject": "x" * 300}, {"data": float("nan")}, {"data": "x" * 2**21}, {"key": "\x00"}],
)
def test_what_is_no_event_is_told(made: dict[str, Any], memory: bool, tmp_path: Path) -> None:
    sink: Sink = Memory(url="http://127.0.0.1:1", api_key="k") if memory else Spool(tmp_path / "x", relays=False)
    with listening(sink) as (listener, told):
        try:
            sink.put(occurrence(1, **made))
        except EventError:
            assert listener.take([occurrence(1, **made)]) is None
            assert [miss.reason for miss in told] == ["invalid"]
        else:
            assert memory, "an outbox knows the server's limits"


# Processes

PROGRAM = """
import os, sys
from posthouse_sdk.listening import Listener, Memory, Rule, Spool
from posthouse_sdk.listening.observation import Occurrence
from posthouse_sdk.listening.rules import Made

def occurrence(n):
    return Occurrence("orders", Made("order_create", {"n": n}, None, None, None), f"key-{n}")

sink = Memory() if sys.argv[1] == "memory" else Spool(sys.argv[1])
listener = Listener([Rule("POST", "/orders", "order_create")], sink)
"""


def process(path: object, program: str, url: str) -> str:
    told = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROGRAM + program, str(path)],
        env=os.environ | {"POSTHOUSE_URL": url, "POSTHOUSE_API_KEY": "k"},
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return told.stderr


ONE_AND_EXIT = "listener.find('POST', '/orders')\nfor n in range(50): listener.take([occurrence(n)])\n"


def test_a_process_that_exits_leaves_nothing_in_memory(tmp_path: Path) -> None:
    """What it did not publish is in the file, and its lease is not in the way of the next one."""
    path = tmp_path / "x"
    assert process(path, ONE_AND_EXIT, "http://127.0.0.1:1") == ""
    assert len(rows(path)) == 50
    with answering() as server:
        process("memory", ONE_AND_EXIT, server.url)
        assert len(server.events) == 50


def test_a_process_that_relays_gives_its_lease_back_as_it_exits(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with answering() as server:
        program = (
            "listener.find('POST', '/orders')\nlistener.take([occurrence(1)])\n"
            "import time\nwhile not listener.gauges().published: time.sleep(0.005)\n"
        )
        process(path, program, server.url)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT owner FROM posthouse_outbox_lease").fetchall() == [(None,)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("kind", ["spool", "memory"])
def test_children_of_a_fork_listen_with_threads_of_their_own(kind: str, tmp_path: Path) -> None:
    """As workers of a server that loads the application first: also where the parent listened already."""
    path = tmp_path / "x" if kind == "spool" else "memory"
    program = (
        "import warnings\nwarnings.simplefilter('ignore', DeprecationWarning)\n"
        "import time\nlistener.find('POST', '/orders')\nlistener.take([occurrence('parent')])\n"
        "while not listener.gauges().published: time.sleep(0.005)\n"
        "children = []\n"
        "for worker in range(3):\n"
        "    child = os.fork()\n"
        "    if not child:\n"
        "        assert not sink.started\n"
        "        listener.find('POST', '/orders')\n"
        "        durable = listener.take([occurrence(worker)])\n"
        "        assert durable is None or durable.result(30)\n"
        "        sys.exit(0)\n"
        "    children.append(child)\n"
        "for child in children:\n"
        "    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0\n"
        "listener.close(30)\n"
    )
    with answering() as server:
        process(path, program, server.url)
        left = [] if kind == "memory" else [json_n(row[5]) for row in rows(tmp_path / "x")]
        # Twice is what a relay that died between the two makes of one: the key is the same.
        assert {str(event["data"]["n"]) for event in server.events} | set(left) == {"parent", "0", "1", "2"}


def json_n(data: str) -> str:
    import json

    return str(json.loads(data)["n"])


async def test_on_a_loop_an_answer_is_held_and_the_loop_is_not(tmp_path: Path) -> None:
    """While an answer waits for its event, others go on."""
    from posthouse_sdk.listening import AsgiListener

    kept = Rows()
    kept.go_on.clear()
    spool = Spool(tmp_path / "x", relays=False, hold_seconds=PATIENCE_SECONDS)
    spool._writer = Writer(kept)
    listener = Listener([RULE], spool)

    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 201, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    sent: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "method": "POST", "path": "/orders", "headers": [], "query_string": b""}
    task = asyncio.create_task(AsgiListener(app, listener)(scope, None, send))  # type: ignore[arg-type]
    while not spool._writer.waiting()[0]:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert sent == []
    kept.go_on.set()
    await task
    assert len(sent) == 2
    await asyncio.to_thread(listener.close)


def test_an_observation_is_taken_to_the_sink(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "x", relays=False)
    with listening(spool) as (listener, _):
        matches = listener.find("POST", "/orders")
        seen = listener.observe(Head("POST", "/orders", "", {}), matches)
        assert isinstance(seen, Observation)
        durable = listener.take(seen.start(204, {}))
        assert durable is not None
        assert durable.result(PATIENCE_SECONDS)
    assert len(rows(tmp_path / "x")) == 1
