"""A server that kills itself at a named point: `python -m tests.chaos.server` with CHAOS_POINT=before_append:17.

The point is passed so many times, and the next pass is the last thing that the process does. With CHAOS_SENDER=1.4 each
request says so in a header of its own, for the target to know who sent it; CHAOS_SCHEDULE_LEASE is the lease of what is fired,
CHAOS_TRIGGER_LEASE that of a trigger, in seconds. Nothing else differs from `posthouse serve`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from typing import Any, cast

from msgspec.structs import replace

from posthouse import bootstrap, config, process
from posthouse.domain.delivery import Effect, JournalBatch
from posthouse.domain.event import Draft
from posthouse.domain.exchange import Request, Result
from posthouse.domain.limits import SCHEDULE_LEASE_SECONDS
from posthouse.ports.log import Appended, AppendResult, EventLog
from posthouse.ports.sources import Reading, Source, Spec, TriggerKind
from posthouse.ports.store import Journalled, Store
from posthouse.ports.transport import Transport
from posthouse.trigger import schedules
from posthouse.trigger.works import Works

POINTS = ("before_append", "after_append", "before_send", "after_send", "before_journal", "after_journal")
EFFECT_POINTS = ("after_send", "before_journal", "after_journal", "before_effects", "after_effects")
TRIGGER_POINTS = ("before_append", "after_append", "before_acknowledge", "after_acknowledge")


class Crash:
    """Ends the process, without any goodbye, at its point."""

    def __init__(self, told: str) -> None:
        self._point, _, passes = told.partition(":")
        self._passes = int(passes or 0)

    def at(self, point: str) -> None:
        if point == self._point:
            self._passes -= 1
            if self._passes < 0:
                os.kill(os.getpid(), signal.SIGKILL)


class _Through:
    """Another object, with some methods in between."""

    def __init__(self, inner: Any, crash: Crash) -> None:
        self._inner = inner
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class CrashingLog(_Through):
    async def append(self, drafts: Sequence[Draft]) -> list[AppendResult]:
        self._crash.at("before_append")
        results: list[AppendResult] = await self._inner.append(drafts)
        self._crash.at("after_append")
        return results


class CrashingStore(_Through):
    async def journal(self, batch: JournalBatch, **options: Any) -> Journalled:
        if batch.attempts:
            self._crash.at("before_journal")
        written: Journalled = await self._inner.journal(batch, **options)
        if batch.attempts:
            self._crash.at("after_journal")
        return written

    async def publish_effects(self, effects: Sequence[Effect], drafts: Sequence[Draft]) -> list[Appended | None]:
        self._crash.at("before_effects")
        results: list[Appended | None] = await self._inner.publish_effects(effects, drafts)
        self._crash.at("after_effects")
        return results


class CrashingTransport(_Through):
    sender = os.environ.get("CHAOS_SENDER")

    async def send(self, request: Request, **options: Any) -> Result:
        if self.sender is not None:
            request = replace(request, head=request.head[:-2] + f"chaos-sender: {self.sender}\r\n\r\n".encode())
        self._crash.at("before_send")
        result: Result = await self._inner.send(request, **options)
        self._crash.at("after_send")
        return result


class CrashingSource(_Through):
    async def acknowledge(self, reading: Reading) -> None:
        """Before it, everything is published and on record, and the source does not know."""
        if reading.observations:
            self._crash.at("before_acknowledge")
        await self._inner.acknowledge(reading)
        if reading.observations:
            self._crash.at("after_acknowledge")


class CrashingKind(_Through):
    def source(self, spec: Spec) -> Source:
        return cast(Source, CrashingSource(self._inner.source(spec), self._crash))


class CrashingPosthouse(bootstrap.Posthouse):
    crash = Crash(os.environ.get("CHAOS_POINT", ""))

    def wrap_kinds(self, kinds: dict[str, TriggerKind]) -> dict[str, TriggerKind]:
        return {
            name: cast(TriggerKind, CrashingKind(kind, self.crash)) if hasattr(kind, "source") else kind
            for name, kind in kinds.items()
        }

    def wrap_log(self, event_log: EventLog) -> EventLog:
        return cast(EventLog, CrashingLog(event_log, self.crash))

    def wrap_store(self, store: Store) -> Store:
        return cast(Store, CrashingStore(store, self.crash))

    def wrap_transport(self, transport: Transport) -> Transport:
        return cast(Transport, CrashingTransport(transport, self.crash))


async def _serve() -> None:
    vars(schedules)["SCHEDULE_LEASE_SECONDS"] = float(os.environ.get("CHAOS_SCHEDULE_LEASE", SCHEDULE_LEASE_SECONDS))
    if lease := os.environ.get("CHAOS_TRIGGER_LEASE"):
        defaults = Works.__init__.__kwdefaults__
        assert defaults is not None
        defaults["lease_seconds"] = float(lease)
    settings = config.load(allow_private_targets=True, log_json=True, log_level="warning")
    process.configure_logging(settings)
    posthouse = CrashingPosthouse(settings)
    posthouse.stop_on_signals()
    async with posthouse:
        await posthouse.serve()


if __name__ == "__main__":
    process.run(_serve())
