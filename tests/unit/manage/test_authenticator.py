"""From an API key to its holder: remembered, bounded, and forgotten at once."""

from __future__ import annotations

from typing import Any, cast

import pytest

from posthouse.domain.access import Principal, Scope
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import StoreUnavailable, Unauthorised
from posthouse.domain.limits import KEY_CACHED_SECONDS, KEY_LENGTH_MAX, KEYS_CACHED_MAX, UNKNOWN_KEY_CACHED_SECONDS
from posthouse.manage.authenticator import Authenticator, key_hash
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory

ADMIN = Principal(b"k" * 16, Scope.ADMIN)


class Keys:
    """A directory that knows one key, and counts how often it is asked."""

    def __init__(self, token: str | None = "good") -> None:
        self.token = token
        self.asked = 0
        self.while_asked: Any = lambda: None

    async def principal(self, hashed: bytes) -> Principal | None:
        self.asked += 1
        found = ADMIN if self.token is not None and hashed == key_hash(self.token) else None
        self.while_asked()
        return found


class Now:
    at = 100.0

    def boot(self) -> float:
        return self.at


@pytest.fixture
def keys() -> Keys:
    return Keys()


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture
def authenticator(keys: Keys, now: Now) -> Authenticator:
    return Authenticator(cast(Directory, keys), cast(Clock, now))


async def test_a_key_is_looked_up_once_and_again_after_a_while(
    authenticator: Authenticator, keys: Keys, now: Now
) -> None:
    assert authenticator.cached("good") is None
    assert await authenticator.authenticate("good") == ADMIN
    assert authenticator.cached("good") == ADMIN
    assert await authenticator.authenticate("good") == ADMIN
    assert keys.asked == 1
    now.at += KEY_CACHED_SECONDS
    assert authenticator.cached("good") is None
    keys.token = None
    with pytest.raises(Unauthorised):
        await authenticator.authenticate("good")
    assert authenticator.known_cached == CacheFacts(entries=1, hits=2, misses=2)


async def test_an_unknown_key_is_remembered_for_a_shorter_time(
    authenticator: Authenticator, keys: Keys, now: Now
) -> None:
    for _ in range(3):
        with pytest.raises(Unauthorised):
            await authenticator.authenticate("new")
    assert keys.asked == 1
    assert authenticator.known_cached == CacheFacts(entries=0, hits=0, misses=3)
    assert authenticator.unknown_cached == CacheFacts(entries=1, hits=2, misses=1)
    keys.token = "new"
    now.at += UNKNOWN_KEY_CACHED_SECONDS
    assert await authenticator.authenticate("new") == ADMIN


async def test_forgetting_ends_a_key_at_once(authenticator: Authenticator, keys: Keys) -> None:
    await authenticator.authenticate("good")
    keys.token = None
    authenticator.forget()
    assert authenticator.cached("good") is None
    with pytest.raises(Unauthorised):
        await authenticator.authenticate("good")


async def test_a_key_revoked_while_it_is_looked_up_is_not_remembered(authenticator: Authenticator, keys: Keys) -> None:
    keys.while_asked = authenticator.forget
    assert await authenticator.authenticate("good") == ADMIN
    assert authenticator.cached("good") is None


async def test_what_is_remembered_is_bounded(authenticator: Authenticator, keys: Keys) -> None:
    await authenticator.authenticate("good")
    for number in range(KEYS_CACHED_MAX + 10):
        with pytest.raises(Unauthorised):
            await authenticator.authenticate(f"guess {number}")
    assert len(authenticator._unknown) <= KEYS_CACHED_MAX
    # Guesses do not push out those who are known.
    assert authenticator.cached("good") == ADMIN


async def test_a_text_that_no_key_has_the_length_of_is_not_looked_up(authenticator: Authenticator, keys: Keys) -> None:
    with pytest.raises(Unauthorised):
        await authenticator.authenticate("x" * (KEY_LENGTH_MAX + 1))
    assert keys.asked == 0


async def test_a_database_that_does_not_answer_says_nothing_about_a_key(
    authenticator: Authenticator, keys: Keys
) -> None:
    def fail() -> None:
        raise StoreUnavailable("gone")

    keys.while_asked = fail
    with pytest.raises(StoreUnavailable):
        await authenticator.authenticate("good")
    keys.while_asked = lambda: None
    assert await authenticator.authenticate("good") == ADMIN
