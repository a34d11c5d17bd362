"""What PostgreSQL refuses, in the words of who has to do something about it."""

from __future__ import annotations

from typing import Final

import psycopg

from posthouse.domain.errors import PosthouseError, SourceRefused, SourceUnavailable

# Classes of SQLSTATE after which the same may work soon: connection, resources, intervention of an operator, system, internal.
_PASSING: Final = ("08", "40", "53", "55P03", "57", "58", "XX")


def lost(slot: str, why: str) -> SourceRefused:
    """Changes were lost with a slot: `why` begins the sentence."""
    return SourceRefused(
        f"{why}: what changed since is not in the log any more. Rewind the trigger: the slot {slot} is made anew, "
        "and all rows "
        "of the tables are published as op snapshot",
        code="slot_lost",
    )


def translated(error: Exception, where: str, *, slot: str = "") -> PosthouseError:
    """An error of psycopg, of the operating system or of waiting. `where` is the database, without its password."""
    if isinstance(error, PosthouseError):
        return error
    said = _said(error)
    state = getattr(error, "sqlstate", None) or ""
    lower = said.lower()
    if (
        "invalidated" in lower
        or "can no longer get changes" in lower
        or "can no longer access replication slot" in lower
    ):
        return lost(
            slot, f"{where}: the slot {slot} kept more log than it may (max_slot_wal_keep_size), and was invalidated"
        )
    for matches, text, code in (
        (
            state == "55006" or "is active for pid" in lower,
            f"{said}. Somebody else reads this slot. Give this trigger a slot of its own, or end that: "
            "SELECT pg_terminate_backend(pid)",
            "slot_taken",
        ),
        (
            state == "42704" and "publication" in lower,
            f"{said}. It was dropped, and the changes from before it was made again cannot be read. Rewind the "
            "trigger: its "
            "publication and its slot are made anew, and all rows are published as op snapshot",
            "publication_missing",
        ),
        (
            state == "42704" and "replication slot" in lower,
            f"{said}. It was dropped, and with it what changed since. Rewind the trigger: the slot is made anew, "
            "and all "
            "rows of the tables are published as op snapshot",
            "slot_missing",
        ),
        (
            "wal_level" in lower or "logical decoding requires" in lower,
            f"{said}. Its log has no row changes: ALTER SYSTEM SET wal_level = logical, and restart it (on Amazon "
            "RDS the "
            "parameter rds.logical_replication = 1, on Cloud SQL the flag cloudsql.logical_decoding = on)",
            "wal_level",
        ),
        (
            "recovery is in progress" in lower,
            f"{said}: this is a standby. Give the primary; with several hosts in dsn, add ?target_session_attrs=read-write",
            "standby",
        ),
        (
            "all replication slots are in use" in lower,
            "all its replication slots are in use. Drop one that nobody reads (SELECT slot_name, active FROM "
            "pg_replication_slots), or raise max_replication_slots and restart it",
            "no_free_slot",
        ),
        (
            "max_wal_senders" in lower,
            f"{said}. Raise max_wal_senders and restart it, or end a reader: pg_stat_replication names them",
            "no_free_wal_sender",
        ),
        (
            "replication" in lower
            and (state == "42501" or "permission denied" in lower or "must be superuser or replication role" in lower),
            f"{said}. Somebody who may has to run ALTER ROLE … REPLICATION for the user of the DSN (on Amazon RDS: "
            "GRANT "
            "rds_replication TO …)",
            "no_replication_privilege",
        ),
        (
            "unsupported startup parameter" in lower or ("replication" in lower and "not supported" in lower),
            f"{said}. A connection pooler does not speak replication: give PostgreSQL itself in dsn",
            "pooler",
        ),
        (
            state == "28000" and "no pg_hba.conf entry" in lower,
            f"{said}. Let this user in from here in pg_hba.conf",
            "not_let_in",
        ),
        (
            state.startswith("28") or "password authentication failed" in lower or "no password supplied" in lower,
            f"{said}. Check user and password of dsn",
            "not_let_in",
        ),
        (
            state == "3D000" or ("database" in lower and "does not exist" in lower),
            f"{said}. Check the database of dsn",
            "no_database",
        ),
        (state == "42501", f"{said}. Grant it to the user of dsn, or give one who may", "no_privilege"),
    ):
        if matches:
            return SourceRefused(f"{where}: {text}", code=code)
    if state and not state.startswith(_PASSING):
        return SourceRefused(f"{where}: {said}")
    return SourceUnavailable(f"{where}: {said}")


def _said(error: Exception) -> str:
    """What it says in one line, without the words of psycopg around it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    primary = error.diag.message_primary if isinstance(error, psycopg.Error) else None
    text = " ".join((primary or str(error) or type(error).__name__).split())
    for before in ("connection failed: ", "FATAL: "):
        text = text.rpartition(before)[2].strip() if before in text else text
    return text.rstrip(".")
