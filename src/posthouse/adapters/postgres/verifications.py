"""Verifications of endpoints on PostgreSQL."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

import msgspec

from posthouse.adapters.postgres.changes import write_audit
from posthouse.adapters.postgres.configuration import bump_app
from posthouse.adapters.postgres.database import Connection, Database
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.verification import Verification, after_change, asked, followed
from posthouse.ports.directory import Audit
from posthouse.ports.verifications import Change, Claim, Claims, TooOften

SQL = Queries("verifications.sql")

TAKEN_SECONDS: Final = 0.1
"""Until it is worth looking again where all that is due is just being taken by others."""

_SETTLE_TURNS: Final = 5  # a settlement is tried anew where somebody followed the URL meanwhile, which happens once

_verification: Final = msgspec.json.Decoder(Verification)


def verification_of(stored: str | None) -> Verification | None:
    """As it is stored; None where there is none."""
    return None if stored is None else _verification.decode(stored)


class PostgresVerifications:
    """`ports.verifications.VerificationQueue` on PostgreSQL."""

    def __init__(self, database: Database, *, polling: Database | None = None) -> None:
        self._database = database
        self._polling = polling or database

    async def claim(self, *, limit: int, lease_seconds: float, without: Collection[AppId] = ()) -> Claims:
        look = await self._polling.fetchrow(SQL.look)
        assert look is not None, "it always answers one row"
        now, next_at = look["now"], look["next_at"]
        if next_at is None or next_at > now:
            return Claims(now, (), next_at)
        async with self._database.transaction() as connection:
            rows = await connection.fetch(SQL.claim, now, limit, lease_seconds, list(without))
        taken = tuple(
            Claim(
                AppId(row["app_id"]),
                EndpointId(row["endpoint_id"]),
                row["turn"],
                _verification.decode(row["progress"]),
                now,
            )
            for row in rows
        )
        return Claims(now, taken, now if taken else now + TAKEN_SECONDS)

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
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.locked, endpoint_id, app_id)
            if row is None:
                return None
            over = row["asked_before"] >= asked_seconds
            if not over and row["asked"] >= asked_max:
                return TooOften(asked_seconds - row["asked_before"])
            now: float = row["now"]
            new = asked(_verification.decode(row["progress"]), now=now)
            turn = await connection.fetchval(SQL.ask, endpoint_id, _json(new), lease_seconds, over)
            await write_audit(connection, audit)
        return Claim(app_id, endpoint_id, turn, new, now)

    async def expect(self, claim: Claim, token_hash: bytes) -> bool:
        async with self._database.transaction() as connection:
            return bool(await connection.fetch(SQL.expect, claim.endpoint_id, claim.turn, token_hash))

    async def settle(self, claim: Claim, change: Change) -> Verification | None:
        for _ in range(_SETTLE_TURNS):
            async with self._database.transaction() as connection:
                row = await connection.fetchrow(SQL.taken, claim.endpoint_id, claim.turn)
                if row is None:
                    return None
                old = _verification.decode(row["progress"])
                new, audit = change(old, row["now"])
                if (old.sendable, old.allowed_per_second) != (new.sendable, new.allowed_per_second):
                    await bump_app(connection, claim.app_id)
                settled = await connection.fetch(
                    SQL.settle,
                    claim.endpoint_id,
                    claim.turn,
                    row["progress"],
                    _json(new),
                    new.sendable,
                    new.allowed_per_second,
                    new.next_at,
                    new.waits_until is not None,
                )
                if settled:
                    if audit is not None:
                        await write_audit(connection, audit)
                    return new
        return None

    async def follow(self, token_hash: bytes, *, allowing: float | None) -> bool:
        async with self._database.transaction() as connection:
            row = await connection.fetchrow(SQL.of_token, token_hash)
            if row is None:
                return False
            old, now = _verification.decode(row["progress"]), row["now"]
            new = followed(old, now=now, allowing=allowing)
            await connection.execute(SQL.follow, row["endpoint_id"], _json(new), now, old.waits_until is not None)
        return True


async def renew(
    connection: Connection, endpoint_id: EndpointId, old: EndpointConfig, new: EndpointConfig, *, keys: bool = False
) -> None:
    """What a change of an endpoint, perhaps of its keys, means for its verification. The app is locked."""
    if new.handshake is None:
        if old.handshake is not None:
            await drop(connection, [endpoint_id])
        return
    row = await connection.fetchrow(SQL.progress, endpoint_id)
    now = await connection.fetchval(SQL.now)
    fresh = after_change(None if row is None else _verification.decode(row["progress"]), old, new, keys=keys, now=now)
    if fresh is not None:
        await connection.execute(SQL.begin, endpoint_id, _json(fresh), now)


async def drop(connection: Connection, endpoint_ids: Sequence[bytes]) -> None:
    """These endpoints have none any more. Their apps are locked."""
    await connection.execute(SQL.drop, endpoint_ids)


def _json(verification: Verification) -> str:
    return msgspec.json.encode(verification).decode()
