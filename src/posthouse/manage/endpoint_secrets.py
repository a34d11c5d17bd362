"""The signing secrets of an endpoint: made, shown and rotated."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from posthouse.domain.access import Principal
from posthouse.domain.endpoint import Secret
from posthouse.domain.errors import Conflict, Invalid
from posthouse.domain.ids import ENDPOINT, format_id
from posthouse.domain.limits import OVERLAP_SECONDS_MAX, SECRETS_MAX
from posthouse.manage.access import audit, endpoint_not_found, find_endpoint
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory, StoredSecret
from posthouse_sdk.errors import SecretError
from posthouse_sdk.signatures import HMAC_KEY_BYTES, VerifyingKey, generate_hmac_key, parse_secret


class EndpointSecrets:
    """An administrator, or the app itself, manages the secrets of its endpoints."""

    def __init__(
        self, directory: Directory, clock: Clock, *, random: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        self._directory = directory
        self._clock = clock
        self._random = random

    async def reveal(self, principal: Principal, app: str, reference: str) -> list[StoredSecret]:
        """The secrets that sign now, newest first; that they were looked at is on record. Raises NotFound."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        entry = audit(principal, "endpoint.secret_revealed", format_id(ENDPOINT, endpoint.id))
        found = await self._directory.secrets(owner.id, endpoint.id, now=self._clock.now(), audit=entry)
        if found is None:
            raise endpoint_not_found(reference)
        return found

    async def rotate(
        self, principal: Principal, app: str, reference: str, *, secret: str | None, overlap_seconds: int
    ) -> tuple[Secret, float]:
        """The new secret, and until when the old ones sign too. Raises Invalid, NotFound, Conflict (too many overlap)."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        if not 0 <= overlap_seconds <= OVERLAP_SECONDS_MAX:
            raise Invalid(f"must be from 0 to {OVERLAP_SECONDS_MAX} seconds", path="overlap_seconds")
        key = new_secret(self._random) if secret is None else secret_of(secret)
        now = self._clock.now()
        expires_at = now + overlap_seconds
        rotated = await self._directory.rotate_secret(
            owner.id,
            endpoint.id,
            key,
            check=lambda live: _check_rotation(live, key, overlap=overlap_seconds > 0),
            now=now,
            expires_at=expires_at,
            audit=audit(
                principal,
                "endpoint.secret_rotated",
                format_id(ENDPOINT, endpoint.id),
                overlap_seconds=overlap_seconds,
            ),
        )
        if not rotated:
            raise endpoint_not_found(reference)
        return key, expires_at


def new_secret(random: Callable[[int], bytes]) -> Secret:
    """A new signing secret of the usual kind."""
    key = generate_hmac_key(random(HMAC_KEY_BYTES))
    return Secret(key.version, key.raw)


def secret_of(text: str) -> Secret:
    """The signing secret that `whsec_…` or `whsk_…` stands for. Raises Invalid, which does not repeat it."""
    try:
        key = parse_secret(text)
    except SecretError as error:
        raise Invalid(str(error), path="secret", code="invalid_secret") from None
    if isinstance(key, VerifyingKey):
        raise Invalid(
            "a whpk_ key only verifies; signing takes whsec_… or whsk_…", path="secret", code="invalid_secret"
        )
    return Secret(key.version, key.raw)


def _check_rotation(live: Sequence[StoredSecret], new: Secret, *, overlap: bool) -> None:
    if any(known.secret == new for known in live):
        raise Invalid("this secret is in use already; a rotation brings another one", path="secret")
    if overlap and len(live) >= SECRETS_MAX:
        raise Conflict(
            f"{len(live)} secrets sign at this moment, which is the most; wait until one expires, or rotate with "
            "overlap_seconds 0, which ends all others",
            code="too_many_secrets",
        )
