"""A change of an endpoint's signing secrets: may it be? Pure."""

from __future__ import annotations

from collections.abc import Sequence

from posthouse.domain.endpoint import Secret
from posthouse.domain.errors import Conflict, Invalid
from posthouse.domain.limits import SECRETS_MAX
from posthouse.ports.directory import StoredSecret
from posthouse_sdk.errors import SecretError
from posthouse_sdk.signatures import VerifyingKey, parse_secret


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


def check_same(kept: Sequence[StoredSecret], given: Secret) -> None:
    if not kept or kept[0].secret != given:
        raise Conflict(
            "the endpoint signs with another secret, and a PUT keeps it; change it with POST …/secret/rotate",
            code="secret_differs",
        )


def check_rotation(live: Sequence[StoredSecret], new: Secret, *, overlap: bool) -> None:
    if any(known.secret == new for known in live):
        raise Invalid("this secret is in use already; a rotation brings another one", path="secret")
    if overlap and len(live) >= SECRETS_MAX:
        raise Conflict(
            f"{len(live)} secrets sign at this moment, which is the most; wait until one expires, or rotate with "
            "overlap_seconds 0, which ends all others",
            code="too_many_secrets",
        )
