"""Standard Webhooks signatures: `v1` (HMAC-SHA256) and `v1a` (ed25519), made and checked.

Source: Standard Webhooks 1.0.0, sections "Signature scheme", "Webhook headers" and "Verifying signatures"
(https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).

What is signed is `{id}.{timestamp}.{body}`. A key object is made once and used many times: an HMAC key keeps the state
of its hash, so that a signature costs neither the key schedule nor a copy of the body. Random bytes are arguments.
`cryptography` is imported where an ed25519 key is made, not before.
"""

from __future__ import annotations

import binascii
import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from posthouse_sdk.errors import SecretError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

V1: Final = "v1"
V1A: Final = "v1a"

HMAC_PREFIX: Final = "whsec_"
SIGNING_PREFIX: Final = "whsk_"
VERIFYING_PREFIX: Final = "whpk_"
API_KEY_PREFIX: Final = "ph_"

HMAC_KEY_BYTES_MIN: Final = 24
HMAC_KEY_BYTES_MAX: Final = 64
HMAC_KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
PUBLIC_BYTES: Final = 32
_INNER: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER: Final = bytes(byte ^ 0x5C for byte in range(256))
_NO_ED25519: Final = (
    "ed25519 keys (whsk_…, whpk_…) need the package cryptography: pip install 'posthouse-sdk[ed25519]'; "
    "whsec_… secrets do without"
)
MESSAGE_ID_LENGTH_MAX: Final = 256


class HmacKey:
    """A shared secret (`whsec_…`): signs and verifies `v1`. `raw` is the key, 24 to 64 bytes."""

    __slots__ = ("_inner", "_outer", "raw")
    version: Final = V1

    def __init__(self, raw: bytes) -> None:
        if not HMAC_KEY_BYTES_MIN <= len(raw) <= HMAC_KEY_BYTES_MAX:
            raise SecretError(
                f"an HMAC key has {HMAC_KEY_BYTES_MIN} to {HMAC_KEY_BYTES_MAX} bytes; this one has {len(raw)}"
            )
        self.raw: Final = raw
        # HMAC (RFC 2104) spelled out: the two states that the key makes are copied for each signature. The standard library's
        # own takes as long again for what is around them.
        block = raw.ljust(sha256().block_size, b"\0")
        self._inner: Final = sha256(block.translate(_INNER))
        self._outer: Final = sha256(block.translate(_OUTER))

    def __repr__(self) -> str:
        return "HmacKey(<hidden>)"

    @property
    def text(self) -> str:
        """The secret as it is shown to people: `whsec_` and base64."""
        return HMAC_PREFIX + _to_base64(self.raw)

    def sign(self, prefix: bytes, body: bytes) -> bytes:
        """One signature, `v1,…`, over `prefix` (see `signed_prefix`) and the body."""
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(prefix + body)
        outer.update(inner.digest())
        return b"v1," + binascii.b2a_base64(outer.digest(), newline=False)

    def verifies(self, prefix: bytes, body: bytes, signatures: Sequence[bytes]) -> bool:
        """Whether one of the signatures (`v1,…`) is exactly the one this key makes; each compared in constant time."""
        if not signatures:
            return False
        expected = self.sign(prefix, body)
        return any(hmac.compare_digest(expected, signature) for signature in signatures)


class VerifyingKey:
    """A public ed25519 key (`whpk_…`): verifies `v1a`. `raw` has 32 bytes."""

    __slots__ = ("_key", "raw")
    version: Final = V1A

    def __init__(self, raw: bytes) -> None:
        if len(raw) != PUBLIC_BYTES:
            raise SecretError(f"a public ed25519 key has {PUBLIC_BYTES} bytes; this one has {len(raw)}")
        self.raw: Final = raw
        self._key: Final = _public_key(raw)

    def __repr__(self) -> str:
        return f"VerifyingKey({self.text!r})"

    @property
    def text(self) -> str:
        """The key as it is handed out: `whpk_` and base64."""
        return VERIFYING_PREFIX + _to_base64(self.raw)

    def verifies(self, prefix: bytes, body: bytes, signatures: Sequence[bytes]) -> bool:
        """Whether one of the signatures (`v1a,…`) was made with this key's private half."""
        content = prefix + body
        return any(self._made(signature, content) for signature in signatures)

    def _made(self, signature: bytes, content: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            decoded = binascii.a2b_base64(signature.removeprefix(b"v1a,"))
            # Base64 has several spellings of the same bytes; only the canonical one counts, as for v1.
            if b"v1a," + binascii.b2a_base64(decoded, newline=False) != signature:
                return False
            self._key.verify(decoded, content)
        except (binascii.Error, InvalidSignature):
            return False
        return True


class SigningKey:
    """A private ed25519 key (`whsk_…`): signs `v1a`, and verifies with its public half. `raw` is the seed, 32 bytes."""

    __slots__ = ("_key", "raw", "verifying_key")
    version: Final = V1A

    def __init__(self, raw: bytes) -> None:
        if len(raw) != SEED_BYTES:
            raise SecretError(f"an ed25519 seed has {SEED_BYTES} bytes; this one has {len(raw)}")
        self.raw: Final = raw
        self._key: Final = _private_key(raw)
        self.verifying_key: Final = VerifyingKey(self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return f"SigningKey(<hidden>, public={self.verifying_key.text!r})"

    @property
    def text(self) -> str:
        """The key as it is shown to people: `whsk_` and base64 of seed and public half (64 bytes)."""
        return SIGNING_PREFIX + _to_base64(self.raw + self.verifying_key.raw)

    def sign(self, prefix: bytes, body: bytes) -> bytes:
        """One signature, `v1a,…`, over `prefix` (see `signed_prefix`) and the body."""
        return b"v1a," + binascii.b2a_base64(self._key.sign(prefix + body), newline=False)

    def verifies(self, prefix: bytes, body: bytes, signatures: Sequence[bytes]) -> bool:
        """Whether one of the signatures (`v1a,…`) was made with this key."""
        return self.verifying_key.verifies(prefix, body, signatures)


SignerKey = HmacKey | SigningKey
Key = HmacKey | SigningKey | VerifyingKey


def parse_secret(text: str) -> Key:
    """The key that `whsec_…`, `whsk_…` or `whpk_…` stands for. Missing base64 padding is forgiven.

    Raises: SecretError for another prefix, for what is not base64, for a wrong size, and for a `whsk_` whose public
    half does not belong to its seed.
    """
    if text.startswith(HMAC_PREFIX):
        return HmacKey(_from_base64(text, HMAC_PREFIX))
    if text.startswith(VERIFYING_PREFIX):
        return VerifyingKey(_from_base64(text, VERIFYING_PREFIX))
    if text.startswith(SIGNING_PREFIX):
        raw = _from_base64(text, SIGNING_PREFIX)
        if len(raw) != SEED_BYTES + PUBLIC_BYTES:
            raise SecretError(
                f"a {SIGNING_PREFIX} key is a seed and its public key, {SEED_BYTES + PUBLIC_BYTES} bytes; "
                f"this one has {len(raw)}"
            )
        key = SigningKey(raw[:SEED_BYTES])
        if key.verifying_key.raw != raw[SEED_BYTES:]:
            raise SecretError(f"the public half of this {SIGNING_PREFIX} key does not belong to its seed")
        return key
    what = f"a webhook secret starts with {HMAC_PREFIX}, {SIGNING_PREFIX} or {VERIFYING_PREFIX}"
    if text.startswith(API_KEY_PREFIX):
        raise SecretError(f"{what}; this is an API key: the secret is the endpoint's own")
    raise SecretError(what)


def signing_key(version: str, raw: bytes) -> SignerKey:
    """The key of a version from its raw bytes: an HMAC key for `v1`, an ed25519 seed for `v1a`.

    Raises: SecretError for an unknown version or a wrong size.
    """
    if version == V1:
        return HmacKey(raw)
    if version == V1A:
        return SigningKey(raw)
    raise SecretError(f"there is no signature version {version!r}; there are {V1} and {V1A}")


def generate_hmac_key(random: bytes) -> HmacKey:
    """A new shared secret from 24 to 64 random bytes (32 is customary: `HMAC_KEY_BYTES`)."""
    return HmacKey(random)


def generate_signing_key(random: bytes) -> SigningKey:
    """A new ed25519 key pair from 32 random bytes."""
    return SigningKey(random)


def signed_prefix(message_id: str, timestamp: int) -> bytes:
    """What comes before the body in the signed content: `{id}.{timestamp}.`.

    Raises: ValueError for an id that could not be told apart from what follows (it holds a full stop; see section
    "Signature scheme") or that no header can carry.
    """
    if not is_message_id(message_id):
        raise ValueError(
            f"a message id is 1 to {MESSAGE_ID_LENGTH_MAX} visible ASCII characters without a full stop: {message_id!r}"
        )
    return f"{message_id}.{int(timestamp)}.".encode("ascii")


def is_message_id(text: str) -> bool:
    """Whether a text can be a message id: visible ASCII without a full stop, of bounded length."""
    if not 0 < len(text) <= MESSAGE_ID_LENGTH_MAX:
        return False
    return text.isascii() and text.isprintable() and " " not in text and "." not in text


def sign(message_id: str, timestamp: int, body: bytes, keys: Sequence[SignerKey]) -> str:
    """The value of the `webhook-signature` header: one signature a key, in the order of the keys (newest first)."""
    prefix = signed_prefix(message_id, timestamp)
    return b" ".join([key.sign(prefix, body) for key in keys]).decode("ascii")


def _to_base64(raw: bytes) -> str:
    return binascii.b2a_base64(raw, newline=False).decode("ascii")


def _from_base64(text: str, prefix: str) -> bytes:
    encoded = text[len(prefix) :].rstrip("=")
    try:
        return binascii.a2b_base64(encoded + "=" * (-len(encoded) % 4), strict_mode=True)
    except ValueError:  # binascii.Error, or a character outside ASCII
        # Without its cause: a traceback must not show what was refused.
        raise SecretError(f"what follows {prefix} is not base64") from None


def _private_key(seed: bytes) -> Ed25519PrivateKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError as error:
        raise SecretError(_NO_ED25519) from error
    return Ed25519PrivateKey.from_private_bytes(seed)


def _public_key(raw: bytes) -> Ed25519PublicKey:
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError as error:
        raise SecretError(_NO_ED25519) from error
    return Ed25519PublicKey.from_public_bytes(raw)
