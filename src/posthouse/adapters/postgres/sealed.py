"""What lies sealed in tables: sealed with the newest data key of its app, and opened where it can be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final

import asyncpg
import structlog

from posthouse.adapters.postgres.database import Connection
from posthouse.adapters.postgres.queries import Queries
from posthouse.domain.endpoint import Secret
from posthouse.domain.errors import PosthouseError
from posthouse.domain.named_keys import NO_KEYS, KeyVersion, NamedKeys, texts_of
from posthouse.ports.sealing import DataKey, OpenSecret, Sealer
from posthouse.wire.sealing import data_key_version

log = structlog.get_logger()

SQL = Queries("sealed.sql")

FIRST_VERSION: Final = 1


async def newest_data_key(connection: Connection, sealer: Sealer, app_id: bytes) -> DataKey:
    """The data key that seals what an app has; made where there is none. The app is locked by this transaction."""
    row = await connection.fetchrow(SQL.newest_data_key, app_id)
    if row is not None:
        return DataKey(app_id, row["version"], row["ciphertext"])
    return await add_data_key(connection, sealer, app_id, FIRST_VERSION)


async def add_data_key(connection: Connection, sealer: Sealer, app_id: bytes, version: int) -> DataKey:
    """A new data key of an app, which is locked by this transaction."""
    made = sealer.new_data_key(app_id, version)
    await connection.execute(SQL.add_data_key, app_id, version, made.sealed, sealer.sealing_id)
    return made


def data_key_of(sealed: bytes, app_id: bytes, data_key: bytes | None) -> DataKey | None:
    """The data key that was selected beside a secret. Raises SetupError for a secret in an unknown form."""
    if data_key is None:
        return None
    return DataKey(app_id, data_key_version(sealed) or 0, data_key)


def secrets_of(row: asyncpg.Record, open_secret: OpenSecret) -> tuple[Secret, ...]:
    """The secrets of a row of `store.sql`'s apps. Empty, which no signature is made with, where one does not open: that closes
    its endpoint's lane."""
    return tuple(
        [
            Secret(kind, opened(open_secret, sealed, row["id"], kind, version, row["app_id"], data_key) or b"")
            for kind, version, sealed, data_key in _rows(
                row, "secret_kinds", "secret_versions", "secrets", "secret_data_keys"
            )
        ]
    )


def keys_of(row: asyncpg.Record, open_secret: OpenSecret) -> NamedKeys:
    """The named keys of such a row, all of whose versions are live."""
    if not row["key_names"]:
        return NO_KEYS
    versions = [
        KeyVersion(name, version, opened_key(open_secret, sealed, row["id"], name, version, row["app_id"], data_key))
        for name, version, sealed, data_key in _rows(row, "key_names", "key_versions", "keys", "key_data_keys")
    ]
    return texts_of(versions, now=-math.inf)


def _rows(row: asyncpg.Record, *names: str) -> Iterable[tuple[Any, ...]]:
    """Columns of arrays as rows."""
    return zip(*(row[name] or () for name in names), strict=True)


def opened(
    open_secret: OpenSecret,
    sealed: bytes,
    owner: bytes,
    kind: str,
    version: int,
    app_id: bytes,
    data_key: bytes | None,
) -> bytes | None:
    """The secret; None, which the log tells of, where it does not open: one such must keep nothing else from being loaded."""
    try:
        return open_secret(sealed, owner, kind, version, data_key_of(sealed, app_id, data_key))
    except PosthouseError as error:
        log.error("secret.unreadable", endpoint=owner.hex(), kind=kind, version=version, error=str(error))
        return None


def key_kind(name: str) -> str:
    """The kind under which a named key is sealed."""
    return f"key:{name}"


def opened_key(
    open_secret: OpenSecret,
    sealed: bytes,
    endpoint_id: bytes,
    name: str,
    version: int,
    app_id: bytes,
    data_key: bytes | None,
) -> str | None:
    """The text of a named key; None, which the log tells of, where it does not open."""
    found = opened(open_secret, sealed, endpoint_id, key_kind(name), version, app_id, data_key)
    return None if found is None else found.decode("utf-8")
