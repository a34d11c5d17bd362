"""One worker of `posthouse serve --workers N`, started by the supervisor and by nobody else.

`python -m posthouse.cli.worker NUMBER SOCKET FOLDER`: its settings come as a line of JSON on standard input, whose end means
that the supervisor has died; `ready` on standard output says that it serves.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import structlog

from posthouse.adapters.system.collector import hold_collector
from posthouse.domain.errors import PosthouseError

if TYPE_CHECKING:
    from posthouse.adapters.system.siblings import WorkerPlace
    from posthouse.config import Settings


def main() -> None:
    hold_collector()
    from posthouse import config, process
    from posthouse.adapters.system.siblings import WorkerPlace

    told = msgspec.json.decode(_line())
    number, shared, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    count = told.pop("worker_count")
    settings = config.Settings(**told)
    process.configure_logging(settings)
    structlog.contextvars.bind_contextvars(worker=number)
    try:
        process.run(_serve(settings, WorkerPlace(number, count, shared, folder)))
    except PosthouseError as error:
        print(f"posthouse: worker {number}: {error}", file=sys.stderr)
        sys.exit(1)


def _line() -> bytes:
    read = b""
    while not read.endswith(b"\n"):
        more = os.read(0, 65536)
        if not more:
            sys.exit(1)  # the supervisor died before it said anything
        read += more
    return read


async def _serve(settings: Settings, place: WorkerPlace) -> None:
    from posthouse import bootstrap
    from posthouse.supervisor import READY

    posthouse = bootstrap.Posthouse(settings, worker=place)
    posthouse.stop_on_signals()
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            shutil.rmtree(place.folder, ignore_errors=True)  # nobody else will
            posthouse.end(posthouse.stop, early=SystemExit(0))

    loop.add_reader(0, orphaned)
    async with posthouse:
        bootstrap.calm_collector()
        os.write(1, READY)
        await posthouse.serve()


if __name__ == "__main__":
    main()
