"""An application whose orders are watched, for tests: what it commits is noted, as the events that have to come of it."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, Final

from tests.outboxes import Place

ORDERS: Final = range(1, 9)
SHOPS: Final = 3
TABLE: Final = (
    "CREATE TABLE orders (id int NOT NULL PRIMARY KEY, shop_id int NOT NULL, status varchar(40), amount decimal(10, 2))"
)
Heard = tuple[str, str | None]


class Shop:
    """Each order is of the shop `id % SHOPS`. `committed`: of each order, what was done and the status that it had then, in
    order."""

    def __init__(self, place: Place, seed: int = 1) -> None:
        self.place = place
        self.committed: dict[int, list[Heard]] = defaultdict(list)
        self.rolled_back = 0
        self.amounts = True  # whether there is such a column
        self._chance = random.Random(seed)
        self._status: dict[int, str] = {}
        self._written = 0

    def open(self) -> Shop:
        self.place.execute(TABLE)
        return self

    def write(self, transactions: int) -> None:
        """So many, of which some are rolled back, wholly or to a savepoint."""
        with closing(self.place.connect()) as connection:
            for _ in range(transactions):
                self._transaction(connection)

    def update(self, order: int, **columns: str) -> None:
        """One change of an order that is there, or made first."""
        with closing(self.place.connect()) as connection:
            cursor = connection.cursor()
            if order not in self._status:
                self._change(cursor, order, "insert", self._next(), self.committed)
            status = self._next()
            names = "".join(f", {name} = {self._mark}" for name in columns)
            cursor.execute(
                f"UPDATE orders SET status = {self._mark}{names} WHERE id = {self._mark}",
                (status, *columns.values(), order),
            )
            connection.commit()
        self._status[order] = status
        self.committed[order].append(("update", status))

    @contextmanager
    def elsewhere(self) -> Iterator[None]:
        """A transaction that changes all orders and is open meanwhile; it is rolled back in the end."""
        with closing(self.place.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(f"INSERT INTO orders (id, shop_id, status) VALUES (0, 0, {self._mark})", ("never",))
            yield
            connection.rollback()
            self.rolled_back += 1

    def _transaction(self, connection: Any) -> None:
        cursor = connection.cursor()
        status, done = dict(self._status), defaultdict[int, list[Heard]](list)
        for order in sorted(self._chance.sample(ORDERS, self._chance.choice((1, 1, 2, 3)))):
            for _ in range(self._chance.choice((1, 1, 2))):
                if self._chance.random() < 0.1:
                    cursor.execute("SAVEPOINT doubt")
                    self._change(cursor, order, self._choose(order), "never", defaultdict(list))
                    cursor.execute("ROLLBACK TO SAVEPOINT doubt")
                    self._status = dict(status)
                    for changed, changes in done.items():
                        self._follow(changed, changes)
                    self.rolled_back += 1
                self._change(cursor, order, self._choose(order), self._next(), done)
        if self._chance.random() < 0.2:
            connection.rollback()
            self._status = status
            self.rolled_back += 1
            return
        connection.commit()
        for order, changes in done.items():
            self.committed[order] += changes

    def _choose(self, order: int) -> str:
        if order not in self._status:
            return "insert"
        return "delete" if self._chance.random() < 0.2 else "update"

    def _change(self, cursor: Any, order: int, done: str, status: str, told: dict[int, list[Heard]]) -> None:
        mark = self._mark
        match done:
            case "insert":
                name, value = (", amount", ", 12.50") if self.amounts else ("", "")
                cursor.execute(
                    f"INSERT INTO orders (id, shop_id, status{name}) VALUES ({mark}, {mark}, {mark}{value})",
                    (order, order % SHOPS, status),
                )
            case "update":
                cursor.execute(f"UPDATE orders SET status = {mark} WHERE id = {mark}", (status, order))
            case _:
                status = self._status[order]
                cursor.execute(f"DELETE FROM orders WHERE id = {mark}", (order,))
        told[order].append((done, status))
        self._follow(order, [(done, status)])

    def _follow(self, order: int, changes: list[Heard]) -> None:
        done, status = changes[-1]
        if done == "delete":
            self._status.pop(order, None)
        else:
            assert status is not None
            self._status[order] = status

    def _next(self) -> str:
        self._written += 1
        return f"status {self._written}"

    @property
    def _mark(self) -> str:
        return "?" if self.place.dialect == "sqlite" else "%s"
