"""`posthouse serve`: run a server."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from posthouse.adapters.system.collector import hold_collector
from posthouse.cli.output import note

if TYPE_CHECKING:
    from posthouse.config import Settings
    from posthouse.process import Process

Flag = Annotated[bool | None, Parameter(negative="")]


def serve(
    *,
    database_url: str | None = None,
    data_dir: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    role: Literal["all", "api", "worker"] | None = None,
    dev: Flag = None,
    allow_private_targets: Flag = None,
    allow_network: Annotated[list[str] | None, Parameter(negative="")] = None,
    auto_create_event_types: Flag = None,
    callbacks: Annotated[list[str] | None, Parameter(negative="")] = None,
) -> None:
    """Run a server until it is told to stop (Ctrl-C, SIGTERM).

    Every other setting is an environment variable or a line in posthouse.toml; the reference in docs/ lists them.

    Parameters
    ----------
    database_url
        Any PostgreSQL 15 or newer; without it one is started in the data directory.
    data_dir
        Where the embedded database, its password and the master key are kept.
    host
        The address to listen on (default 127.0.0.1).
    port
        The port to listen on (default 8080; 0 takes a free one).
    workers
        Processes that serve on this port together (default 1).
    role
        all (default); api answers requests and delivers nothing; worker delivers, and answers only health and metrics.
    dev
        For development: let events go to targets on this machine.
    allow_private_targets
        Let events go to private addresses, of this machine too.
    allow_network
        Let events go to this network, whatever it is (may be given several times).
    auto_create_event_types
        Make an unknown event type as it is first published.
    callbacks
        A Python module with callback handlers, such as mypkg.hooks (may be given several times, or several with commas).
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # as process 1 it would not be heard until there is a loop
    hold_collector()
    import structlog

    from posthouse import config, preflight, process

    settings = config.load(
        database_url=database_url,
        data_dir=data_dir,
        host=host,
        port=port,
        workers=workers,
        role=role,
        allow_loopback_targets=dev,
        allow_private_targets=allow_private_targets,
        allowed_networks=",".join(allow_network) if allow_network else None,
        auto_create_event_types=auto_create_event_types,
        callbacks=",".join(callbacks) if callbacks else None,
    )
    preflight.check_settings(settings, flags=() if database_url is None else ("database_url",))
    process.configure_logging(settings)
    for name, meant in config.unknown_variables(os.environ):
        told = {} if meant is None else {"did_you_mean": meant}
        structlog.get_logger().warning("settings.unknown_variable", name=name, **told)
    process.run(_serve(settings))


async def tell_link(posthouse: Process) -> None:
    """Print how to get in to the console, to stderr: it is no line of the log, which others keep and read."""
    link = await posthouse.sign_in_link()
    if link is not None:
        note(f"The console, by a link that works once, within a day (`posthouse open` makes another one):\n  {link}")


async def _serve(settings: Settings) -> None:
    from posthouse import bootstrap
    from posthouse.supervisor import Supervisor

    posthouse = (bootstrap.Posthouse if settings.workers == 1 else Supervisor)(settings)
    posthouse.stop_on_signals()
    async with posthouse:
        if posthouse.first_key is not None:
            note("The first admin key. It is shown only now, so keep it:")
            print(posthouse.first_key, flush=True)
        note(f"Posthouse listens on {posthouse.url}; Ctrl-C stops it")
        await tell_link(posthouse)
        bootstrap.calm_collector()
        await posthouse.serve()
