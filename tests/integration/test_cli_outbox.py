"""`posthouse relay` asks the server before it says that it works."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Served, rows, run, running, served

from posthouse_sdk.outbox import emit

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        assert run("apps", "create", "--uid", "acme", **found.reach).returncode == 0
        yield found


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    """Of an outbox in which nothing waits yet."""
    dsn = f"sqlite:///{tmp_path / 'shop.db'}"
    (tmp_path / "shop.db").touch()
    assert run("outbox", "install", "--dsn", dsn).returncode == 0
    return dsn


def test_it_knows_that_the_server_takes_its_key_before_it_works(server: Served, dsn: str) -> None:
    with running("relay", "--dsn", dsn, **server.reach) as relay:
        relay.until(rf"(?s)the server at {server.reach['POSTHOUSE_URL']} answers, and takes this key.*relay \S+ works")


def test_a_key_that_may_only_publish_is_all_it_needs(server: Served, dsn: str) -> None:
    key = run("keys", "create", "--scope", "publish", **server.reach).stdout.strip()
    assert run("event-types", "create", "order.created", **server.reach).returncode == 0
    with sqlite3.connect(dsn.removeprefix("sqlite:///")) as database:
        emit(database, "order.created", {"id": 1})
        emit(database, "order.created", {"id": 2}, app="acme")
    with running("relay", "--dsn", dsn, POSTHOUSE_URL=server.reach["POSTHOUSE_URL"], POSTHOUSE_KEY=key) as relay:
        relay.until("answers, and takes this key")
        while rows(run("outbox", "status", "--dsn", dsn))[0]["pending"]:
            time.sleep(0.05)
    assert rows(run("outbox", "status", "--dsn", dsn))[0]["dead"] == 0
    assert len(rows(run("events", "list", "--app", "acme", **server.reach))) == 1


def test_a_server_that_does_not_answer_is_told_first_and_waited_for(dsn: str) -> None:
    with running("relay", "--dsn", dsn, POSTHOUSE_URL=UNREACHABLE, POSTHOUSE_KEY="ph_x") as relay:
        relay.until(
            rf"(?s)no server at {UNREACHABLE} [^\n]*waits in the outbox until the server takes it.*relay \S+ works"
        )


def test_a_key_that_the_server_does_not_take_ends_it(server: Served, dsn: str) -> None:
    url = server.reach["POSTHOUSE_URL"]
    told = run("relay", "--dsn", dsn, POSTHOUSE_URL=url, POSTHOUSE_KEY="ph_other")
    assert (told.returncode, "not known" in told.stderr, "works" in told.stderr) == (3, True, False), told.stderr
    app = run("keys", "create", "--name", "x", "--app", "acme", **server.reach).stdout.strip()
    told = run("relay", "--dsn", dsn, POSTHOUSE_URL=url, POSTHOUSE_KEY=app)
    assert (told.returncode, "scope publish" in told.stderr, "works" in told.stderr) == (3, True, False), told.stderr
    bound = run("keys", "create", "--scope", "publish", "--app", "acme", **server.reach).stdout.strip()
    told = run("relay", "--dsn", dsn, POSTHOUSE_URL=url, POSTHOUSE_KEY=bound)
    assert (told.returncode, "of its app" in told.stderr, "works" in told.stderr) == (3, True, False), told.stderr
