"""A platform's code that knows nothing of triggers, to be killed: `python -m tests.chaos.trigger_writer DSN SEED`.

Each transaction takes the next number of one key or two, makes, changes or removes the key's item, and writes down as its own
data what it did; some are rolled back, wholly or to a savepoint, and some are slow. What is in `written` was committed, and
nothing else may ever be published. A database that is killed under it is waited for.
"""

from __future__ import annotations

import random
import sqlite3
import sys
import time
from contextlib import closing, suppress
from typing import Any, Final

import psycopg
import pymysql

from posthouse_sdk.outbox.dsn import parse

KEYS: Final = 8
AGAIN_SECONDS: Final = 0.05
TABLES: Final = (
    "CREATE TABLE counter (k int PRIMARY KEY, n int NOT NULL)",
    "CREATE TABLE written (k int, n int, op varchar(8) NOT NULL, PRIMARY KEY (k, n))",
    "CREATE TABLE item (k int PRIMARY KEY, n int NOT NULL, tag varchar(40))",
)


def connect(dsn: str) -> Any:
    """A DB-API connection that is not in autocommit mode."""
    told = parse(dsn)
    match told.dialect:
        case "postgresql":
            return psycopg.connect(dsn)
        case "mysql":
            # What was committed since the transaction's first statement has to be visible: a key's lock is what orders it.
            level = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED"
            return pymysql.connect(
                unix_socket=told.query["unix_socket"], user="root", database=told.path, init_command=level
            )
        case _:
            return sqlite3.connect(told.path, timeout=30, isolation_level="IMMEDIATE")


def write(connection: Any, place: str, chance: random.Random) -> None:
    """One transaction."""
    cursor = connection.cursor()
    for key in sorted(chance.sample(range(KEYS), chance.choice((1, 1, 1, 2)))):
        cursor.execute(f"UPDATE counter SET n = n + 1 WHERE k = {place}", (key,))
        cursor.execute(f"SELECT n FROM counter WHERE k = {place}", (key,))
        (number,) = cursor.fetchone()
        if chance.random() < 0.1:
            cursor.execute("SAVEPOINT doubt")
            cursor.execute(f"DELETE FROM item WHERE k = {place}", (key,))
            cursor.execute(f"INSERT INTO item (k, n, tag) VALUES ({place}, -1, 'never')", (key,))
            cursor.execute("ROLLBACK TO SAVEPOINT doubt")
        cursor.execute(f"SELECT n FROM item WHERE k = {place}", (key,))
        if cursor.fetchone() is None:
            done = "insert"
            cursor.execute(f"INSERT INTO item (k, n, tag) VALUES ({place}, {place}, 'new')", (key, number))
        elif chance.random() < 0.15:
            done = "delete"
            cursor.execute(f"DELETE FROM item WHERE k = {place}", (key,))
        else:
            done = "update"
            cursor.execute(f"UPDATE item SET n = {place} WHERE k = {place}", (number, key))
        cursor.execute(f"INSERT INTO written (k, n, op) VALUES ({place}, {place}, {place})", (key, number, done))
        if chance.random() < 0.02:
            time.sleep(chance.random() * 0.3)  # meanwhile others commit what began later
    if chance.random() < 0.15:
        connection.rollback()
    else:
        connection.commit()


def main() -> None:
    dsn, seed = sys.argv[1:]
    chance = random.Random(int(seed))
    place = "?" if parse(dsn).dialect == "sqlite" else "%s"
    with suppress(KeyboardInterrupt):
        while True:
            try:
                with closing(connect(dsn)) as connection:
                    while True:
                        write(connection, place, chance)
                        time.sleep(chance.random() * 0.005)
            except (psycopg.Error, pymysql.Error, sqlite3.Error, OSError):
                time.sleep(AGAIN_SECONDS)


if __name__ == "__main__":
    main()
