"""What a replay store in a database does, as questions to it: the adapters ask, by whatever they reach it with."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Any, Final

from posthouse_sdk.errors import ClaimLostError, ReplayStoreError
from posthouse_sdk.receiving.store import CLAIM_SECONDS, KEEP_SECONDS, Claim, Terms
from posthouse_sdk.receiving.stores.statements import SWEEP_EVERY, TABLE, statements


@dataclass(frozen=True, slots=True)
class Question:
    """A statement with named parameters (`:id`) and their values."""

    sql: str
    values: Mapping[str, Any]
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Told:
    """How many rows it changed, and the row it read."""

    count: int
    row: tuple[Any, ...] | None = None


Flow = Generator[Question, Told, Claim | None]


class Flows:
    """Each question is a transaction of its own: in one together, InnoDB's shared locks of a duplicate insert would deadlock.

    `table` is made by the statements of `create`.

    Raises: ReceiverError for a dialect, a table or spans that will not do.
    """

    def __init__(
        self,
        dialect: str,
        *,
        table: str = TABLE,
        claim_seconds: float = CLAIM_SECONDS,
        keep_seconds: float = KEEP_SECONDS,
    ) -> None:
        terms = Terms(claim_seconds, keep_seconds)
        self.table: Final = table
        self._sql: Final = statements(dialect, table)
        self.create: Final = self._sql.create
        self._spans: Final = {"claim_seconds": terms.claim_seconds, "keep_seconds": terms.keep_seconds}
        self._claims: Final = count(1)

    def create_table(self) -> Flow:
        for statement in self.create:
            yield Question(statement, {})
        return None

    def claim(self, key: str, token: str) -> Flow:
        if next(self._claims) % SWEEP_EVERY == 0:
            yield Question(self._sql.sweep, {})
        mine = {"id": key, "token": token, "claim_seconds": self._spans["claim_seconds"]}
        while True:
            if (yield Question(self._sql.insert, mine)).count == 1:
                return Claim.GRANTED
            if (yield Question(self._sql.take_over, mine)).count == 1:
                return Claim.GRANTED
            found = (yield Question(self._sql.standing, {"id": key}, reads=True)).row
            if found is None:
                continue  # released between the questions
            confirmed, holder = found
            if confirmed:
                return Claim.CONFIRMED
            return Claim.GRANTED if holder == token else Claim.HELD

    def confirm(self, key: str) -> Flow:
        values = {"id": key, "keep_seconds": self._spans["keep_seconds"]}
        if (yield Question(self._sql.confirm, values)).count == 0:
            yield Question(self._sql.confirm_absent, values)
        return None

    def confirm_own(self, key: str, token: str) -> Flow:
        """Raises: ClaimLostError where the claim has ended and the event is somebody else's."""
        values = {"id": key, "token": token, "keep_seconds": self._spans["keep_seconds"]}
        if (yield Question(self._sql.confirm_own, values)).count == 0:
            raise ClaimLostError(
                "the claim ran out before the work was done, and somebody else has taken the event: roll back. "
                "Claims that last longer (claim_seconds) do not run out"
            )
        return None

    def release(self, key: str, token: str) -> Flow:
        yield Question(self._sql.release, {"id": key, "token": token})
        return None

    def forget(self, key: str) -> Flow:
        yield Question(self._sql.forget, {"id": key})
        return None

    def explained(self, error: Exception) -> Exception:
        """The error to raise for one of the database's: it says what to do where the table is missing."""
        text = str(error).lower()
        if self.table.rpartition(".")[2].lower() in text and any(
            sign in text for sign in ("no such table", "does not exist", "doesn't exist")
        ):
            return ReplayStoreError(
                f"there is no table {self.table}: make it with the store's create_table(), or in a migration of yours: "
                + "; ".join(self.create)
            )
        return error
