"""Whatever a custom signature is configured to be: who reads its configuration can verify it, and nobody else can.

The verifier below is written from the documentation of the configuration and shares nothing with the signer: it has the
request as it came, the public half of the key (or the shared one), and the values that the platform told of the event.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SM3, Hash
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.messages import Received, message, signed

from posthouse.domain.signing import Algorithm
from posthouse.wire.documents import Form, JsonText
from posthouse.wire.message import Message, Unsendable

RSA = rsa.generate_private_key(65537, 2048)
P256 = ec.generate_private_key(ec.SECP256R1())
ED25519 = Ed25519PrivateKey.from_private_bytes(b"5" * 32)
PRIVATE: dict[str, Any] = {
    "rsa-sha256": RSA,
    "rsa-pss-sha256": RSA,
    "ecdsa-p256-sha256": P256,
    "ecdsa-p256-sha256-der": P256,
    "ed25519": ED25519,
}
DIGESTS = ("md5", "sha1", "sha256", "sm3")


# The verifier


def sm3(content: bytes) -> bytes:
    if "sm3" in hashlib.algorithms_available:
        return hashlib.new("sm3", content).digest()
    state = Hash(SM3())
    state.update(content)
    return state.finalize()


def digest_of(name: str, content: bytes) -> bytes:
    return sm3(content) if name == "sm3" else hashlib.new(name, content).digest()


def hmac_of(name: str, key: bytes, content: bytes) -> bytes:
    """RFC 2104, written out: SM3's block has 64 bytes, as those of SHA-1 and SHA-256 have."""
    block = 128 if name == "sha512" else 64
    padded = (digest_of(name, key) if len(key) > block else key).ljust(block, b"\0")
    inner = digest_of(name, bytes(byte ^ 0x36 for byte in padded) + content)
    return digest_of(name, bytes(byte ^ 0x5C for byte in padded) + inner)


def accepts(algorithm: str, key: bytes, content: bytes, signature: bytes) -> bool:
    if algorithm in DIGESTS:
        return hmac.compare_digest(digest_of(algorithm, content), signature)
    if algorithm.startswith("hmac-"):
        return hmac.compare_digest(hmac_of(algorithm.removeprefix("hmac-"), key, content), signature)
    public = PRIVATE[algorithm].public_key()
    try:
        match algorithm:
            case "rsa-sha256":
                public.verify(signature, content, padding.PKCS1v15(), SHA256())
            case "rsa-pss-sha256":
                public.verify(signature, content, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
            case "ecdsa-p256-sha256":
                r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
                public.verify(encode_dss_signature(r, s), content, ec.ECDSA(SHA256()))
            case "ecdsa-p256-sha256-der":
                public.verify(signature, content, ec.ECDSA(SHA256()))
            case "ed25519":
                public.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def decoded(encoding: str, text: str) -> bytes:
    match encoding:
        case "hex":
            assert text == text.lower()
            return bytes.fromhex(text)
        case "HEX":
            assert text == text.upper()
            return bytes.fromhex(text)
        case "base64":
            return base64.b64decode(text, validate=True)
        case _:
            assert "=" not in text
            return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)


class Receiver:
    """A platform's counterpart: takes the signature out, and says whether it is that of the rest."""

    def __init__(self, configuration: dict[str, Any], received: Received, known: dict[str, str], plain: bytes) -> None:
        self.configuration = configuration
        self.known = known
        self.plain = plain
        self.url, self.body, self.fields = received.url, received.body, self._fields(received.body)
        place, name = configuration["signature"]["in"], configuration["signature"]["name"]
        match place:
            case "header":
                value = received.headers[name]
            case "query":
                value = received.query[name]
                self.url = self.url[: self.url.rindex(f"{name}=") - 1]  # it was put last
            case _:
                value = self.fields.pop(name)
                # It was put last, into the same bytes.
                mark = f'"{name}":' if received.body.startswith(b"{") else f"{name}="
                before = received.body[: received.body.rindex(mark.encode())]
                self.body = before.removesuffix(b",") + b"}" if before.startswith(b"{") else before.removesuffix(b"&")
        self.values = value

    @staticmethod
    def _fields(body: bytes) -> dict[str, str]:
        if body.startswith(b"{"):
            return {str(k): v for k, v in json.loads(body).items()}
        return dict(parse_qsl(body.decode("ascii"), keep_blank_values=True))

    def signatures(self) -> list[str]:
        """What stands where the wrapper has {signature}, once, or once for each key."""
        wrapper = self.configuration["signature"]["value"] or "{signature}"
        repeat = self.configuration.get("repeat", "")

        def pattern(text: str) -> str:
            return "".join(
                "([A-Za-z0-9+/=_-]+)" if piece == "{signature}" else re.escape(self._text(piece))
                for piece in re.split(r"(\{signature\})", text)
            )

        first = re.match(pattern(wrapper), self.values)
        assert first is not None, (wrapper, self.values)
        rest, found = self.values[first.end() :], [first[1]]
        while rest:
            again = re.match(pattern(repeat), rest)
            assert again is not None, (repeat, rest)
            found.append(again[1])
            rest = rest[again.end() :]
        return found

    def mac_key(self, key: bytes) -> bytes:
        """What an HMAC takes for its key."""
        template = self.configuration.get("mac_key", "")
        return self._bytes(template, key) if template else key

    def content(self, key: bytes) -> bytes:
        parts = [self._bytes(part, key) for part in self.configuration["parts"]]
        if self.configuration.get("order") == "sorted":
            parts.sort()
        return str(self.configuration.get("separator", "")).encode().join(parts)

    def _text(self, template: str) -> str:
        return self._bytes(template, b"").decode()

    def _bytes(self, template: str, key: bytes) -> bytes:
        pieces = re.split(r"\{([^{}]+)\}", template)
        return b"".join(self._value(piece, key) if i % 2 else piece.encode() for i, piece in enumerate(pieces))

    def _value(self, name: str, key: bytes) -> bytes:
        split = urlsplit(self.url)
        simple = {
            "body": self.body,
            "plain": self.plain,
            "url": self.url.encode(),
            "path": (split.path + (f"?{split.query}" if split.query else "")).encode(),
            "host": split.netloc.encode(),
            "method": b"POST",
            "content_type": b"application/json",
            "key": key,
            "key_id": str(self.configuration.get("key_id", "")).encode(),
        }
        if name in simple:
            return simple[name]
        if name.startswith("field."):
            return self.fields[name.removeprefix("field.")].encode()
        if name == "pairs":
            return self._pairs().encode()
        base, _, digest = name.partition(".")
        if base in ("body", "plain", "url") and digest:
            algorithm, _, encoding = digest.partition(".")
            raw = digest_of(algorithm, simple[base])
            return {
                "": raw.hex().encode(),
                "base64": base64.b64encode(raw),
                "base64url": base64.urlsafe_b64encode(raw).rstrip(b"="),
            }[encoding]
        return self.known[name].encode()

    def _pairs(self) -> str:
        pairs = self.configuration["pairs"]
        if pairs.get("of") == "query":
            found = parse_qsl(urlsplit(self.url).query, keep_blank_values=True)
        else:
            found = list(self.fields.items())
        kept = [(k, v) for k, v in sorted(found) if k not in pairs["exclude"] and (v or pairs["blank"])]
        return str(pairs["separator"].join(pairs["pair"].format(name=k, value=v) for k, v in kept))


# What is configured

literals = st.text(st.sampled_from("av0:.,&=-\n|驿站 "), max_size=4)
names = st.sampled_from(
    [
        "body",
        "plain",
        "url",
        "path",
        "host",
        "method",
        "content_type",
        "key_id",
        "timestamp",
        "timestamp_ms",
        "time",
        "nonce",
        "message.id",
        "event.type",
        "field.a",
        "field.name",
        "body.sha256",
        "plain.md5.base64",
        "url.sm3",
        "body.sha512.base64url",
        "pairs",
        "key",
    ]
)
pair_settings = st.fixed_dictionaries(
    {
        "of": st.sampled_from(["body", "query"]),
        "exclude": st.sampled_from([[], ["a"], ["n", "name"]]),
        "blank": st.booleans(),
        "pair": st.sampled_from(["{name}={value}", "{name}{value}", "{value}"]),
        "separator": st.sampled_from(["&", "", "\n"]),
    }
)
mac_names = names.filter(lambda name: name not in ("body", "plain", "pairs"))
places = st.sampled_from(["header", "query", "field"])
sent = st.sampled_from(["{timestamp}", "{nonce}", "n-{event.type}", "{key_id}", "{time}"])


@st.composite
def configurations(draw: st.DrawFn) -> dict[str, Any]:
    algorithm = draw(st.sampled_from([a.value for a in Algorithm]))
    parts = [
        "".join(f"{literal}{{{name}}}" for literal, name in draw(st.lists(st.tuples(literals, names), max_size=3)))
        for _ in range(draw(st.integers(1, 3)))
    ]
    parts.append(draw(st.sampled_from(["{body}", "{timestamp}.{body}", "{url}", "{nonce}"])))
    if algorithm in DIGESTS:
        parts.append("{key}")
    if algorithm in PRIVATE:
        parts = [part.replace("{key}", "key") for part in parts]
    configuration: dict[str, Any] = {
        "kind": "custom",
        "algorithm": algorithm,
        "key": "k",
        "key_id": "2026",
        "parts": parts,
        "order": draw(st.sampled_from(["fixed", "sorted"])),
        "separator": draw(literals),
        "encoding": draw(st.sampled_from(["hex", "HEX", "base64", "base64url"])),
        "signature": {
            "in": draw(places),
            "name": "X-Sig",
            "value": draw(
                st.sampled_from(["", "sha256={signature}", "t={timestamp},v1={signature}", "v0={signature};{nonce}"])
            ),
        },
        "also": [
            {"in": draw(places), "name": f"X-{i}", "value": value}
            for i, value in enumerate(draw(st.lists(sent, max_size=3)))
        ],
    }
    if "{pairs}" in "".join(parts):
        configuration["pairs"] = draw(pair_settings)
    if draw(st.booleans()):
        configuration["repeat"] = ",v1={signature}"
    if algorithm.startswith("hmac-") and draw(st.booleans()):
        others = "".join(f"{literal}{{{name}}}" for literal, name in draw(st.lists(st.tuples(literals, mac_names))))
        configuration["mac_key"] = f"{{nonce}}{others}{{key}}{draw(literals)}"
        if "pairs" not in configuration and draw(st.booleans()):
            configuration["parts"] = []
    return configuration


texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=8)
documents = st.tuples(
    st.booleans(), st.fixed_dictionaries({"a": texts, "name": texts}, optional={"n": texts, "": texts})
)
shared_keys = st.lists(
    st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=150), min_size=1, max_size=2
)


def keys_for(algorithm: str, shared: list[str]) -> tuple[list[str], list[bytes]]:
    """The texts of the keys, and what their receivers have of them."""
    if algorithm not in PRIVATE:
        return shared, [text.encode() for text in shared]
    private = PRIVATE[algorithm].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return [private], [b""]


def made(document: tuple[bool, dict[str, str]], values: dict[str, str]) -> Message:
    as_json, fields = document
    body = JsonText(json.dumps(fields).encode()) if as_json else Form(list(fields.items()))
    return message(body, url="https://example.com:8443/hook?z=1&name=%2Bx+y", query=[("n", "1 &")], values=values)


@settings(max_examples=100, deadline=None)
@given(configurations(), documents, shared_keys, st.sampled_from([None, b"before it was encrypted"]))
def test_what_is_signed_verifies(
    configuration: dict[str, Any], document: tuple[bool, dict[str, str]], shared: list[str], plain: bytes | None
) -> None:
    texts, keys = keys_for(configuration["algorithm"], shared)
    request = made(document, {})
    known = dict(request.values)
    request.plain = plain
    received = signed(request, configuration, keys={"k": texts}, checked=True)
    receiver = Receiver(configuration, received, known, b"")
    receiver.plain = plain or receiver.body
    signatures = receiver.signatures()
    assert len(signatures) == (len(keys) if "repeat" in configuration else 1)
    for text, key in zip(signatures, keys, strict=False):
        signature = decoded(configuration["encoding"], text)
        content = receiver.content(key)
        with_what = receiver.mac_key(key)
        assert accepts(configuration["algorithm"], with_what, content, signature)
        assert not accepts(configuration["algorithm"], with_what, content + b"x", signature)
        if configuration["algorithm"] not in PRIVATE and configuration["algorithm"] not in DIGESTS:
            assert not accepts(configuration["algorithm"], b"x" + with_what, content, signature)


@settings(max_examples=100, deadline=None)
@given(configurations(), st.text(max_size=8), documents)
def test_nothing_of_an_event_adds_a_line_to_a_head(
    configuration: dict[str, Any], hostile: str, document: tuple[bool, dict[str, str]]
) -> None:
    configuration["also"].append({"in": "header", "name": "X-Type", "value": "{event.type}"})
    texts, _ = keys_for(configuration["algorithm"], ["key"])
    try:
        received = signed(made(document, {"event.type": hostile}), configuration, keys={"k": texts}, checked=True)
    except Unsendable:
        return
    for name, value in received.headers.items():
        assert re.fullmatch(r"[A-Za-z0-9-]+", name)
        assert value == value.strip()
        assert not re.search(r"[\x00-\x08\x0a-\x1f\x7f]", value)
        value.encode("latin-1")


def test_the_verifier_knows_what_others_published() -> None:
    """RFC 4231, case 2; GB/T 32905-2016, appendix A.1; RFC 2202, case 2; RFC 1321, appendix A.5."""
    assert (
        hmac_of("sha256", b"Jefe", b"what do ya want for nothing?").hex().startswith("5bdcc146bf60754e6a042426089575c7")
    )
    assert (
        hmac_of("sha512", b"Jefe", b"what do ya want for nothing?").hex().startswith("164b7a7bfcf819e2e395fbe73b56e0a3")
    )
    assert hmac_of("sha1", b"Jefe", b"what do ya want for nothing?").hex() == "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"
    assert sm3(b"abc").hex() == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"
    assert digest_of("md5", b"abc").hex() == "900150983cd24fb0d6963f7d28e17f72"
    with pytest.raises(ValueError, match="hex"):
        decoded("hex", "xx")
