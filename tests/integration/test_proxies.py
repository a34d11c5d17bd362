"""Posthouse behind what others put before it: nginx before the servers, PgBouncer before the database. The real ones."""

from __future__ import annotations

import asyncio
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.fakes import until
from tests.integration.test_processes import confirming, make_app, pair, received
from tests.serving import KEY, ask, call, serving
from tests.targets import target

DEPLOY = Path(__file__).parents[2] / "deploy"
MASTER_KEY = "00" * 32


def program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed; `make test-databases` installs it where that is permitted")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="posthouse-proxy-", dir="/tmp") as made:
        os.chmod(made, 0o755)
        yield Path(made)


def start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with open(log, "wb") as opened:
        return subprocess.Popen(command, stdout=opened, stderr=opened)


def said(log: Path) -> str:
    return log.read_text()


@asynccontextmanager
async def running(command: list[str], port: int, log: Path) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A program, as soon as its port answers, until the end."""
    process = start(command, log)

    async def answers() -> bool:
        assert process.poll() is None, said(log)
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            return False
        writer.close()
        return True

    try:
        await until(answers, f"{command[0]} to listen")
        yield process
    finally:
        process.terminate()
        await asyncio.to_thread(process.wait, 10)


# nginx


@asynccontextmanager
async def nginx(folder: Path, ports: list[int]) -> AsyncIterator[int]:
    """The example of deploy/, with these servers; its port."""
    port = free_port()
    conf = (DEPLOY / "nginx" / "posthouse.conf").read_text()
    upstream = iter(ports)
    conf, count = re.subn(r"127\.0\.0\.1:808\d", lambda _: f"127.0.0.1:{next(upstream)}", conf)
    assert count == len(ports), "the example names as many servers"
    conf = conf.replace("listen 8000;", f"listen 127.0.0.1:{port};")
    (folder / "site.conf").write_text(conf)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; worker_processes 1;\n"
        f"events {{ worker_connections 256; }}\n"
        f"http {{ access_log off; {temporary} include {folder}/site.conf; }}\n"
    )
    command = [program("nginx"), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", str(folder / "error.log")]
    async with running(command, port, folder / "said"):
        yield port


async def publish(port: int, *, key: str | None = None) -> str:
    headers = {} if key is None else {"Idempotency-Key": key}
    reply = await ask(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": {}}, headers=headers)
    assert reply.status == 202, reply
    event_id: str = reply.body["id"]
    return event_id


async def streams_flow_and_what_is_inside_stays_inside(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET /v1/stream HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode())
    async with asyncio.timeout(10):
        assert b" 200 " in await reader.readline()
        event_id = await publish(port)
        await reader.readuntil(event_id.encode())  # nothing holds it back until more has come
    writer.close()
    assert (await ask(port, "GET", "/readyz", key=None)).status == 200
    assert (await ask(port, "GET", "/metrics", key=None)).status == 404
    inbound = await ask(port, "POST", "/in/nobody", {}, key=None)
    assert inbound.body["code"] == "source_not_found", "it reaches a server"
    assert await publish(port, key="once") == await publish(port, key="once")


async def test_behind_nginx_everything_works_and_a_server_that_ends_fails_no_request(
    database: str, folder: Path
) -> None:
    program("nginx")
    async with target(confirming) as served, pair(database) as (one, two), nginx(folder, [one.port, two.port]) as port:
        await call(port, "POST", "/v1/event-types", {"name": "order.created"})
        await make_app(port, "acme", served)
        await streams_flow_and_what_is_inside_stays_inside(port)
        accepted: list[str] = []
        over = asyncio.Event()

        async def client(number: int) -> None:
            count = 0
            while not over.is_set():
                count += 1
                accepted.append(await publish(port, key=f"{number}-{count}" if number % 2 else None))

        clients = [asyncio.create_task(client(number)) for number in range(4)]
        await until(lambda: len(accepted) > 40)
        object.__setattr__(one.settings, "drain_seconds", 0.1)
        one.drain()  # as SIGTERM does
        assert (await ask(one.port, "GET", "/readyz", key=None)).status == 503
        await until(lambda: one._server is not None and not one._server.servers[0].is_serving(), "it to close its port")
        count = len(accepted)
        await until(lambda: len(accepted) > count + 40, "the other one to take all")
        over.set()
        await asyncio.gather(*clients)
        await until(lambda: not set(accepted) - set(received(served)), "every accepted event to arrive")


# PgBouncer


@asynccontextmanager
async def pgbouncer(folder: Path, dsn: str) -> AsyncIterator[tuple[str, subprocess.Popen[bytes]]]:
    """PgBouncer in transaction mode before a database, with fewer connections than a server wants; its DSN."""
    executable = program("pgbouncer")
    parts = urlsplit(dsn)
    socket_dir = parse_qs(parts.query)["host"][0]
    port = free_port()
    name = parts.path[1:]
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={socket_dir} port=5432 user={parts.username} password={parts.password}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 4\nmax_client_conn = 200\n"
    )
    command = [executable, str(folder / "pgbouncer.ini")]
    if os.geteuid() == 0:  # which it refuses to run as
        account = pwd.getpwuid(os.stat(socket_dir).st_uid).pw_name
        command[1:1] = ["-u", account]
    async with running(command, port, folder / "said") as process:
        yield f"postgresql://posthouse@127.0.0.1:{port}/{name}", process


async def test_everything_works_behind_pgbouncer_in_transaction_mode(database: str, folder: Path) -> None:
    async with target(confirming) as served, pgbouncer(folder, database) as (pooled, process):
        settings: dict[str, Any] = {"database_direct_url": database, "master_key": MASTER_KEY, "partitions": 4}
        async with serving(pooled, **settings) as one, serving(pooled, **settings) as two:
            await until(lambda: {len(server._engine.ownership.epochs) for server in (one, two)} == {2})
            await call(one.port, "POST", "/v1/event-types", {"name": "order.created"})
            await make_app(two.port, "acme", served)

            async def published(port: int) -> list[str]:
                return [await publish(port) for _ in range(15)]

            ids = [i for some in await asyncio.gather(*(published(s.port) for s in (one, two) * 3)) for i in some]

            async def configuring(number: int) -> None:
                uid = f"app{number}"
                await call(one.port, "POST", "/v1/apps", {"uid": uid, "name": uid})
                await call(two.port, "PATCH", f"/v1/apps/{uid}", {"name": "Changed"})
                assert (await call(one.port, "GET", f"/v1/apps/{uid}"))["name"] == "Changed"

            await asyncio.gather(*map(configuring, range(12)))
            await until(lambda: received(served) == dict.fromkeys(ids, 1), "every event to arrive once")

            async def on_record() -> bool:
                return len((await call(two.port, "GET", "/v1/apps/acme/attempts?limit=100"))["data"]) == 90

            await until(on_record, "every attempt to be on record")
            process.terminate()
            await asyncio.to_thread(process.wait, 10)
            assert (await ask(one.port, "GET", "/v1/apps")).status == 503, "what reads went through the pooler"
