"""A kind of trigger: each line that somebody appends to a file, a JSON object, becomes an event.

    posthouse triggers create --kind ndjson --type 'log.{level}' --settings '{"path": "/var/log/shop.ndjson"}'

The position is the place in the file behind the last line that is in Posthouse's log, and which file that is: where another
one lies under its name (the old one was rotated away), or it became shorter (it was copied and emptied), it goes on at the
beginning. A rotation loses what nobody had read of the old file: let it lie for a moment before it is replaced.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from posthouse.domain.errors import Invalid, SourceRefused, SourceUnavailable
from posthouse.ports.sources import Lag, Observation, Plan, Reading, Source, Spec

LINE_BYTES_MAX: Final = 1024 * 1024
LOOK_SECONDS: Final = 0.1


class NdjsonKind:
    """`posthouse.ports.sources.SourceKind`."""

    name = "ndjson"
    expects: Final[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "The file, as its server sees it: /var/log/shop.ndjson."}
        },
        "required": ["path"],
        "additionalProperties": False,
    }

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        for name in settings:
            if name != "path":
                raise Invalid(f"there is no setting {name!r}; there is path", path=name)
        path = settings.get("path")
        if not isinstance(path, str) or not os.path.isabs(path):
            raise Invalid("give the whole path of the file, such as /var/log/shop.ndjson", path="path")
        return {"path": path}

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return dict(settings)

    async def plan(self, spec: Spec) -> Plan:
        return Plan(remarks=("Nothing is made: the file is read.",))

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        if not await asyncio.to_thread(Path(spec.settings["path"]).is_file):
            raise Invalid("there is no such file on this server; make it, if only an empty one", path="path")

    async def remove(self, spec: Spec) -> None:
        pass

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        if to is not None:
            raise Invalid("lines have no time: go back to the beginning of the file, and leave `to` out", path="to")
        return None

    def source(self, spec: Spec) -> Source:
        return NdjsonSource(Path(spec.settings["path"]))


class NdjsonSource:
    """`posthouse.ports.sources.Source`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = 0  # its inode
        self._offset = 0
        self._turn = 0  # how many files it were: another one may get the inode of one that is gone

    async def open(self, position: str | None) -> None:
        if position is not None:
            told = json.loads(position)
            self._file, self._offset, self._turn = told["file"], told["offset"], told["turn"]

    async def read(self, *, limit: int, wait_seconds: float) -> Reading:
        deadline = asyncio.get_running_loop().time() + wait_seconds
        while True:
            reading = await asyncio.to_thread(self._lines, limit)
            if reading.observations or asyncio.get_running_loop().time() >= deadline:
                return reading
            await asyncio.sleep(LOOK_SECONDS)

    async def acknowledge(self, reading: Reading) -> None:
        self._file, self._offset, self._turn = reading.receipt

    async def lag(self) -> Lag:
        return Lag()

    async def close(self) -> None:
        pass

    def _lines(self, limit: int) -> Reading:
        try:
            with self._path.open("rb") as file:
                status = os.fstat(file.fileno())
                number, offset, turn = status.st_ino, self._offset, self._turn
                if number != self._file or status.st_size < offset:
                    offset, turn = 0, turn + 1
                file.seek(offset)
                lines = [line for _ in range(limit) if (line := file.readline(LINE_BYTES_MAX))]
        except FileNotFoundError:
            raise SourceRefused(f"{self._path} is not there any more; put it back") from None
        except OSError as error:
            raise SourceUnavailable(f"{self._path} cannot be read: {error.strerror}") from error
        found = []
        for line in lines:
            if len(line) == LINE_BYTES_MAX:
                raise SourceRefused(f"{self._path} has a line of over {LINE_BYTES_MAX} bytes at {offset}; remove it")
            if not line.endswith(b"\n"):
                break  # somebody still writes it
            if line.strip():
                found.append(Observation(key=f"{turn}:{number}:{offset}", seen=line.strip()))
            offset += len(line)
        return Reading(
            observations=tuple(found),
            position=json.dumps({"file": number, "offset": offset, "turn": turn}),
            receipt=(number, offset, turn),
        )
