"""What PostgreSQL refuses, in the words of who has to do something about it."""

from __future__ import annotations

from typing import Final

import psycopg

from posthouse.domain.errors import PosthouseError, SourceRefused, SourceUnavailable

# Classes of SQLSTATE after which the same may work soon: connection, resources, intervention of an operator, system, internal.
_PASSING: Final = ("08", "40", "53", "55P03", "57", "58", "XX")


def lost(why: str) -> SourceRefused:
    """Changes were lost with a slot: `why` begins the sentence."""
    return SourceRefused(
        f"{why}: changes are lost. Rewind the trigger (a slot of your own has to be made anew before): all rows of "
        "the tables are "
        "published as op snapshot",
        code="slot_lost",
    )


def standby(where: str) -> SourceRefused:
    return SourceRefused(
        f"{where}: this is a standby. Give the primary; with several hosts in dsn, add "
        "?target_session_attrs=read-write",
        code="standby",
    )


def translated(error: Exception, where: str, *, slot: str = "") -> PosthouseError:
    """An error of psycopg, of the operating system or of waiting. `where` is the database, without its password."""
    if isinstance(error, PosthouseError):
        return error
    said = _said(error)
    state = getattr(error, "sqlstate", None) or ""
    found = _of_the_slot(said, state, where, slot) or _of_the_server(said, where) or _of_the_user(said, state, where)
    if found is not None:
        return found
    if state and not state.startswith(_PASSING):
        return SourceRefused(f"{where}: {said}")
    return SourceUnavailable(f"{where}: {said}")


def _of_the_slot(said: str, state: str, where: str, slot: str) -> SourceRefused | None:
    lower = said.lower()
    if "invalidated" in lower or "can no longer" in lower:
        return lost(f"{where}: the slot {slot} kept more log than it may (max_slot_wal_keep_size)")
    if state == "55006" or "is active for pid" in lower:
        return SourceRefused(
            f"{where}: {said}. Somebody else reads this slot. Give this trigger a slot of its own, or end that "
            "reader with "
            "pg_terminate_backend",
            code="slot_taken",
        )
    if state == "42704" and "publication" in lower:
        return SourceRefused(
            f"{where}: {said}. It was dropped, and changes from before it was made again cannot be read. Rewind the "
            "trigger: "
            "publication and slot are made anew, and all rows of the tables are published as op snapshot",
            code="publication_missing",
        )
    if state == "42704" and "replication slot" in lower:
        return SourceRefused(
            f"{where}: {said}. It was dropped, and with it what changed since. Rewind the trigger: the slot is made "
            "anew, and "
            "all rows of the tables are published as op snapshot",
            code="slot_missing",
        )
    return None


def _of_the_server(said: str, where: str) -> SourceRefused | None:
    lower = said.lower()
    if "wal_level" in lower or "logical decoding requires" in lower:
        return SourceRefused(
            f"{where}: {said}. ALTER SYSTEM SET wal_level = logical, and restart it (Amazon RDS: "
            "rds.logical_replication = 1; "
            "Cloud SQL: cloudsql.logical_decoding = on)",
            code="wal_level",
        )
    if "recovery is in progress" in lower:
        return standby(where)
    if "all replication slots are in use" in lower:
        return SourceRefused(
            f"{where}: all its replication slots are in use. Drop one that nobody reads (pg_replication_slots names "
            "them), or "
            "raise max_replication_slots and restart it",
            code="no_free_slot",
        )
    if "max_wal_senders" in lower:
        return SourceRefused(
            f"{where}: {said}. Raise max_wal_senders and restart it, or end a reader (pg_stat_replication names them)",
            code="no_free_wal_sender",
        )
    if "unsupported startup parameter" in lower or ("replication" in lower and "not supported" in lower):
        return SourceRefused(
            f"{where}: {said}. A connection pooler does not speak replication: give PostgreSQL itself in dsn",
            code="pooler",
        )
    return None


def _of_the_user(said: str, state: str, where: str) -> SourceRefused | None:
    lower = said.lower()
    if "replication" in lower and (state == "42501" or "permission denied" in lower or "must be superuser" in lower):
        return SourceRefused(
            f"{where}: {said}. A superuser has to run ALTER ROLE … REPLICATION for the user of dsn (Amazon RDS: "
            "GRANT rds_replication TO …)",
            code="no_replication_privilege",
        )
    if "no pg_hba.conf entry" in lower:
        return SourceRefused(f"{where}: {said}. Let this user in from here in pg_hba.conf", code="not_let_in")
    if state.startswith("28") or "password authentication failed" in lower or "no password supplied" in lower:
        return SourceRefused(f"{where}: {said}. Check user and password of dsn", code="not_let_in")
    if state == "3D000" or ("database" in lower and "does not exist" in lower):
        return SourceRefused(f"{where}: {said}. Check the database of dsn", code="no_database")
    if state == "42501":
        return SourceRefused(f"{where}: {said}. Grant it to the user of dsn, or give one who may", code="no_privilege")
    return None


def _said(error: Exception) -> str:
    """What it says in one line, without the words of psycopg around it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = " ".join((primary or str(error) or type(error).__name__).split())
    for before in ("connection failed: ", "FATAL: "):
        text = text.rpartition(before)[2].strip() if before in text else text
    return text.rstrip(".")
