"""A replay store in the user's own database, by SQLAlchemy 2: an `Engine` or an `AsyncEngine`.

A handler whose work is in that same database can confirm in its own transaction (`confirm_within`): then the work and its
confirmation are one, and the event takes effect exactly once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from posthouse_sdk.errors import ReceiverError
from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.receiving.store import CLAIM_SECONDS, KEEP_SECONDS, Claim
from posthouse_sdk.receiving.stores.dbapi import claim_of
from posthouse_sdk.receiving.stores.flow import Flow, Flows, Question, Told
from posthouse_sdk.receiving.stores.statements import TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession
    from sqlalchemy.orm import Session


class SqlAlchemyReplayStore:
    """Raises: ReceiverError for an `AsyncEngine`, a database or a table that will not do, or spans that make no sense.

    Calls raise SQLAlchemy's errors, and ReplayStoreError where the table is missing.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        table: str = TABLE,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        _check(engine, "SqlAlchemyReplayStore", is_async=False)
        self._engine: Final = engine
        self._flows: Final = Flows(
            engine.dialect.name, table=table, claim_seconds=claim_seconds, keep_seconds=keep_seconds
        )

    def create_table(self) -> None:
        """Make the table, unless it is there."""
        self._run(self._flows.create_table())

    def claim(self, key: str, token: str) -> Claim:
        claim = self._run(self._flows.claim(key, token))
        assert claim is not None
        return claim

    def confirm(self, key: str, token: str) -> None:
        self._run(self._flows.confirm(key))

    def confirm_within(self, session: Session | Connection, event: ReceivedEvent[Any]) -> None:
        """Confirm an event in a transaction of the caller's, who commits it before the handler returns.

        Raises: ClaimLostError, upon which the caller must roll back; ReceiverError for an event that was not claimed.
        """
        claimed = claim_of(event)
        _follow(session, self._flows, self._flows.confirm_own(claimed.key, claimed.token))

    def release(self, key: str, token: str) -> None:
        self._run(self._flows.release(key, token))

    def forget(self, key: str) -> None:
        self._run(self._flows.forget(key))

    def _run(self, flow: Flow) -> Claim | None:
        with self._engine.connect() as connection:
            return _follow(connection, self._flows, flow, commits=True)


class AsyncSqlAlchemyReplayStore:
    """The same over an `AsyncEngine`."""

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        table: str = TABLE,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        _check(engine, "AsyncSqlAlchemyReplayStore", is_async=True)
        self._engine: Final = engine
        self._flows: Final = Flows(
            engine.dialect.name, table=table, claim_seconds=claim_seconds, keep_seconds=keep_seconds
        )

    async def create_table(self) -> None:
        """Make the table, unless it is there."""
        await self._run(self._flows.create_table())

    async def claim(self, key: str, token: str) -> Claim:
        claim = await self._run(self._flows.claim(key, token))
        assert claim is not None
        return claim

    async def confirm(self, key: str, token: str) -> None:
        await self._run(self._flows.confirm(key))

    async def confirm_within(self, session: AsyncSession | AsyncConnection, event: ReceivedEvent[Any]) -> None:
        """Confirm an event in a transaction of the caller's, who commits it before the handler returns.

        Raises: ClaimLostError, upon which the caller must roll back; ReceiverError for an event that was not claimed.
        """
        claimed = claim_of(event)
        await session.run_sync(_follow, self._flows, self._flows.confirm_own(claimed.key, claimed.token))

    async def release(self, key: str, token: str) -> None:
        await self._run(self._flows.release(key, token))

    async def forget(self, key: str) -> None:
        await self._run(self._flows.forget(key))

    async def _run(self, flow: Flow) -> Claim | None:
        async with self._engine.connect() as connection:
            return await connection.run_sync(_follow, self._flows, flow, commits=True)


def _follow(connection: Session | Connection, flows: Flows, flow: Flow, *, commits: bool = False) -> Claim | None:
    try:
        question = next(flow)
        while True:
            told = _ask(connection, flows, question)
            if commits:
                connection.commit()
            question = flow.send(told)
    except StopIteration as end:
        result: Claim | None = end.value
        return result


def _ask(connection: Session | Connection, flows: Flows, question: Question) -> Told:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    try:
        result: Any = connection.execute(text(question.sql), dict(question.values))
    except DBAPIError as error:
        explained = flows.explained(error)
        if explained is error:
            raise
        raise explained from error
    row = result.first() if question.reads else None
    return Told(result.rowcount, None if row is None else tuple(row))


def _check(engine: Any, name: str, *, is_async: bool) -> None:
    if hasattr(engine, "sync_engine") is not is_async:
        right = "AsyncSqlAlchemyReplayStore" if hasattr(engine, "sync_engine") else "SqlAlchemyReplayStore"
        raise ReceiverError(f"a {type(engine).__name__} goes into {right}, not into {name}")
