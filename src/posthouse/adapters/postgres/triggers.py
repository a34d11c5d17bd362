"""Triggers on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

import asyncpg
import msgspec
import structlog

from posthouse.adapters.postgres.changes import Moved, in_turns, searchable, taken, write_audit
from posthouse.adapters.postgres.configuration import one
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.adapters.postgres.rows import turn
from posthouse.domain.errors import Conflict, SetupError
from posthouse.domain.ids import TRIGGER, AppId, RefusalId, TriggerId, format_id, parse_id
from posthouse.domain.inbound import LOOKED_AT_ONLY
from posthouse.domain.limits import TRIGGER_PUT_OFF_SECONDS, TRIGGER_SET_ASIDE_MAX
from posthouse.domain.trigger import Standing, Trigger, TriggerConfig, trigger_busy
from posthouse.ports.directory import Audit
from posthouse.ports.sealing import Sealer
from posthouse.ports.sources import Observation
from posthouse.ports.triggers import Progress, Refusal, Taken

log = structlog.get_logger()

SQL = Queries("triggers.sql")

SETTINGS: Final = "trigger"
"""The kind under which the settings of a trigger are sealed, by the master key: a trigger is no app's."""
SETTINGS_VERSION: Final = 1

_config: Final = msgspec.json.Decoder(TriggerConfig)
_standing: Final = msgspec.json.Decoder(Standing)
_observation: Final = msgspec.msgpack.Decoder(Observation)


class PostgresTriggers:
    """`ports.triggers.TriggerBook` and `ports.triggers.TriggerQueue` on PostgreSQL."""

    def __init__(self, database: Database, sealer: Sealer, *, polling: Database | None = None) -> None:
        self._database = database
        self._polling = polling or database
        self._sealer = sealer

    # As they are managed

    async def page(self, *, before: bytes, limit: int) -> list[Trigger]:
        return [self._trigger(row) for row in await self._database.read(SQL.triggers, before, limit)]

    async def get(self, reference: str) -> Trigger | None:
        row = await self._database.fetchrow(SQL.trigger, parse_id(TRIGGER, reference), searchable(reference))
        return None if row is None else self._trigger(row)

    async def create(self, trigger: Trigger, audit: Audit, *, triggers_max: int) -> Trigger | None:
        with taken("uid"):
            async with self._database.transaction() as connection:
                if not await _app_is_there(connection, trigger.app_id):
                    return None
                await connection.execute(SQL.lock_all)
                if await connection.fetchval(SQL.count) >= triggers_max:
                    raise Conflict(
                        f"there are {triggers_max} triggers, which is the most; delete one that is over",
                        code="too_many_triggers",
                    )
                await connection.execute(SQL.create_trigger, *_columns(trigger))
                await self._seal(connection, trigger)
                await write_audit(connection, audit)
                return self._trigger(await one(connection, SQL.trigger, trigger.id, None))

    async def change(
        self,
        trigger_id: TriggerId,
        change: Callable[[Trigger], Trigger],
        audit: Audit | None,
        *,
        holder: bytes | None = None,
    ) -> Trigger | None:
        return await in_turns(lambda: self._change(trigger_id, change, audit, holder))

    async def _change(
        self,
        trigger_id: TriggerId,
        change: Callable[[Trigger], Trigger],
        audit: Audit | None,
        holder: bytes | None,
    ) -> Trigger | None:
        with taken("uid"):
            async with self._database.transaction() as connection:
                before = await connection.fetchrow(SQL.trigger, trigger_id, None)
                if before is None:
                    return None
                # What it is about to become decides which app is locked before the trigger is.
                wanted = change(self._trigger(before))
                if not await _app_is_there(connection, wanted.app_id):
                    return None
                row = await connection.fetchrow(SQL.trigger_locked, trigger_id)
                if row is None:
                    return None
                if holder is not None and not await connection.fetchval(SQL.is_held, trigger_id, holder):
                    raise trigger_busy()
                old = self._trigger(row)
                new = change(old)
                if new == old:
                    return old
                if new.app_id != wanted.app_id:
                    raise Moved
                await connection.execute(SQL.update_trigger, *_columns(new))
                if new.config.settings != old.config.settings:
                    await self._seal(connection, new)
                if audit is not None:
                    await write_audit(connection, audit)
                return self._trigger(await one(connection, SQL.trigger, trigger_id, None))

    async def delete(
        self, trigger_id: TriggerId, audit: Audit | None, *, check: Callable[[Trigger], None] | None = None
    ) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.trigger_locked, trigger_id)
            if row is None:
                return False
            if check is not None:
                check(self._trigger(row))
            await connection.execute(SQL.delete_settings, trigger_id)
            await connection.execute(SQL.delete_trigger, trigger_id)
            if audit is not None:
                await write_audit(connection, audit)
        return True

    async def hold(self, trigger_id: TriggerId, holder: bytes, *, seconds: float) -> int | None:
        version: int | None = await self._database.fetchval(SQL.hold, trigger_id, holder, seconds, writing=True)
        if version is None and await self._database.fetchval(SQL.is_there, trigger_id) is not None:
            raise trigger_busy()
        return version

    async def let_go(self, trigger_id: TriggerId, holder: bytes) -> None:
        await self._database.execute(SQL.let_go, trigger_id, holder)

    async def quiet(self, trigger_id: TriggerId) -> bool:
        return await self._database.fetchval(SQL.quiet, trigger_id) is not False

    # What was set aside

    async def refusals(self, trigger_id: TriggerId, *, after: bytes, limit: int) -> list[Refusal]:
        return [_refusal(row) for row in await self._database.read(SQL.refusals, trigger_id, after, limit)]

    async def refusals_of(self, trigger_id: TriggerId, ids: Collection[RefusalId]) -> list[Refusal]:
        return [_refusal(row) for row in await self._database.read(SQL.refusals_of, trigger_id, list(ids))]

    async def resolve(
        self,
        trigger_id: TriggerId,
        done: Collection[RefusalId],
        failed: Mapping[RefusalId, tuple[str, str]],
        audit: Audit | None = None,
    ) -> int:
        async with self._database.transaction() as connection:
            await connection.fetchrow(SQL.trigger_locked, trigger_id)
            gone = await connection.fetch(SQL.drop_refusals, trigger_id, list(done))
            if failed:
                codes, reasons = zip(*failed.values(), strict=True)
                await connection.execute(SQL.refused_again, trigger_id, list(failed), codes, reasons)
            await recount(connection, trigger_id)
            if audit is not None:
                await write_audit(connection, audit)
        return len(gone)

    async def set_aside(self, trigger_id: TriggerId, refusals: Sequence[Refusal], *, kept_max: int) -> None:
        async with self._database.transaction() as connection:
            await connection.fetchrow(SQL.trigger_locked, trigger_id)
            await insert_refusals(connection, trigger_id, refusals)
            await connection.execute(SQL.drop_oldest, trigger_id, kept_max)
            await recount(connection, trigger_id)

    # As they are worked on

    async def claim(
        self, owner: bytes, kinds: Collection[str], *, held: int, lease_seconds: float
    ) -> tuple[list[Taken], int]:
        look = await self._polling.fetchrow(SQL.free, list(kinds))
        assert look is not None, "it counts"
        share = -(-look["triggers"] // max(look["processes"], 1))
        if not look["free"] or held >= share:
            return [], share
        async with self._database.transaction() as connection:
            rows = await connection.fetch(SQL.claim, owner, list(kinds), share - held, lease_seconds)
            found = await connection.fetch(SQL.taken, [row["id"] for row in rows])
            taken, locked = [], {}
            for row in found:
                trigger = self._trigger(row)
                if trigger.unreadable is None:
                    taken.append(Taken(trigger, row["epoch"]))
                else:
                    locked[trigger.id] = row["epoch"]
                    log.error("trigger.unreadable", trigger=format_id(TRIGGER, trigger.id), error=trigger.unreadable)
            if locked:
                await connection.execute(
                    SQL.put_off, owner, list(locked), list(locked.values()), TRIGGER_PUT_OFF_SECONDS
                )
        return taken, share

    async def put_off(self, owner: bytes, epochs: Mapping[TriggerId, int], *, seconds: float) -> None:
        await self._database.execute(SQL.put_off, owner, list(epochs), list(epochs.values()), seconds)

    async def renew(
        self, owner: bytes, epochs: Mapping[TriggerId, int], *, lease_seconds: float
    ) -> dict[TriggerId, int]:
        rows = await self._database.fetch(
            SQL.renew, owner, list(epochs), list(epochs.values()), lease_seconds, writing=True
        )
        return {TriggerId(row["id"]): row["version"] for row in rows}

    async def record(self, taken: Taken, progress: Progress) -> int | None:
        trigger_id = taken.trigger.id
        async with self._database.transaction() as connection:
            kept = await connection.fetch(
                SQL.record, trigger_id, taken.epoch, _json(progress.standing), progress.position
            )
            if not kept:
                return None
            if progress.refusals:
                await insert_refusals(connection, trigger_id, progress.refusals)
            count = await _count(connection, trigger_id)
            if count != progress.standing.set_aside:
                await connection.execute(SQL.recount, trigger_id, count)
        return count

    async def release(self, owner: bytes, epochs: Mapping[TriggerId, int]) -> None:
        await self._database.execute(SQL.release, owner, list(epochs), list(epochs.values()))

    # Rows

    async def _seal(self, connection: Connection, trigger: Trigger) -> None:
        plain = trigger.config.settings.encode()
        sealed = self._sealer.seal_directly(plain, trigger.id, SETTINGS, SETTINGS_VERSION)
        await connection.execute(SQL.settings, trigger.id, sealed)

    def _trigger(self, row: asyncpg.Record) -> Trigger:
        sealed: Any = row["settings"]
        settings, unreadable = "{}", None
        if sealed is not None:
            try:
                settings = self._sealer.open(sealed, row["id"], SETTINGS, row["settings_version"]).decode()
            except SetupError as error:
                settings, unreadable = "null", str(error)
        config = msgspec.structs.replace(_config.decode(row["config"]), settings=settings)
        app_id: Any = row["app_id"]
        return Trigger(
            id=TriggerId(row["id"]),
            config=config,
            uid=row["uid"],
            name=row["name"],
            app_id=None if app_id is None else AppId(app_id),
            enabled=row["enabled"],
            generation=row["generation"],
            version=row["version"],
            position=row["position"],
            standing=_standing.decode(row["standing"]),
            created_at=row["created_at"],
            updated_at=row["updated_at"],
            unreadable=unreadable,
        )


async def _app_is_there(connection: Connection, app_id: AppId | None) -> bool:
    return app_id is None or await connection.fetchval(SQL.lock_app, app_id) is not None


async def _count(connection: Connection, trigger_id: TriggerId) -> int:
    count: int = await connection.fetchval(SQL.count_refusals, trigger_id, list(LOOKED_AT_ONLY), TRIGGER_SET_ASIDE_MAX)
    return count


async def recount(connection: Connection, trigger_id: TriggerId) -> int:
    """Put on record how many are set aside, under the lock of the trigger's row."""
    count = await _count(connection, trigger_id)
    await connection.execute(SQL.recount, trigger_id, count)
    return count


async def insert_refusals(connection: Connection, trigger_id: TriggerId, refusals: Sequence[Refusal]) -> None:
    """Under the lock of the trigger's row."""
    by_key = {refusal.observation.key: refusal for refusal in refusals}  # a statement may change a row once
    rows = [
        (
            refusal.id,
            key.encode("utf-8", "surrogatepass"),
            msgspec.msgpack.encode(refusal.observation),
            refusal.code,
            refusal.reason.replace("\0", "�"),
        )
        for key, refusal in by_key.items()
    ]
    await connection.execute(SQL.set_aside, trigger_id, *turn(rows, 5))


def _columns(trigger: Trigger) -> tuple[object, ...]:
    return (
        trigger.id,
        trigger.uid,
        trigger.app_id,
        trigger.name,
        trigger.config.kind,
        _json(msgspec.structs.replace(trigger.config, settings="{}")),
        trigger.enabled,
        trigger.generation,
        trigger.position,
        _json(trigger.standing),
    )


def _json(value: msgspec.Struct) -> str:
    return msgspec.json.encode(value).decode()


def _refusal(row: asyncpg.Record) -> Refusal:
    return Refusal(
        id=RefusalId(row["id"]),
        observation=_observation.decode(row["observation"]),
        code=row["code"],
        reason=row["reason"],
        tries=row["tries"],
        created_at=row["created_at"],
    )
