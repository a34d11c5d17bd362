"""What follows from attempts and answers, in the reference model: done and removed in one transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from posthouse.adapters.memory.database import MemoryDatabase
from posthouse.adapters.memory.log import MemoryLog
from posthouse.domain.chaining import merged, read_throttle, read_values
from posthouse.domain.delivery import Effect, EffectKind
from posthouse.domain.event import Draft
from posthouse.domain.ids import ENDPOINT, AppId, EndpointId, format_id
from posthouse.ports.log import Appended


class MemoryEffects:
    """That part of `ports.store.Store`."""

    _database: MemoryDatabase

    async def effects(self, partitions: Collection[int], *, limit: int) -> list[Effect]:
        await self._database.reading("effects")
        effects = [
            effect
            for effect in self._database.effects.values()
            if effect.partition in partitions and effect.kind is not EffectKind.CALL
        ]
        return sorted(effects, key=lambda effect: effect.id)[:limit]

    async def disable_endpoint(self, effect: Effect) -> None:
        async with self._database.transaction("disable_endpoint") as transaction:
            await transaction.commits()
            if self._database.effects.pop(effect.id, None) is None:
                return
            endpoint = self._database.endpoints.get(effect.endpoint_id)
            if endpoint is not None and endpoint.enabled and not endpoint.deleted:
                endpoint.enabled = False
                endpoint.disabled_reason = effect.reason
                self._database.bump_config(endpoint.app_id)

    async def publish_effects(self, effects: Sequence[Effect], drafts: Sequence[Draft]) -> list[Appended | None]:
        known = self._database.effects
        async with self._database.transaction("publish_effects") as transaction:
            # The head first, as whoever publishes does: two owners that do the same effects wait for each other.
            await transaction.lock_heads(
                [self._database.apps[d.app_id].partition for d in drafts if d.app_id in self._database.apps]
            )
            there = [
                effect.id in known
                and known[effect.id].kind in (EffectKind.EMIT, EffectKind.PUBLISH)
                and effect.partition == known[effect.id].partition
                for effect in effects
            ]
            fresh = [draft for draft, is_there in zip(drafts, there, strict=True) if is_there]
            found = iter(await MemoryLog(self._database).write(transaction, fresh))
            results = [next(found) if is_there else None for is_there in there]
            for effect, is_there in zip(effects, there, strict=True):
                if is_there:
                    del known[effect.id]
        return [result if isinstance(result, Appended) else None for result in results]

    async def count_effects(self, partitions: Collection[int]) -> dict[int, int]:
        await self._database.reading("count_effects")
        effects = self._database.effects.values()
        return Counter(e.partition for e in effects if e.partition in partitions and e.kind is not EffectKind.CALL)

    async def drop_effects(self, effects: Sequence[Effect]) -> None:
        async with self._database.transaction("drop_effects") as transaction:
            await transaction.commits()
            for effect in effects:
                self._database.effects.pop(effect.id, None)

    async def merge_metadata(self, effects: Sequence[Effect]) -> list[Effect]:
        database = self._database
        async with database.transaction("merge_metadata") as transaction:
            await transaction.commits()
            todo = [effect for effect in effects if database.effects.pop(effect.id, None) is not None]
            endpoint = database.endpoints.get(effects[0].endpoint_id)
            if endpoint is None or endpoint.deleted:
                return []
            endpoint.metadata, fits = merged(endpoint.metadata, [read_values(e.data or b"{}") for e in todo])
        return [effect for effect, fit in zip(todo, fits, strict=True) if not fit]

    async def throttle_endpoint(self, effect: Effect) -> None:
        async with self._database.transaction("throttle_endpoint") as transaction:
            await transaction.commits()
            if self._database.effects.pop(effect.id, None) is not None:
                self._database.throttles[effect.endpoint_id] = read_throttle(effect.data or b"{}")

    async def endpoint_named(self, app_id: AppId, reference: str) -> EndpointId | None:
        await self._database.reading("endpoint_named")
        for endpoint in self._database.endpoints.values():
            named = reference in (format_id(ENDPOINT, endpoint.id), endpoint.uid)
            if named and endpoint.app_id == app_id and not endpoint.deleted:
                return endpoint.id
        return None
