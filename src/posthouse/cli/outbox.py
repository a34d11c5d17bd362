"""`posthouse relay` and `posthouse outbox …`: events out of the transactions of the platform's own database.

(`posthouse listen --forward-to` relays the other way round, from a server to a target; that is `cli/relay.py`.)
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Final, TypeVar

import cyclopts
from cyclopts import Parameter

from posthouse.cli.client import Client, key_given, url_given
from posthouse.cli.output import Column, note, printable, show
from posthouse.cli.verbs import SERVER, Json, Url
from posthouse.domain.errors import (
    Forbidden,
    Invalid,
    NotFound,
    PosthouseError,
    SetupError,
    StoreUnavailable,
    Unauthorised,
)
from posthouse.intake.parse import BATCH_EMPTY
from posthouse_sdk.outbox import errors
from posthouse_sdk.outbox.schema import drop_statements, statements
from posthouse_sdk.outbox.store import Store, store_of
from posthouse_sdk.publishing.errors import ConfigurationError

T = TypeVar("T")

log = logging.getLogger("posthouse.relay")

LISTED_MAX: Final = 1_000
ASK_SECONDS: Final = 5.0
COLUMNS: Final = (
    Column("id"),
    Column("type", folds=True),
    Column("app", spare=True),
    Column("subject", spare=True),
    Column("key", spare=True),
    Column("age"),
    Column("reason", folds=True),
)

Dsn = Annotated[
    str,
    Parameter(
        name="--dsn",
        env_var="POSTHOUSE_OUTBOX_DSN",
        help="The database: postgresql://…, mysql://… (MariaDB's, too) or sqlite:///path.",
    ),
]

outbox: Final = cyclopts.App(
    name="outbox", help="Events written in the transactions of your own database.", help_format="plaintext"
)


def relay(
    *,
    dsn: Dsn,
    url: Url = None,
    api_key: Annotated[
        str | None,
        Parameter(
            name=["--api-key", "--key"],
            group=SERVER,
            help="An API key of scope publish, not bound to an app (default: POSTHOUSE_KEY).",
        ),
    ] = None,
    listen: str | None = None,
    batch_events: int = 1_000,
    lease_seconds: float = 5.0,
    poll_seconds: float | None = None,
    log_json: bool | None = None,
    log_level: str = "info",
) -> None:
    """Publish what is committed to an outbox, in the order of each key, until it is stopped.

    First the server is asked whether it takes this key; exit code 3 where it does not. One that does not answer is no reason
    to end: what is committed waits in the outbox until it does.

    Any number of relays may run on one outbox: one works, the others stand by and take over within --lease-seconds.

    Parameters
    ----------
    listen
        HOST:PORT on which /metrics and /healthz answer.
    batch_events
        At most so many events go in one request.
    lease_seconds
        A relay that is not heard of for so long is taken for dead.
    poll_seconds
        How often to look while nothing happens. On PostgreSQL commits wake the relay, and this is for what that misses.
    log_json
        Logs as lines of JSON (default: where stderr is no terminal).
    log_level
        Which logs to write: debug, info, warning, error.
    """
    from posthouse.adapters.system.listening import cannot_listen
    from posthouse.adapters.system.telemetry import configure_logging
    from posthouse_sdk.outbox.publisher import HttpPublisher
    from posthouse_sdk.outbox.relay import Relay, RelaySettings

    key = key_given(api_key)
    if not 1 <= batch_events <= 1_000:
        raise Invalid("a batch has 1 to 1000 events", path="--batch-events")
    if not 0.5 <= lease_seconds <= 300:
        raise Invalid("a lease lasts 0.5 to 300 seconds", path="--lease-seconds")
    if poll_seconds is not None and not 0.001 <= poll_seconds <= 60:
        raise Invalid("the outbox is looked at every 0.001 to 60 seconds", path="--poll-seconds")
    host, port = _address(listen)
    configure_logging(json=log_json, level=log_level)
    settings = RelaySettings(rows_max=batch_events, lease_seconds=lease_seconds, poll_seconds=poll_seconds)

    async def work(store: Store) -> None:
        publisher = HttpPublisher(url_given(url), key)
        try:
            await asyncio.to_thread(_ask_server, Client(url, key, seconds=ASK_SECONDS))
            made = Relay(store, publisher, settings)
            loop = asyncio.get_running_loop()
            for number in (signal.SIGTERM, signal.SIGINT):
                with suppress(NotImplementedError):
                    loop.add_signal_handler(number, made.stop)
            if host is None:
                await made.run()
                return
            from posthouse_sdk.outbox.monitor import monitored

            try:
                async with monitored(made.gauges, host, port) as found:
                    note(f"/metrics and /healthz on http://{host}:{found}")
                    await made.run()
            except OSError as error:
                raise cannot_listen(str(listen), error, options="--listen") from None
        finally:
            await publisher.close()

    with told():
        _run(dsn, work, opened=False)


@outbox.command
def sql(*, dialect: str, drop: bool = False) -> None:
    """Print the statements that make the tables, for a migration of yours.

    Parameters
    ----------
    dialect
        postgresql, mysql (MariaDB, too) or sqlite.
    drop
        The statements that remove them instead, with every event in them.
    """
    with told():
        for statement in (drop_statements if drop else statements)(dialect):
            print(f"{statement};\n")


@outbox.command
def install(*, dsn: Dsn) -> None:
    """Make the tables in a database; where they are there, nothing changes."""
    with told():
        _run(dsn, lambda store: store.install(), opened=False)
    note("the outbox is there")


@outbox.command
def status(*, dsn: Dsn, json_wanted: Json = False) -> int:
    """What waits, and which relay works; exit code 1 where something waits and none does."""

    async def look(store: Store) -> dict[str, Any]:
        backlog, lease = await store.backlog(), await store.lease()
        works = lease.owner is not None and lease.seconds > 0
        return {
            "pending": backlog.pending,
            "dead": backlog.dead,
            "oldest_seconds": round(backlog.oldest_seconds, 3),
            "relay": lease.owner if works else None,
        }

    with told():
        found = _run(dsn, look)
    columns = (Column("pending"), Column("dead"), Column("oldest_seconds", "oldest"), Column("relay"))
    show([found], columns, json_wanted=json_wanted)
    if found["relay"] is None:
        note("no relay works on it: `posthouse relay --dsn …`")
    if found["dead"]:
        note("what the server refused is set aside: `posthouse outbox list` says why")
    return 1 if found["relay"] is None and found["pending"] else 0


@outbox.command(name="list")
def list_dead(*, dsn: Dsn, limit: int = 50, json_wanted: Json = False) -> None:
    """The events that the server refused, each with the reason.

    Parameters
    ----------
    limit
        At most so many, the oldest first.
    """
    if not 1 <= limit <= LISTED_MAX:
        raise Invalid(f"1 to {LISTED_MAX} can be listed", path="--limit")
    with told():
        rows = _run(dsn, lambda store: store.dead(limit))
    show(
        [
            {
                "id": row.id,
                "type": row.type,
                "app": row.app,
                "subject": row.subject,
                "key": row.event_key,
                "age": f"{row.dead_seconds:.0f} s",
                "reason": row.reason,
                "data": row.data,
            }
            for row in rows
        ],
        COLUMNS,
        json_wanted=json_wanted,
    )


@outbox.command
def retry(*ids: int, dsn: Dsn, every: Annotated[bool, Parameter(name="--all", negative="")] = False) -> None:
    """Put events that were refused back at the end of the outbox, once what was wrong is mended. Exit code 4 where none of
    those that are named is there.

    Parameters
    ----------
    ids
        Which, as `posthouse outbox list` shows them.
    every
        All of them.
    """
    if bool(ids) == every:
        raise Invalid("name the events by their ids, or give --all")
    with told():
        count = _run(dsn, lambda store: store.retry(None if every else ids))
    if ids and not count:
        raise NotFound(
            f"none of them was refused: {', '.join(map(str, ids))}; `posthouse outbox list` shows those that were"
        )
    note("1 goes out again" if count == 1 else f"{count} go out again")


def _run(dsn: str, work: Callable[[Store], Awaitable[T]], *, opened: bool = True) -> T:
    async def run() -> T:
        store = store_of(dsn)
        try:
            if opened:
                await store.open()
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


def _ask_server(client: Client) -> None:
    """Tell whether the server takes what a relay with this key publishes. Raises what it refuses for good: Unauthorised,
    Forbidden."""
    try:
        client.ask("POST", ("events", "batch"), body=[])
    except (Unauthorised, Forbidden):
        raise
    except PosthouseError as error:
        if error.code != BATCH_EMPTY:
            log.warning("%s: what is committed waits in the outbox until the server takes it", printable(str(error)))
            return
        # It looks at the key first: one that may publish whatever lies in an outbox gets as far as that.
        log.info("the server at %s answers, and takes this key", printable(client.url))


def _address(listen: str | None) -> tuple[str | None, int]:
    if listen is None:
        return None, 0
    host, _, port = listen.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65_535:
        raise Invalid("give HOST:PORT, such as 127.0.0.1:9187", path="--listen")
    return host.strip("[]"), int(port)


@contextmanager
def told() -> Iterator[None]:
    """The errors of the SDK as the program's."""
    try:
        yield
    except (errors.DsnError, ConfigurationError) as error:
        raise Invalid(str(error)) from None
    except errors.DatabaseError as error:
        raise (SetupError(str(error)) if error.refused else StoreUnavailable(str(error))) from None
    except errors.OutboxError as error:
        raise SetupError(str(error)) from None
    except PosthouseError:
        raise
