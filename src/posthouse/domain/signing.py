"""How the requests of an endpoint are signed, as configuration: what `wire/signing` makes signers of.

Keys are never in here: `key` names one of the endpoint's keys. Texts with `{names}` in them are templates; which names
there are is said where they are compiled (`wire/signing/parts.py`), and an unknown one is refused there.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from posthouse.domain.configuration import Configuration
from posthouse.domain.named_keys import KeyEncoding


class Algorithm(StrEnum):
    """What a custom signature is made with. A plain digest has its key among the parts."""

    HMAC_SHA1 = "hmac-sha1"
    HMAC_SHA256 = "hmac-sha256"
    HMAC_SHA512 = "hmac-sha512"
    HMAC_SM3 = "hmac-sm3"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"
    SM3 = "sm3"
    RSA_SHA256 = "rsa-sha256"  # PKCS #1 v1.5
    RSA_PSS_SHA256 = "rsa-pss-sha256"  # a salt as long as the digest, 32 bytes
    ECDSA_P256_SHA256 = "ecdsa-p256-sha256"  # r ‖ s, 64 bytes, as in JOSE and RFC 9421
    ECDSA_P256_SHA256_DER = "ecdsa-p256-sha256-der"  # as OpenSSL, Java and Go write it
    ED25519 = "ed25519"


class JwtAlgorithm(StrEnum):
    HS256 = "HS256"
    RS256 = "RS256"
    ES256 = "ES256"
    EDDSA = "EdDSA"


class HttpAlgorithm(StrEnum):
    """The HTTP signature algorithms registry (RFC 9421, section 6.2)."""

    RSA_PSS_SHA512 = "rsa-pss-sha512"
    RSA_V1_5_SHA256 = "rsa-v1_5-sha256"
    HMAC_SHA256 = "hmac-sha256"
    ECDSA_P256_SHA256 = "ecdsa-p256-sha256"
    ECDSA_P384_SHA384 = "ecdsa-p384-sha384"
    ED25519 = "ed25519"


class DigestAlgorithm(StrEnum):
    """Of `Content-Digest` (RFC 9530, section 5)."""

    SHA_256 = "sha-256"
    SHA_512 = "sha-512"


class Encoding(StrEnum):
    """How a signature, which is bytes, becomes text."""

    HEX = "hex"
    UPPER_HEX = "HEX"
    BASE64 = "base64"
    BASE64URL = "base64url"  # without padding, as in JOSE


class Order(StrEnum):
    FIXED = "fixed"  # as they are written
    SORTED = "sorted"  # by their bytes


class Charset(StrEnum):
    """What texts are signed in; a body is signed as the bytes it is sent as."""

    UTF_8 = "utf-8"
    GBK = "gbk"
    GB18030 = "gb18030"


class Place(StrEnum):
    HEADER = "header"
    QUERY = "query"
    FIELD = "field"  # of the body: a JSON member, a form field, an XML element


class PairSource(StrEnum):
    BODY = "body"  # the top-level fields
    QUERY = "query"  # the parameters of the URL and those that are added to it


class Placed(Configuration, frozen=True, kw_only=True):
    """A value and where it goes. An empty `value` stands for the signature (or token) alone."""

    place: Place = msgspec.field(name="in")
    name: str
    value: str = ""


class Pairs(Configuration, frozen=True, kw_only=True):
    """What `{pairs}` among the parts stands for: names and values, sorted by name, each written like `pair`."""

    source: PairSource = msgspec.field(default=PairSource.BODY, name="of")
    exclude: tuple[str, ...] = ()
    blank: bool = False  # whether pairs with an empty value count
    pair: str = "{name}={value}"
    separator: str = "&"


OWN_SECRET: Final = "secret"  # noqa: S105 - a name
"""The key of this name is the endpoint's own secret (`whsec_…` or `whsk_…`), unless one of its keys has the name."""


class StandardSigner(Configuration, tag="standard", tag_field="kind", frozen=True, kw_only=True):
    """Standard Webhooks: `<prefix>id`, `<prefix>timestamp` and `<prefix>signature`, signed with every live key."""

    key: str = OWN_SECRET
    prefix: str = "webhook-"


class CustomSigner(Configuration, tag="custom", tag_field="kind", frozen=True, kw_only=True):
    """The general one: what is signed, with what, how it is written and where.

    `parts` are templates; what they become, in `order`, joined with `separator`, is what is signed. `also` are values
    that go along (a timestamp, a nonce, a serial number); they are there before it is signed. `repeat` is appended to the
    value once for each older key that still lives, and without it the newest key alone signs.

    `mac_key` is a template of what an HMAC takes for its key, where that is not the key alone: it names `{key}`, and what else
    may be sent. Then `parts` may be empty: what is signed is nothing, and the MAC's key tells of the message.
    """

    algorithm: Algorithm
    key: str
    key_encoding: KeyEncoding | None = None  # None: literal, and PEM for a private key
    key_id: str = ""  # `{key_id}`
    mac_key: str = ""
    parts: tuple[str, ...] = ()
    order: Order = Order.FIXED
    separator: str = ""
    pairs: Pairs | None = None
    charset: Charset = Charset.UTF_8
    encoding: Encoding = Encoding.HEX
    signature: Placed
    repeat: str = ""
    also: tuple[Placed, ...] = ()


class JwtSigner(Configuration, tag="jwt", tag_field="kind", frozen=True, kw_only=True):
    """A JSON Web Token (RFC 7519). Claims that are texts are templates; `iat`, and `exp` with a lifetime, are added."""

    algorithm: JwtAlgorithm
    key: str
    key_encoding: KeyEncoding | None = None
    key_id: str = ""  # the header parameter `kid`
    claims: dict[str, str | int | bool] = msgspec.field(default_factory=dict)
    lifetime_seconds: int | None = None
    token: Placed


class HttpSigner(Configuration, tag="http", tag_field="kind", frozen=True, kw_only=True):
    """HTTP Message Signatures (RFC 9421). `Content-Digest` is added where it is among the components.

    Who verifies finds the key by its id: so an older key that still lives signs too where its id is among `older_key_ids`
    (newest first), and else not.
    """

    algorithm: HttpAlgorithm
    key: str
    key_encoding: KeyEncoding | None = None
    key_id: str = ""  # the parameter `keyid`
    older_key_ids: tuple[str, ...] = ()
    components: tuple[str, ...] = ("@method", "@target-uri", "content-type", "content-digest")
    digest: DigestAlgorithm = DigestAlgorithm.SHA_256
    label: str = "sig1"
    expires_seconds: int | None = None
    nonce: bool = False
    alg: bool = False  # whether the parameter `alg` tells the algorithm
    tag: str = ""


Signer = StandardSigner | CustomSigner | JwtSigner | HttpSigner
