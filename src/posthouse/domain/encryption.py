"""How an endpoint's payloads are encrypted. Keys are named here and never written here.

Three kinds. `Jwe` is the standard one (RFC 7516). `Envelope` is a shared secret in whatever shape a platform has:
Feishu, DingTalk, WeChat and WeChat Pay are configurations of it. `Hybrid` makes a fresh key for every request and wraps it for
the target's certificate or public key. Each encrypts the whole body, or the fields that JSON pointers name.

What belongs together is judged by `posthouse_sdk.encryption.settings`, which reads this as JSON: receivers are given the same.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from posthouse.domain.configuration import Configuration
from posthouse.domain.named_keys import KeyEncoding


class Derivation(StrEnum):
    """What becomes of the bytes of a shared secret before they are the key."""

    NONE = "none"
    SHA256 = "sha256"
    MD5 = "md5"  # for old platforms


class CipherName(StrEnum):
    """CBC is not authenticated: a signature belongs to it."""

    AES_256_GCM = "aes-256-gcm"
    AES_128_GCM = "aes-128-gcm"
    AES_256_CBC = "aes-256-cbc"
    AES_128_CBC = "aes-128-cbc"
    SM4_GCM = "sm4-gcm"
    SM4_CBC = "sm4-cbc"


class IvPlace(StrEnum):
    """Where the initialisation vector is."""

    PREFIX = "prefix"  # random, before the ciphertext
    KEY = "key"  # the first bytes of the key (CBC only)
    BESIDE = "beside"  # random, in `{iv}`


class TextForm(StrEnum):
    """How bytes are written."""

    BASE64 = "base64"
    BASE64URL = "base64url"  # without padding
    HEX = "hex"
    RAW = "raw"  # as they are: the ciphertext is the whole body
    TEXT = "text"  # letters and digits, made so: for `{iv}` alone


class DecryptAnswer(StrEnum):
    """Whether answers are opened, with the endpoint's own encryption, before anything is made of them."""

    NEVER = "never"
    OPTIONAL = "optional"  # what does not open is as it came
    REQUIRED = "required"  # what does not open does not confirm


class JweAlgorithm(StrEnum):
    DIR = "dir"
    A256KW = "A256KW"
    RSA_OAEP_256 = "RSA-OAEP-256"
    ECDH_ES = "ECDH-ES"
    ECDH_ES_A256KW = "ECDH-ES+A256KW"


class Serialization(StrEnum):
    COMPACT = "compact"
    FLATTENED = "flattened"  # JSON, for the newest key
    GENERAL = "general"  # JSON, for every live key


class Wrapping(StrEnum):
    """How a fresh key is wrapped for the target; `posthouse_sdk.encryption.sealing` has it in full."""

    RSA_OAEP_256 = "RSA-OAEP-256"
    ECDH = "ECDH-HKDF-SHA256-A256KW"


class KeyId(StrEnum):
    """By what the target is told which of its keys is meant."""

    NONE = "none"
    OWN = "own"  # a JWK's kid
    THUMBPRINT = "thumbprint"  # RFC 7638, with SHA-256
    SHA256 = "sha256"  # of the certificate, else of the public key (SubjectPublicKeyInfo), both in DER
    SERIAL = "serial"  # a certificate's, in upper-case hexadecimal digits


class TextShape(Configuration, frozen=True, kw_only=True, tag="text", tag_field="kind"):
    """The body is a text, or the ciphertext's bytes alone."""

    template: str = "{ciphertext}"
    content_type: str = "application/octet-stream"


class JsonShape(Configuration, frozen=True, kw_only=True, tag="json", tag_field="kind"):
    """Any JSON; its texts are templates."""

    template: Any
    content_type: str = "application/json"


class XmlShape(Configuration, frozen=True, kw_only=True, tag="xml", tag_field="kind"):
    elements: dict[str, str]
    root: str = "xml"
    cdata: bool = True
    content_type: str = "text/xml; charset=utf-8"


class FormShape(Configuration, frozen=True, kw_only=True, tag="form", tag_field="kind"):
    fields: dict[str, str]


Shape = TextShape | JsonShape | XmlShape | FormShape


class Frame(Configuration, frozen=True, kw_only=True):
    """16 random letters and digits ‖ length (uint32, big-endian) ‖ message ‖ owner: whose message it is, such as a corp id."""

    owner: str


class _Encryption(Configuration, frozen=True, kw_only=True):
    """What all kinds have.

    `key` is the name of one of the endpoint's keys, of which the newest encrypts. With `fields`, each of them is encrypted, and
    `body` (of kind json) is what stands in its place.
    """

    key: str
    body: Shape | None = None
    fields: tuple[str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)


class Jwe(_Encryption, frozen=True, kw_only=True, tag="jwe", tag_field="kind"):
    algorithm: JweAlgorithm
    content_algorithm: str = "A256GCM"
    key_encoding: KeyEncoding | None = None  # None: JWK for secrets, else PEM
    serialization: Serialization = Serialization.COMPACT
    key_id: KeyId | None = None  # None: a JWK's kid, else a public key's thumbprint


class _Sealed(_Encryption, frozen=True, kw_only=True):
    """What envelopes have, whatever their key comes from."""

    cipher: CipherName = CipherName.AES_256_GCM
    iv: IvPlace | None = None  # None: prefix of an envelope, beside of a hybrid one
    iv_encoding: TextForm | None = None  # None: as `output`
    padding: int | None = None  # PKCS 7, to 16 or 32 bytes: CBC only
    frame: Frame | None = None
    associated_data: str = ""
    output: TextForm = TextForm.BASE64


class Envelope(_Sealed, frozen=True, kw_only=True, tag="envelope", tag_field="kind"):
    key_encoding: KeyEncoding = KeyEncoding.LITERAL
    derive: Derivation = Derivation.NONE


class Hybrid(_Sealed, frozen=True, kw_only=True, tag="hybrid", tag_field="kind"):
    key_encoding: KeyEncoding = KeyEncoding.PEM
    algorithm: Wrapping = Wrapping.RSA_OAEP_256
    key_id: KeyId = KeyId.SHA256


Encryption = Jwe | Envelope | Hybrid
