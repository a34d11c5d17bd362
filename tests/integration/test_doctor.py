"""`posthouse doctor` finds planted faults: real PostgreSQL, real files, one fault at a time."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import asyncpg
import pytest
from tests.commands import COMMAND, PATIENCE_SECONDS, environment, rows, run, served
from tests.postgres import PostgresServer

from posthouse import config
from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.days import ensure_days
from posthouse.adapters.postgres.examine import embedded_dsn
from posthouse.adapters.system.datadir import DataDir
from posthouse.cli.doctor import gather, workers_of
from posthouse.domain.ids import uuid7
from posthouse.manage.diagnose import Thresholds, diagnose

MASTER_KEY = base64.b64encode(b"k" * 32).decode()
OTHER_KEY = base64.b64encode(b"o" * 32).decode()
RETRY_PORT = "1"  # nobody listens there


def findings(told: subprocess.CompletedProcess[str]) -> dict[str, dict[str, Any]]:
    """What doctor found, the worst of each check; and its exit code fits."""
    order = ["ok", "skipped", "warn", "fail"]
    found: dict[str, dict[str, Any]] = {}
    for line in told.stdout.splitlines():
        one = json.loads(line)
        if one["check"] not in found or order.index(one["verdict"]) > order.index(found[one["check"]]["verdict"]):
            found[one["check"]] = one
    verdicts = {one["verdict"] for one in found.values()}
    assert told.returncode == (1 if "fail" in verdicts else 6 if "warn" in verdicts else 0), told.stdout + told.stderr
    for one in found.values():
        assert bool(one["advice"]) == (one["verdict"] in ("warn", "fail")), one
    return found


class Installation(NamedTuple):
    """A server that runs, as `posthouse serve` starts it, with its embedded database."""

    data: Path
    port: str

    def doctor(self, *words: str, **more: str) -> dict[str, dict[str, Any]]:
        return findings(run("doctor", "--data-dir", str(self.data), "--port", self.port, *words, **more))

    def query(self, statement: str) -> Any:
        async def go() -> Any:
            dsn = embedded_dsn(self.data)
            assert isinstance(dsn, str)
            connection = await asyncpg.connect(dsn)
            try:
                return await connection.fetch(statement)
            finally:
                await connection.close()

        return asyncio.run(go())


@pytest.fixture(scope="module")
def installation() -> Iterator[Installation]:
    with served() as server:
        rows(run("apps", "create", "--uid", "acme", **server.reach))
        rows(run("endpoints", "create", "https://93.184.215.14/hook", "--app", "acme", **server.reach))
        yield Installation(server.data, server.port)


def test_a_healthy_installation_is_all_ok(installation: Installation) -> None:
    found = installation.doctor("--resolve", "localhost")
    assert {check: one["verdict"] for check, one in found.items() if one["verdict"] != "ok"} == {}, found
    assert len(found) == 20


def test_a_check_changes_nothing(installation: Installation) -> None:
    def seen() -> Any:
        tables = installation.query("SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') ORDER BY 1")
        heads = installation.query("SELECT partition, seq FROM log_head ORDER BY 1")
        return tables, heads, sorted(path.name for path in installation.data.iterdir())

    before = seen()
    installation.doctor()
    assert seen() == before


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    """A program that is not ours; its port."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = Thread(target=server.serve_forever)
        serving.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            serving.join()


# Faults of an installation that runs. Each is undone again: the next one starts from a healthy installation.


def test_fault_another_program_on_the_port(installation: Installation) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with listening(Elsewhere) as port:
        told = run("doctor", "--data-dir", str(installation.data), "--port", str(port))
    assert findings(told)["server"]["verdict"] == "fail"
    assert "another program" in findings(told)["server"]["found"]


def test_the_server_is_asked_where_commands_reach_it(installation: Installation) -> None:
    here = f"http://127.0.0.1:{installation.port}"
    data = ("doctor", "--data-dir", str(installation.data))
    told = run(*data, POSTHOUSE_URL=here)
    assert (findings(told)["server"]["verdict"], here in findings(told)["server"]["found"]) == ("ok", True)
    assert "POSTHOUSE_URL" in told.stderr, "it is said where that comes from"
    told = run(*data, "--url", here, POSTHOUSE_URL="http://127.0.0.1:1")
    assert findings(told)["server"]["verdict"] == "ok"
    told = run(*data, "--port", installation.port, POSTHOUSE_URL="http://127.0.0.1:1")
    assert findings(told)["server"]["verdict"] == "ok", "a flag is above the environment"
    told = run(*data, POSTHOUSE_URL="https://no-such-host.invalid")
    assert "nothing answers at https://no-such-host.invalid" in findings(told)["server"]["found"]
    told = run(*data, "--url", here, "--port", installation.port)
    assert (told.returncode, "--host and --port" in told.stderr) == (2, True)


def test_behind_a_proxy_it_is_not_called_another_program(installation: Installation) -> None:
    class Proxy(BaseHTTPRequestHandler):
        """Passes on /v1/, as documented."""

        def do_GET(self) -> None:
            self.send_response(401 if self.path.startswith("/v1/") else 404)
            self.end_headers()
            self.wfile.write(b'{"code": "unauthorised"}' if self.path.startswith("/v1/") else b"<h1>Not Found</h1>")

        def log_message(self, *_: object) -> None:
            pass

    with listening(Proxy) as port:
        url = f"http://127.0.0.1:{port}"
        found = findings(run("doctor", "--data-dir", str(installation.data), "--url", url))["server"]
    assert found["verdict"] == "warn"
    assert "whether it is ready is not to be seen" in found["found"]


def test_fault_the_data_directory_is_open(installation: Installation) -> None:
    mode = installation.data.stat().st_mode
    installation.data.chmod(0o755)
    try:
        found = installation.doctor()["data_dir"]
    finally:
        installation.data.chmod(mode)
    assert found["verdict"] == "fail"
    assert "chmod" in found["advice"]


def test_fault_the_master_key_file_is_open(installation: Installation) -> None:
    file = installation.data / "master.key"
    file.chmod(0o644)
    try:
        found = installation.doctor()
    finally:
        file.chmod(0o600)
    assert found["key_files"]["verdict"] == "fail"
    assert found["master_key"]["verdict"] == "fail", "it is refused, so nothing opens"


def test_fault_the_master_key_is_another_one(installation: Installation) -> None:
    file = installation.data / "master.key"
    right = file.read_bytes()
    file.write_bytes(base64.b64encode(b"x" * 32))
    try:
        found = installation.doctor()["master_key"]
    finally:
        file.write_bytes(right)
    assert found["verdict"] == "fail"
    assert "not loaded" in found["found"]


def test_fault_fsync_is_off(installation: Installation) -> None:
    installation.query("ALTER SYSTEM SET fsync = off")
    installation.query("SELECT pg_reload_conf()")
    try:
        found = installation.doctor()["durability"]
    finally:
        installation.query("ALTER SYSTEM RESET fsync")
        installation.query("SELECT pg_reload_conf()")
    assert found["verdict"] == "fail"
    assert "fsync" in found["found"]


def test_fault_targets_on_this_machine_are_allowed(installation: Installation) -> None:
    assert installation.doctor(POSTHOUSE_ALLOW_LOOPBACK_TARGETS="1")["guard"]["verdict"] == "warn"
    assert installation.doctor(POSTHOUSE_ALLOW_PRIVATE_TARGETS="1")["guard"]["verdict"] == "warn"
    assert installation.doctor(POSTHOUSE_ALLOWED_NETWORKS="169.254.0.0/16")["guard"]["verdict"] == "fail"
    assert installation.doctor(POSTHOUSE_ALLOWED_NETWORKS="203.0.113.0/24")["guard"]["verdict"] == "ok"


def test_fault_more_sockets_than_files(installation: Installation) -> None:
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most > 90_000:
        pytest.skip("this machine's limit is too high for the setting")
    assert installation.doctor(POSTHOUSE_SOCKETS_MAX="100000")["open_files"]["verdict"] == "fail"


def test_fault_a_name_that_is_not_there(installation: Installation) -> None:
    found = installation.doctor("--resolve", "no-such-host.invalid")["dns"]
    assert found["verdict"] in ("warn", "fail"), "warn where DNS works, fail where nobody can be asked"
    assert "no-such-host.invalid" in found["found"]


def test_fault_autovacuum_is_off(installation: Installation) -> None:
    installation.query("ALTER TABLE delivery SET (autovacuum_enabled = false)")
    try:
        found = installation.doctor()["vacuum"]
    finally:
        installation.query("ALTER TABLE delivery RESET (autovacuum_enabled)")
    assert found["verdict"] == "fail"


def test_fault_the_log_has_a_gap(installation: Installation) -> None:
    installation.query("UPDATE log_head SET seq = seq + 3 WHERE partition = 7")
    try:
        found = installation.doctor()["partitions"]
    finally:
        installation.query("UPDATE log_head SET seq = seq - 3 WHERE partition = 7")
    assert found["verdict"] == "fail"
    assert "partition 7" in found["found"]


def test_fault_the_schema_was_changed_since(installation: Installation) -> None:
    installation.query("UPDATE schema_migration SET checksum = checksum || '\\x00' WHERE version = 1")
    try:
        found = installation.doctor()["migrations"]
    finally:
        installation.query("UPDATE schema_migration SET checksum = substring(checksum FROM 1 FOR 32) WHERE version = 1")
    assert found["verdict"] == "fail"
    assert "not the one that was applied" in found["found"]


def test_fault_the_schema_is_newer(installation: Installation) -> None:
    installation.query("INSERT INTO schema_migration (version, name, checksum) VALUES (9999, 'future', '\\x00')")
    try:
        found = installation.doctor()["migrations"]
    finally:
        installation.query("DELETE FROM schema_migration WHERE version = 9999")
    assert found["verdict"] == "fail"
    assert "9999" in found["found"]


# Faults of a database without a server


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(dsn)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
async def installed(database: str) -> str:
    """The DSN of an installed database that no server uses."""
    opened = Database(database, size=1)
    await opened.open()
    try:
        await opened.execute("SELECT install($1)", 4)
        await ensure_days(opened, now=time.time())
    finally:
        await opened.close()
    return database


async def doctor_on(dsn: str, **more: str) -> dict[str, dict[str, Any]]:
    words = ("doctor", "--database-url", dsn, "--port", RETRY_PORT)
    return findings(await asyncio.to_thread(lambda: run(*words, POSTHOUSE_MASTER_KEY=MASTER_KEY, **more)))


async def test_fault_no_server_and_no_owner(installed: str) -> None:
    found = await doctor_on(installed)
    assert found["server"]["verdict"] == "warn"
    assert found["partitions"]["verdict"] == "warn"
    assert "4 of 4 have no owner" in found["partitions"]["found"]
    assert found["days"]["verdict"] == "ok"
    assert found["data_dir"]["verdict"] == "skipped"


async def test_fault_an_old_backlog(installed: str) -> None:
    hour_ago = time.time() - 3600
    async with connected(installed) as connection:
        app = uuid7(int(hour_ago * 1000), 1)
        await connection.execute(
            "INSERT INTO app (id, uid, partition, config_version) VALUES ($1, 'acme', 0, 1)", _uuid(app)
        )
        await connection.execute(
            "INSERT INTO endpoint (id, app_id, config) VALUES ($1, $1, $2)", _uuid(app), '{"url":""}'
        )
        await connection.execute(
            "INSERT INTO delivery (partition, endpoint_id, event_id, seq, number, due_at, reason, payload_bytes) "
            "VALUES (0, $1, $1, 1, 1, to_timestamp($2), 'failed', 2)",
            _uuid(app),
            hour_ago,
        )
    found = (await doctor_on(installed))["backlog"]
    assert found["verdict"] == "warn"
    assert "overdue" in found["found"]


async def test_fault_a_day_is_missing(installed: str) -> None:
    async with connected(installed) as connection:
        await connection.execute(f"DROP TABLE event_{time.strftime('%Y%m%d', time.gmtime(time.time() + 86_400))}")
    found = (await doctor_on(installed))["days"]
    assert found["verdict"] == "fail"
    assert "event_" in found["found"]


async def test_fault_the_clocks_differ(installed: str) -> None:
    """A database whose clock is ten minutes ahead: for its sessions, the function that tells the time is another one."""
    name = installed.rpartition("/")[2].partition("?")[0]
    async with connected(installed) as connection:
        await connection.execute(
            "CREATE SCHEMA ahead; CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS "
            "$$SELECT pg_catalog.clock_timestamp() + interval '10 minutes'$$; "
            f'ALTER DATABASE "{name}" SET search_path = ahead, pg_catalog, public'
        )
    found = (await doctor_on(installed))["clock"]
    assert found["verdict"] == "fail"
    assert "behind" in found["found"]


async def test_fault_synchronous_commit_is_off(installed: str) -> None:
    name = installed.rpartition("/")[2].partition("?")[0]
    async with connected(installed) as connection:
        before = await connection.fetchval("SHOW fsync")
        await connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off')
    assert before == "off", "the tests' server is not durable, which doctor sees, too"
    assert (await doctor_on(installed))["durability"]["verdict"] == "fail"


async def test_fault_the_database_takes_no_writes(installed: str) -> None:
    name = installed.rpartition("/")[2].partition("?")[0]
    async with connected(installed) as connection:
        await connection.execute(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    found = (await doctor_on(installed))["database"]
    assert found["verdict"] == "fail"
    assert "takes no writes" in found["found"]


async def test_fault_a_migration_is_pending(postgres_server: PostgresServer) -> None:
    dsn = await postgres_server.bare_database()
    found = await doctor_on(dsn)
    assert found["migrations"]["verdict"] == "fail"
    assert "posthouse migrate" in found["migrations"]["advice"]
    assert found["partitions"]["verdict"] == "skipped"


async def test_fault_the_secrets_are_sealed_with_another_key(installed: str) -> None:
    from posthouse.adapters.system.keyring import Keyring
    from posthouse.wire.sealing import binding

    owner = uuid7(1, 2)
    sealed = Keyring([base64.b64decode(MASTER_KEY)]).seal(b"secret", bound_to=binding(owner, "signing", 1))
    async with connected(installed) as connection:
        await connection.execute("INSERT INTO secret VALUES ($1, 'signing', 1, $2)", _uuid(owner), sealed)
    assert (await doctor_on(installed))["master_key"]["verdict"] == "ok"
    words = ("doctor", "--database-url", installed, "--port", RETRY_PORT)
    other = await asyncio.to_thread(lambda: run(*words, POSTHOUSE_MASTER_KEY=OTHER_KEY))
    none = await asyncio.to_thread(lambda: run(*words))
    assert findings(other)["master_key"]["verdict"] == "fail"
    assert findings(none)["master_key"]["verdict"] == "fail"


async def test_fault_a_session_sits_in_a_transaction(installed: str) -> None:
    """With a shorter patience than doctor's own: the test need not wait for it."""
    settings = config.load(database_url=installed, master_key=MASTER_KEY, port=int(RETRY_PORT))
    async with connected(installed) as idle, connected(installed) as busy:
        await idle.execute("BEGIN")
        await idle.fetchval("SELECT count(*) FROM app")
        await busy.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        facts = await gather(settings, resolve=[])
        judged = diagnose(facts, Thresholds(idle_warn_seconds=0, snapshot_warn_seconds=0))
        told = [finding for finding in judged if finding.check == "snapshots"]
    assert [finding.verdict for finding in told] == ["warn", "warn"]
    assert all("pg_terminate_backend" in finding.advice for finding in told)
    patient = [finding for finding in diagnose(facts) if finding.check == "snapshots"]
    assert [finding.verdict for finding in patient] == ["ok"]


def test_fault_the_database_cannot_be_reached() -> None:
    told = run("doctor", "--database-url", "postgresql://nobody@127.0.0.1:1/none", "--port", RETRY_PORT)
    found = findings(told)
    assert found["database"]["verdict"] == "fail"
    assert "cannot be reached" in found["database"]["found"]
    assert {found[check]["verdict"] for check in ("migrations", "clock", "days", "partitions")} == {"skipped"}


def test_fault_nothing_is_running(tmp_path: Path) -> None:
    found = findings(run("doctor", "--data-dir", str(tmp_path / "none"), "--port", RETRY_PORT))
    assert found["server"]["verdict"] == "warn"
    assert found["database"]["verdict"] == "fail"
    assert "posthouse serve" in found["database"]["found"]
    assert found["data_dir"]["verdict"] == "warn"
    assert not (tmp_path / "none").exists(), "looking made nothing"


def test_fault_few_files_may_be_opened(tmp_path: Path) -> None:
    command = [*COMMAND, "doctor", "--data-dir", str(tmp_path / "none"), "--port", RETRY_PORT]
    told = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 300; exec "$@"', "sh", *command],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    found = findings(told)["open_files"]
    assert found["verdict"] == "fail"
    assert "ulimit -n" in found["advice"]


def test_of_a_server_with_several_processes_all_is_told_and_ok() -> None:
    with served("--workers", "2") as server:
        rows(run("apps", "create", "--uid", "acme", **server.reach))
        doctor = (
            "doctor",
            "--data-dir",
            str(server.data),
            "--port",
            server.port,
            "--workers",
            "2",
            "--resolve",
            "localhost",
        )
        deadline = time.monotonic() + PATIENCE_SECONDS
        while (found := findings(run(*doctor)))["partitions"]["verdict"] != "ok":
            assert time.monotonic() < deadline, "the second one has yet to take its share"
        assert {check: one for check, one in found.items() if one["verdict"] not in ("ok", "skipped")} == {}, found
        assert "a server of 2 processes takes up to 50" in found["connections"]["found"]
        assert "in each of 2 processes" in found["open_files"]["found"]


@pytest.mark.parametrize(
    ("flags", "workers"),
    [
        (["posthouse", "serve", "--workers", "4", "--dev"], 4),
        (["posthouse", "serve", "--workers=4"], 4),
        (["posthouse", "serve", "--port", "4"], 1),
        ([], 1),
    ],
)
def test_how_many_processes_a_server_has_is_what_it_was_told(flags: list[str], workers: int) -> None:
    assert workers_of(config.load(), flags) == workers


def test_files_that_a_server_will_allow_itself_are_no_fault(tmp_path: Path) -> None:
    command = [*COMMAND, "doctor", "--data-dir", str(tmp_path / "none"), "--port", RETRY_PORT]
    told = subprocess.run(
        ["/bin/sh", "-c", 'ulimit -Sn 300; exec "$@"', "sh", *command],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert findings(told)["open_files"]["verdict"] == "ok"


def test_who_holds_the_data_directory_is_told(tmp_path: Path) -> None:
    with DataDir.hold(tmp_path / "data"):
        found = findings(run("doctor", "--data-dir", str(tmp_path / "data"), "--port", RETRY_PORT))["server"]
    assert found["verdict"] == "warn"
    assert str(os.getpid()) in found["found"]


def _uuid(raw: bytes) -> Any:
    from uuid import UUID

    return UUID(bytes=raw)
