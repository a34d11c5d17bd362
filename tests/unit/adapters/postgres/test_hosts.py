"""Of several hosts, the one that takes writes is found in time, and a machine that is gone is noticed."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
from tests.clusters import Clusters
from tests.making import new_owner

from posthouse.adapters.postgres import hosts
from posthouse.adapters.postgres.history import History, Timeline
from posthouse.adapters.postgres.hosts import Hosts, one_by_one, watch_over
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.limits import STORE_UNHEARD_SECONDS


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://u:p@db/posthouse",
        "postgresql://u:p@db:5433/posthouse?sslmode=require",
        "postgresql://u@/posthouse?host=/run/postgresql&port=5432",
        "postgresql://u@/posthouse?host=a,b&port=1,2,3",
    ],
)
def test_one_host_is_left_as_it_is(dsn: str) -> None:
    assert one_by_one(dsn) == [dsn]


def test_several_hosts_are_tried_one_by_one_for_one_that_takes_writes() -> None:
    first, second = map(urlsplit, one_by_one("postgresql://u:p%40@a:1,b/posthouse?sslmode=require"))
    assert (first.netloc, second.netloc) == ("u:p%40@a:1", "u:p%40@b")
    for parts in (first, second):
        assert parts.path == "/posthouse"
        assert parse_qs(parts.query) == {"sslmode": ["require"], "target_session_attrs": ["read-write"]}


def test_hosts_in_the_query_are_several_too() -> None:
    assert [parse_qs(urlsplit(dsn).query) for dsn in one_by_one("postgresql://u@/d?host=/run/a,b&port=1,2")] == [
        {"host": ["/run/a"], "port": ["1"], "target_session_attrs": ["read-write"]},
        {"host": ["b"], "port": ["2"], "target_session_attrs": ["read-write"]},
    ]
    assert [parse_qs(urlsplit(dsn).query)["port"] for dsn in one_by_one("postgresql://u@/d?host=a,b&port=7")] == [
        ["7"],
        ["7"],
    ]


def test_what_the_dsn_says_of_the_session_holds() -> None:
    for dsn in one_by_one("postgresql://u@a,b/d?target_session_attrs=any"):
        assert parse_qs(urlsplit(dsn).query) == {"target_session_attrs": ["any"]}


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that takes connections and says nothing: a server that hangs, or a machine that is gone."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


async def test_a_host_that_says_nothing_does_not_use_up_the_time_of_the_next(
    clusters: Clusters, silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hosts, "STORE_HOST_SECONDS", 0.5)
    server = clusters.server()
    await server.start()
    both = Hosts(server.dsn.replace("@", f"@127.0.0.1:{silent},"))
    connection = await both.connect()
    assert await connection.fetchval("SELECT 1") == 1
    sock = connection._transport.get_extra_info("socket")  # type: ignore[attr-defined]
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    if sys.platform == "linux":
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == STORE_UNHEARD_SECONDS * 1000
    await connection.close()
    assert both._served == 1, "the one that served is asked first from now on"


async def test_no_host_at_all_is_the_last_ones_error() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        with pytest.raises(OSError, match=r"refused|Connect call failed"):
            await Hosts(f"postgresql://u:p@127.0.0.1:{port},127.0.0.1:{port}/d").connect()


def test_a_unix_socket_needs_no_watching() -> None:
    here, there = socket.socketpair()
    with here, there:

        class Transport:
            def get_extra_info(self, _: str) -> socket.socket:
                return here

        class Connection:
            _transport = Transport()

        watch_over(Connection())  # type: ignore[arg-type]
        assert here.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0


class Session:
    """A connection to a server with this history."""

    def __init__(self, system: int, number: int) -> None:
        self.at: dict[str, int] | Exception = {"system": system, "timeline": number}
        self.given_up: list[Any] = []

    async def fetchrow(self, _: str) -> dict[str, int]:
        if isinstance(self.at, Exception):
            raise self.at
        return self.at

    async def execute(self, _: str, *arguments: Any) -> None:
        self.given_up.append(arguments)


async def test_another_history_is_fenced_before_it_is_told_of() -> None:
    told: list[int] = []
    history, held = History(new_owner()), {3: 1, 5: 1}
    second = Session(1, 2)
    history.tell(lambda: told.append(len(second.given_up)), held=lambda: held)
    await history.check(Session(1, 1))  # type: ignore[arg-type]
    assert (history.fence, told) == (1, [])
    await history.check(second)  # type: ignore[arg-type]
    assert (history.fence, told) == (2, [1])
    assert [held for _, held in second.given_up] == [[3, 5]]
    await history.check(Session(1, 2))  # type: ignore[arg-type]
    assert history.replacements == 1


async def test_a_server_whose_history_ended_is_not_used_any_more() -> None:
    history = History(new_owner())
    await history.check(Session(1, 4))  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable, match="timeline 3, and another one has gone on to 4"):
        await history.check(Session(1, 3))  # type: ignore[arg-type]
    await history.check(Session(2, 1))  # type: ignore[arg-type]
    assert history.known == Timeline(2, 1), "another cluster altogether: restored from a dump, say"


async def test_a_fence_that_fails_is_tried_with_the_next_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    history = History(new_owner())
    history.tell(lambda: told.append("replaced"))
    await history.check(Session(1, 1))  # type: ignore[arg-type]
    broken = Session(1, 2)

    async def fails(*_: Any) -> None:
        raise OSError("gone")

    monkeypatch.setattr(broken, "execute", fails)
    with pytest.raises(OSError, match="gone"):
        await history.check(broken)  # type: ignore[arg-type]
    assert (history.fence, told) == (1, [])
    await history.check(Session(1, 2))  # type: ignore[arg-type]
    assert (history.fence, told) == (2, ["replaced"])


async def test_a_service_that_does_not_tell_of_timelines_is_taken_as_it_is() -> None:
    session = Session(1, 1)
    session.at = asyncpg.InsufficientPrivilegeError("no")
    history = History(new_owner())
    await history.check(session)  # type: ignore[arg-type]
    assert history.fence is None
    session.at = asyncpg.ObjectNotInPrerequisiteStateError("recovery is in progress")
    with pytest.raises(asyncpg.ObjectNotInPrerequisiteStateError):
        await history.check(session)  # type: ignore[arg-type]
