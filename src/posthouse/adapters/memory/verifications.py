"""The verifications of the reference model."""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from posthouse.adapters.memory.database import MemoryDatabase, VerificationState
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.verification import Verification, asked, followed
from posthouse.ports.directory import Audit
from posthouse.ports.verifications import Change, Claim, Claims, TooOften


class MemoryVerifications:
    """`ports.verifications.VerificationQueue` in memory."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def claim(self, *, limit: int, lease_seconds: float, without: Collection[AppId] = ()) -> Claims:
        async with self._database.transaction("claim_verifications") as transaction:
            await transaction.commits()
            now = self._database.clock()
            waking = sorted(
                (state.wake_at, endpoint_id)
                for endpoint_id, state in self._database.verifications.items()
                if state.wake_at is not None and self._database.endpoints[endpoint_id].app_id not in without
            )
            due = [endpoint_id for wake_at, endpoint_id in waking if wake_at <= now][:limit]
            if not due:
                return Claims(now, (), waking[0][0] if waking else None)
            return Claims(now, tuple([self._taken(endpoint_id, now, lease_seconds) for endpoint_id in due]), now)

    async def ask(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        *,
        lease_seconds: float,
        asked_max: int,
        asked_seconds: float,
        audit: Audit,
    ) -> Claim | TooOften | None:
        async with self._database.transaction("ask_verification") as transaction:
            await transaction.commits()
            state = self._database.verifications.get(endpoint_id)
            if state is None or self._database.endpoints[endpoint_id].app_id != app_id:
                return None
            now = self._database.clock()
            if now - state.asked_at >= asked_seconds:
                state.asked, state.asked_at = 0, now
            if state.asked >= asked_max:
                return TooOften(state.asked_at + asked_seconds - now)
            state.asked += 1
            state.token = None
            state.verification = asked(state.verification, now=now)
            return self._taken(endpoint_id, now, lease_seconds)

    async def expect(self, claim: Claim, token_hash: bytes) -> bool:
        async with self._database.transaction("expect_token") as transaction:
            await transaction.commits()
            state = self._of(claim)
            if state is None:
                return False
            state.token = token_hash
            state.verification = msgspec.structs.replace(state.verification, followed=False)
            return True

    async def settle(self, claim: Claim, change: Change) -> Verification | None:
        async with self._database.transaction("settle_verification") as transaction:
            await transaction.commits()
            state = self._of(claim)
            if state is None:
                return None
            old = state.verification
            new, _ = change(old, self._database.clock())
            state.verification, state.wake_at = new, new.next_at
            if new.waits_until is None:
                state.token = None
            if (old.sendable, old.allowed_per_second) != (new.sendable, new.allowed_per_second):
                self._database.bump_config(claim.app_id)
            return new

    async def follow(self, token_hash: bytes, *, allowing: float | None) -> bool:
        async with self._database.transaction("follow_token") as transaction:
            await transaction.commits()
            for state in self._database.verifications.values():
                if state.token == token_hash:
                    now = self._database.clock()
                    if state.verification.waits_until is not None:
                        state.turn += 1
                        state.wake_at = now
                    state.verification = followed(state.verification, now=now, allowing=allowing)
                    state.token = None
                    return True
            return False

    def _taken(self, endpoint_id: EndpointId, now: float, lease_seconds: float) -> Claim:
        state = self._database.verifications[endpoint_id]
        state.turn += 1
        state.wake_at = now + lease_seconds
        return Claim(self._database.endpoints[endpoint_id].app_id, endpoint_id, state.turn, state.verification, now)

    def _of(self, claim: Claim) -> VerificationState | None:
        state = self._database.verifications.get(claim.endpoint_id)
        return state if state is not None and state.turn == claim.turn else None
