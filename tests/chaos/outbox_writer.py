"""A platform's code, to be killed: `python -m tests.chaos.outbox_writer DIALECT DSN SEED`.

Each transaction takes the next number of a key, writes it down as its own data, and emits it; some are rolled back, and some
are slow. What is in `written` was committed, and nothing else may ever be published.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from contextlib import suppress
from typing import Any, Final

from posthouse_sdk.outbox import emit
from posthouse_sdk.outbox.dsn import parse

KEYS: Final = 8
TABLES: Final = (
    "CREATE TABLE counter (k int PRIMARY KEY, n int NOT NULL)",
    "CREATE TABLE written (k int, n int, PRIMARY KEY (k, n))",
)


def connect(dsn: str) -> Any:
    """A DB-API connection that is not in autocommit mode."""
    told = parse(dsn)
    match told.dialect:
        case "postgresql":
            import psycopg

            return psycopg.connect(dsn)
        case "mysql":
            import pymysql

            return pymysql.connect(unix_socket=told.query["unix_socket"], user="root", database=told.path)
        case "sqlite":
            return sqlite3.connect(told.path, timeout=30, isolation_level="IMMEDIATE")


def write(connection: Any, place: str, chance: random.Random) -> None:
    """One transaction."""
    cursor = connection.cursor()
    for key in sorted(chance.sample(range(KEYS), chance.choice((1, 1, 1, 2)))):
        cursor.execute(f"UPDATE counter SET n = n + 1 WHERE k = {place}", (key,))
        cursor.execute(f"SELECT n FROM counter WHERE k = {place}", (key,))
        (number,) = cursor.fetchone()
        cursor.execute(f"INSERT INTO written (k, n) VALUES ({place}, {place})", (key, number))
        emit(connection, "chaos.event", {"k": key, "n": number}, key=f"key:{key}", app="shop")
        if chance.random() < 0.02:
            time.sleep(chance.random() * 0.3)  # meanwhile others commit rows with higher ids
    if chance.random() < 0.1:
        connection.rollback()
    else:
        connection.commit()


def main() -> None:
    dsn, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    place = "?" if parse(dsn).dialect == "sqlite" else "%s"
    connection = connect(dsn)
    with suppress(KeyboardInterrupt):
        while True:
            write(connection, place, chance)
            time.sleep(chance.random() * 0.005)


if __name__ == "__main__":
    main()
