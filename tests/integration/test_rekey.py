"""Secrets at rest: sealed with data keys of their apps, and sealed anew while servers go on."""

from __future__ import annotations

import asyncio
import json
from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from tests.commands import run
from tests.integration.api_world import World, raw, sealer, world_over

from posthouse.adapters.postgres.sealed import data_key_of
from posthouse.adapters.postgres.store import PostgresStore
from posthouse.adapters.postgres.vault import PostgresVault
from posthouse.adapters.system.keyring import Keyring, Sealer, key_id
from posthouse.domain.ids import APP, ENDPOINT, AppId
from posthouse.manage.rekey import Rekeyed, rekey
from posthouse.ports.vault import BEGINNING, Remaining
from posthouse.wire.sealing import binding

OLD: Final = b"k" * 32  # of `world`
NEW: Final = b"n" * 32
BOTH: Final = Sealer(Keyring([NEW, OLD]))
NOTHING: Final = Remaining(0, 0, 0, 0)


@pytest.fixture
async def world(database: str) -> AsyncIterator[World]:
    async with world_over(database) as made:
        yield made


async def fill(world: World) -> list[AppId]:
    """Three apps with endpoints, secrets that were rotated, and keys; what an older release sealed; and a secret of nobody."""
    apps = []
    for name in ("one", "two", "three"):
        apps.append(AppId(raw(APP, await world.app(name))))
        for uid in ("a", "b"):
            endpoint = await world.endpoint(name, uid=uid, keys={"legacy": f"{name} {uid}"})
            await world.admin.post(f"/v1/apps/{name}/endpoints/{uid}/secret/rotate", {"overlap_seconds": 600})
        await world.admin.put(f"/v1/apps/{name}/endpoints/b/keys/legacy", {"value": "newer", "overlap_seconds": 600})
    owner = raw(ENDPOINT, endpoint)
    direct = Keyring([OLD])
    for table, column, kind, version in (
        ("secret", "owner_id", "v1", 1),
        ("endpoint_key", "endpoint_id", "key:legacy", 1),
    ):
        place = f"{column} = $1 AND version = $2"
        ((sealed, data_key),) = await world.query(
            f"SELECT ciphertext, (SELECT ciphertext FROM data_key WHERE app_id = $3) FROM {table} WHERE {place}",
            owner,
            version,
            apps[-1],
        )
        plain = sealer().open(sealed, owner, kind, version, data_key_of(sealed, apps[-1], data_key))
        await world.query(
            f"UPDATE {table} SET ciphertext = $3, data_key = NULL WHERE {place}",
            owner,
            version,
            direct.seal(plain, bound_to=binding(owner, kind, version)),
        )
    await world.query(
        "INSERT INTO secret (owner_id, kind, version, ciphertext) VALUES ($1, 'v1', 1, $2)",
        bytes(15) + b"\1",
        direct.seal(b"of nobody", bound_to=binding(bytes(15) + b"\1", "v1", 1)),
    )
    return apps


async def opened(world: World, apps: list[AppId], keys: Sealer) -> list[Any]:
    """All secrets and keys as an engine with these master keys has them."""
    configs = await PostgresStore(world.database, world.database, keys.open).apps(apps)
    return [(e.id, e.secrets, dict(e.keys)) for config in configs for e in config.endpoints]


async def sealed_anew(world: World, *, data_keys: bool = False, page_max: int = 2, keys: Sealer = BOTH) -> Rekeyed:
    return await rekey(PostgresVault(world.database, keys, page_max=page_max), data_keys=data_keys)


async def test_nothing_is_sealed_with_a_master_key_but_data_keys(world: World) -> None:
    await world.app("shop")
    for uid in ("a", "b"):
        await world.endpoint("shop", uid=uid, keys={"legacy": "x"})
    assert await world.query("SELECT version, made_with FROM data_key") == [(1, key_id(OLD))]
    assert await world.query("SELECT DISTINCT data_key, get_byte(ciphertext, 0) FROM secret") == [(1, 2)]
    assert await world.query("SELECT DISTINCT data_key, get_byte(ciphertext, 0) FROM endpoint_key") == [(1, 2)]
    assert (await world.admin.delete("/v1/apps/shop")).status == 204
    assert await world.query("SELECT count(*) FROM data_key") == [(0,)]


async def test_everything_is_sealed_with_the_new_master_key(world: World) -> None:
    apps = await fill(world)
    before = await opened(world, apps, sealer())
    assert all(len(secrets) == 2 and keys["legacy"] for _, secrets, keys in before)
    done = await sealed_anew(world)
    assert (done.data_keys, done.secrets, done.new_data_keys, done.removed, done.failed) == (3, 3, 0, 0, 0)
    assert done.remaining == Remaining(0, 0, 0, 3)
    assert await opened(world, apps, Sealer(Keyring([NEW]))) == before
    again = await sealed_anew(world)
    assert (again.data_keys, again.secrets, again.failed) == (0, 0, 0)
    (entry, _) = (await world.admin.get("/v1/audit?action=master_key.")).json()["data"]
    assert (entry["object"], entry["actor"]["id"]) == (key_id(NEW), "system")


async def test_new_data_keys_replace_those_that_the_old_master_key_made(world: World) -> None:
    apps = await fill(world)
    before = await opened(world, apps, sealer())
    old = await world.query("SELECT ciphertext FROM secret UNION ALL SELECT ciphertext FROM endpoint_key")
    done = await sealed_anew(world, data_keys=True)
    assert (done.data_keys, done.new_data_keys, done.removed, done.failed) == (3, 3, 3, 0)
    assert done.remaining == NOTHING
    assert await opened(world, apps, Sealer(Keyring([NEW]))) == before
    new = await world.query("SELECT ciphertext FROM secret UNION ALL SELECT ciphertext FROM endpoint_key")
    assert not set(old) & set(new)
    assert await world.query("SELECT DISTINCT version, made_with FROM data_key") == [(2, key_id(NEW))]
    again = await sealed_anew(world, data_keys=True)
    assert (again.data_keys, again.new_data_keys, again.secrets, again.removed) == (0, 0, 0, 0)


async def test_what_was_interrupted_goes_on(world: World) -> None:
    """After any number of its steps, what is there opens, and another run ends it."""
    apps = await fill(world)
    before = await opened(world, apps, sealer())
    vault = PostgresVault(world.database, BOTH, page_max=1)
    first = await vault.reseal_data_keys(BEGINNING)
    assert first.after is not None
    await vault.reseal_data_keys(first.after)
    assert await opened(world, apps, BOTH) == before
    await vault.renew_data_keys(BEGINNING)
    await vault.reseal_secrets((await vault.reseal_secrets(BEGINNING)).after or b"")
    await vault.drop_data_keys(BEGINNING)
    assert await opened(world, apps, BOTH) == before
    assert (await sealed_anew(world, data_keys=True, page_max=3)).remaining == NOTHING
    assert await opened(world, apps, Sealer(Keyring([NEW]))) == before


async def test_endpoints_are_changed_while_all_is_sealed_anew(database: str) -> None:
    """By servers that were started with the new master key in front."""
    given: dict[str, str] = {}
    async with world_over(database) as before:
        apps = await fill(before)
        key = (await before.admin.post("/v1/keys", {"scope": "admin"})).json()["key"]
    async with world_over(database, sealed=BOTH) as world:
        admin = world.admin.with_key(key)

        async def change(app: str, uid: str) -> None:
            at = f"/v1/apps/{app}/endpoints/{uid}"
            for number in range(5):
                given[app + uid] = f"{app} {uid} {number}"
                put = await admin.put(f"{at}/keys/legacy", {"value": given[app + uid], "overlap_seconds": 0})
                assert put.status == 200
                assert (await admin.post(f"{at}/secret/rotate", {"overlap_seconds": 0})).status == 200
            if uid == "a":
                assert (await admin.delete(at)).status == 204

        sealing = asyncio.create_task(sealed_anew(world, data_keys=True, page_max=1))
        await asyncio.gather(*(change(app, uid) for app in ("one", "two", "three") for uid in ("a", "b")))
        assert (await sealing).failed == 0
        last = await sealed_anew(world, data_keys=True)  # what was written behind its back
        assert (last.failed, last.remaining) == (0, NOTHING)
        found = await opened(world, apps, Sealer(Keyring([NEW])))
    told = [(keys["legacy"], len(secrets), all(s.key for s in secrets)) for _, secrets, keys in found]
    assert told == [((given[app + "b"],), 1, True) for app in ("one", "two", "three")]


async def test_what_does_not_open_is_told_and_left(world: World) -> None:
    apps = await fill(world)
    await world.query("UPDATE data_key SET ciphertext = ciphertext || 'x' WHERE app_id = $1", apps[0])
    await world.query("UPDATE secret SET ciphertext = ciphertext || 'x' WHERE owner_id = $1", bytes(15) + b"\1")
    done = await sealed_anew(world, page_max=1)
    assert (done.data_keys, done.failed) == (2, 2)
    assert (done.remaining.data_keys, done.remaining.secrets) == (1, 1)
    others = await opened(world, apps[1:], Sealer(Keyring([NEW])))
    assert all(s.key for _, secrets, _ in others for s in secrets)


async def test_the_command(database: str) -> None:
    def command(*words: str, keys: bytes) -> Any:
        told = run("keys", "rekey", *words, "--database-url", database, POSTHOUSE_MASTER_KEY=keys.decode())
        assert "Traceback" not in told.stderr
        return told

    old, new = (b64encode(key) for key in (OLD, NEW))
    async with world_over(database) as world:
        apps = await fill(world)
        before = await opened(world, apps, sealer())
        refused = await asyncio.to_thread(lambda: command(keys=new))
        assert refused.returncode == 6
        assert f"the master key {key_id(OLD)}, which is not loaded" in refused.stdout + refused.stderr
        done = await asyncio.to_thread(lambda: command("--data-keys", keys=new + b"," + old))
        assert done.returncode == 0, done.stderr
        told = json.loads(done.stdout)
        assert (told["data_keys"], told["new_data_keys"], told["remaining"]) == (3, 3, 0)
        assert f"any other master key than {key_id(NEW)}" in done.stderr
        assert await opened(world, apps, Sealer(Keyring([NEW]))) == before
        found = await asyncio.to_thread(
            lambda: run("doctor", "--database-url", database, "--json", POSTHOUSE_MASTER_KEY=new.decode())
        )
        (check,) = [one for one in map(json.loads, found.stdout.splitlines()) if one["check"] == "master_key"]
        assert (check["verdict"], check["found"]) == ("ok", f"opens what was sealed with {key_id(NEW)}")
