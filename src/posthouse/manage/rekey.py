"""Everything sealed anew, after a new master key was put in front of the old ones. It may be interrupted and begun again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from posthouse.ports.vault import BEGINNING, Remaining, Step, Vault

Progress = Callable[[str, int], None]
"""Is told what was done so far of a kind."""


class Rekeyed(msgspec.Struct, frozen=True):
    """What was sealed anew, made and removed; `failed` does not open."""

    data_keys: int
    new_data_keys: int
    secrets: int
    removed: int
    failed: int
    remaining: Remaining


async def rekey(vault: Vault, *, data_keys: bool, progress: Progress = lambda _what, _count: None) -> Rekeyed:
    """Seal all data keys with the first master key, and with data keys whatever a master key seals directly.

    `data_keys`: apps whose data key was made with another master key get a new one, and everything of theirs is sealed with
    it: who had the old master key and the old ciphertexts can then open nothing that is written from now on.
    """
    failed = 0

    async def every(what: str, step: Callable[[bytes], Awaitable[Step]]) -> int:
        nonlocal failed
        done, after = 0, BEGINNING
        while True:
            found = await step(after)
            done += found.done
            failed += found.failed
            if found.done:
                progress(what, done)
            if found.after is None:
                return done
            after = found.after

    resealed = await every("data keys", vault.reseal_data_keys)
    made = await every("new data keys", vault.renew_data_keys) if data_keys else 0
    secrets = await every("secrets", vault.reseal_secrets)
    removed = await every("old data keys removed", vault.drop_data_keys)
    remaining = await vault.remaining()
    await vault.rekeyed({"data_keys": resealed, "new_data_keys": made, "secrets": secrets, "failed": failed})
    return Rekeyed(resealed, made, secrets, removed, failed, remaining)
