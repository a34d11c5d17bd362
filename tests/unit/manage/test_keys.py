"""Keys as texts."""

from __future__ import annotations

import re
from typing import Any

import pytest

from posthouse.domain.access import Principal, Scope
from posthouse.domain.errors import Forbidden, Invalid, SetupError
from posthouse.domain.ids import AppId
from posthouse.manage.authenticator import Authenticator, key_hash
from posthouse.manage.keys import Keys, check_given
from posthouse.ports.directory import ApiKey, Audit

ADMIN = Principal(b"k" * 16, Scope.ADMIN)
OF_AN_APP = Principal(b"k" * 16, Scope.APP, AppId(b"a" * 16))


class Stored:
    """A directory that keeps the keys it is given."""

    def __init__(self) -> None:
        self.keys: list[tuple[ApiKey, bytes, Audit]] = []

    async def create_key(self, key: ApiKey, hashed: bytes, audit: Audit) -> ApiKey:
        self.keys.append((key, hashed, audit))
        return key

    async def create_first_key(self, key: ApiKey, hashed: bytes, audit: Audit) -> bool:
        if self.keys:
            return False
        await self.create_key(key, hashed, audit)
        return True

    async def principal(self, hashed: bytes) -> Principal | None:
        return ADMIN if any(known == hashed for _, known, _ in self.keys) else None


class Ids:
    def new_id(self) -> bytes:
        return b"n" * 16


@pytest.fixture
def stored() -> Stored:
    return Stored()


@pytest.fixture
def keys(stored: Stored) -> Keys:
    clock: Any = Ids()
    directory: Any = stored
    return Keys(directory, clock, Authenticator(directory, clock), random=lambda count: bytes(range(count)))


async def test_a_key_is_told_once_and_only_its_hash_is_kept(keys: Keys, stored: Stored) -> None:
    key, token = await keys.create(ADMIN, name="ci", scope="admin", app=None)
    assert re.fullmatch(r"ph_[a-z2-7]{52}", token)
    ((kept, hashed, audit),) = stored.keys
    assert kept == key
    assert hashed == key_hash(token)
    assert token.startswith(key.hint)
    assert len(key.hint) == 7
    assert token not in repr(stored.keys)
    assert audit.action == "key.created"


async def test_only_administrators_make_keys(keys: Keys) -> None:
    with pytest.raises(Forbidden):
        await keys.create(OF_AN_APP, name="", scope="admin", app=None)


async def test_a_key_that_publishes_needs_no_app(keys: Keys, stored: Stored) -> None:
    key, _ = await keys.create(ADMIN, name="orders", scope="publish", app=None)
    assert (key.scope, key.app_id) == (Scope.PUBLISH, None)
    assert stored.keys[0][2].detail == {"scope": "publish"}


@pytest.mark.parametrize(("scope", "app"), [("app", None), ("admin", "shop")])
async def test_scope_and_app_belong_together(keys: Keys, scope: str, app: str | None) -> None:
    with pytest.raises(Invalid) as caught:
        await keys.create(ADMIN, name="", scope=scope, app=app)
    assert caught.value.path == "app"


async def test_the_first_key_is_made_once(keys: Keys) -> None:
    token = await keys.ensure_first_key(None)
    assert token is not None
    assert await keys.ensure_first_key(None) is None


async def test_a_given_first_key_is_taken_over_and_not_told(keys: Keys, stored: Stored) -> None:
    given = "0123456789abcdef"
    assert await keys.ensure_first_key(given) is None
    assert stored.keys[0][1] == key_hash(given)
    assert stored.keys[0][0].hint == "012"
    assert await keys.ensure_first_key(given) is None
    assert len(stored.keys) == 1


@pytest.mark.parametrize(
    "given", ["", "short", "with a space in it", "x" * 257, "schlüssel-mit-umlaut", "new\nline-in-the-key"]
)
def test_a_first_key_that_cannot_be_sent_or_is_easily_guessed_is_refused(given: str) -> None:
    with pytest.raises(SetupError, match="16 to 256 visible ASCII characters"):
        check_given(given)
