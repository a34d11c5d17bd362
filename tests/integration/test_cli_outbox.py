"""`posthouse relay` asks the server before it says that it works."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Served, run, running, served

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        assert run("apps", "create", "--uid", "acme", **found.reach).returncode == 0
        yield found


@pytest.fixture
def dsn(tmp_path: Path) -> str:
    """Of an outbox in which nothing waits: nothing has to be published."""
    dsn = f"sqlite:///{tmp_path / 'shop.db'}"
    (tmp_path / "shop.db").touch()
    assert run("outbox", "install", "--dsn", dsn).returncode == 0
    return dsn


def test_it_knows_that_the_server_takes_its_key_before_it_works(server: Served, dsn: str) -> None:
    with running("relay", "--dsn", dsn, **server.reach) as relay:
        relay.until(rf"(?s)the server at {server.reach['POSTHOUSE_URL']} answers, and takes this key.*relay \S+ works")


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
    assert (told.returncode, "scope admin" in told.stderr, "works" in told.stderr) == (3, True, False), told.stderr
