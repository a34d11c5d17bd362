"""The keys that a profile asks for: those that nobody gave are made, where it says how."""

from __future__ import annotations

import base64
from collections.abc import Callable, Collection
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from posthouse.domain.errors import Invalid
from posthouse.domain.profile import Made, Profile
from posthouse.wire.challenges import new_letters

KEY_BYTES: Final = 32
_RSA_BITS: Final = 2048


class MadeKeys(msgspec.Struct, frozen=True):
    """`texts` are the keys; `shown` what who receives needs of them: a secret itself, of a key pair the public half."""

    texts: dict[str, str] = {}
    shown: dict[str, str] = {}

    def __repr__(self) -> str:
        return f"MadeKeys({', '.join(self.texts)})"


NO_MADE_KEYS: Final = MadeKeys()


def made_keys(profile: Profile, there: Collection[str], random: Callable[[int], bytes]) -> MadeKeys:
    """The keys of a profile that are not there yet. An RSA key takes a tenth of a second.

    Raises: Invalid where one has to be given.
    """
    texts: dict[str, str] = {}
    shown: dict[str, str] = {}
    for key in profile.keys:
        if key.name in there:
            continue
        if key.make is None:
            raise Invalid(f"the profile {profile.name} needs this key: {key.about}", path=f"keys.{key.name}")
        texts[key.name], shown[key.name] = _made(key.make, random)
    return MadeKeys(texts, shown)


def check_keys_there(profile: Profile, there: Collection[str]) -> None:
    """Of an endpoint that is there none are made: nobody would be shown them. Raises: Invalid for the first that is missing."""
    for key in profile.keys:
        if key.name not in there:
            raise Invalid(
                f"the profile {profile.name} needs this key, and keys are made with a new endpoint alone: {key.about}",
                path=f"keys.{key.name}",
            )


def _made(how: Made, random: Callable[[int], bytes]) -> tuple[str, str]:
    match how:
        case Made.LETTERS:
            text = new_letters(random)
        case Made.HEX:
            text = random(KEY_BYTES).hex()
        case Made.BASE64:
            text = base64.b64encode(random(KEY_BYTES)).decode("ascii")
        case Made.AES_KEY:
            text = base64.b64encode(random(KEY_BYTES)).decode("ascii").rstrip("=")
        case Made.ED25519:
            seed = random(KEY_BYTES)
            public = Ed25519PrivateKey.from_private_bytes(seed).public_key()
            return seed.hex(), public.public_bytes(Encoding.Raw, PublicFormat.Raw).hex()
        case Made.RSA:
            key = rsa.generate_private_key(65537, _RSA_BITS)
            return (
                key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii"),
                key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii"),
            )
    return text, text
