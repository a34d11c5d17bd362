"""A process that reads a trigger and writes down what it saw, until it is killed: for tests of change capture.

`python -m tests.changes_consumer SPEC RECORD`: SPEC is a file with the trigger as JSON. Each line of RECORD is a reading: its
observations and its position, which is on record when the line is whole.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from posthouse.adapters.sources.changes.kind import ChangesKind
from posthouse.domain.errors import PosthouseError
from posthouse.ports.sources import Spec


def recorded(record: Path) -> list[dict[str, Any]]:
    """The readings on record. A line that was cut off is none."""
    if not record.exists():
        return []
    whole, _, _ = record.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


async def consume(spec: Spec, record: Path) -> None:
    kind = ChangesKind()
    position = next((line["position"] for line in reversed(recorded(record)) if line["position"]), None)
    with record.open("ab", buffering=0) as opened:
        while True:
            source = kind.source(spec)
            try:
                await source.open(position)
                while True:
                    reading = await source.read(limit=20, wait_seconds=0.5)
                    if reading.position is not None:
                        position = reading.position
                        seen = [[o.key, msgspec.json.decode(o.seen)] for o in reading.observations]
                        opened.write(json.dumps({"seen": seen, "position": position}).encode() + b"\n")
                    await source.acknowledge(reading)
            except PosthouseError as error:
                print(type(error).__name__, error, file=sys.stderr, flush=True)
                await asyncio.sleep(0.1)
            finally:
                await source.close()


def cut_off(record: Path) -> None:
    """Take away what a killed process did not write to its end: at once, since this one may be killed here, too."""
    if record.exists():
        os.truncate(record, record.read_bytes().rfind(b"\n") + 1)


if __name__ == "__main__":
    cut_off(Path(sys.argv[2]))
    uvloop.run(consume(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Spec), Path(sys.argv[2])))
