"""For every configuration that can be written: what the server encrypts, a receiver with the same configuration opens."""

from __future__ import annotations

import json
from typing import Any

import h11
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tests.encrypting import encrypted, message, private_jwk, private_pem, public_jwk, public_pem, sent, step

from posthouse.domain.endpoint import Timeouts
from posthouse.wire.assemble import assemble
from posthouse.wire.message import Unsendable
from posthouse_sdk import Decryption, DecryptionError
from posthouse_sdk.encryption.settings import CIPHERS

KINDS = ("p256", "p384", "p521", "x25519")
# Names that JSON, XML, forms and headers all take.
names = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,6}", fullmatch=True)
scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8)
)
data = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
texts = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="{}"), max_size=6)
printable = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="{}"), max_size=6)
# What may stand between two parts of a text: no encoding has one of these at its end or start.
separators = st.sampled_from([".", ":", " | ", "~", "驿"])


@st.composite
def sealings(draw: st.DrawFn, hybrid: bool) -> dict[str, Any]:
    cipher = draw(st.sampled_from(sorted(CIPHERS)))
    gcm = cipher.endswith("gcm")
    iv = draw(st.sampled_from(["prefix", "beside"] if gcm or hybrid else ["prefix", "beside", "key"]))
    chosen: dict[str, Any] = {
        "cipher": cipher,
        "iv": iv,
        "output": draw(st.sampled_from(["base64", "base64url", "hex"])),
    }
    if iv == "beside" and draw(st.booleans()):
        chosen["iv_encoding"] = draw(st.sampled_from(["text", "base64", "base64url", "hex"]))
    if not gcm and draw(st.booleans()):
        chosen["padding"] = draw(st.sampled_from([16, 32]))
    if draw(st.booleans()):
        chosen["frame"] = {"owner": draw(printable.filter(bool))}
    if gcm and draw(st.booleans()):
        chosen["associated_data"] = draw(st.sampled_from(["", "transaction", "驿站", "{{}}"]))
    return chosen


@st.composite
def placed(draw: st.DrawFn, variables: list[str], apart: list[str], whole: bool) -> dict[str, Any]:
    """A body with these variables; those of `apart` may as well stand in headers."""
    headers: dict[str, str] = {}
    inside = []
    for variable in variables:
        if variable in apart and draw(st.booleans()):
            headers[f"X-{variable.replace('_', '-')}"] = draw(st.sampled_from(["", "v1="])) + f"{{{variable}}}"
        else:
            inside.append(variable)
    inside = draw(st.permutations(inside))
    kind = draw(st.sampled_from(["json", "text", "xml", "form"])) if whole else "json"
    joined = draw(separators).join(f"{{{variable}}}" for variable in inside)
    if kind == "text" or (kind == "json" and draw(st.booleans())):
        wrapped = draw(printable) + "|" + joined + "|" + draw(printable)
        body: dict[str, Any] = {"kind": kind, "template": draw(st.sampled_from([joined, wrapped]))}
    else:
        neighbours = draw(st.dictionaries(names, texts | st.just("{event.type}"), max_size=2))
        members = {name: text for name, text in neighbours.items() if name not in inside}
        members |= {variable: draw(st.sampled_from(["", "!"])) + f"{{{variable}}}" for variable in inside}
        members = dict(draw(st.permutations(list(members.items()))))
        if kind == "json":
            body = {"kind": kind, "template": {"a": [1, members]} if draw(st.booleans()) else members}
        elif kind == "xml":
            body = {"kind": kind, "root": draw(names), "elements": members, "cdata": draw(st.booleans())}
        else:
            body = {"kind": kind, "fields": members}
    return {"body": body, "headers": headers}


@st.composite
def keyed(draw: st.DrawFn) -> tuple[dict[str, Any], str, str]:
    """A configuration, without its place; the server's key and the receiver's."""
    kind = draw(st.sampled_from(["envelope", "hybrid", "jwe"]))
    if kind == "envelope":
        chosen = draw(sealings(False))
        size = CIPHERS[chosen["cipher"]].key_bytes
        derive = draw(st.sampled_from(["none", "sha256" if size == 32 else "md5"]))
        raw = draw(st.binary(min_size=size, max_size=size) if derive == "none" else st.binary(max_size=40))
        encoding = draw(st.sampled_from(["base64", "hex", "literal"]))
        if encoding == "literal":
            text = draw(printable) if derive != "none" else raw.hex()[:size]
        else:
            text = raw.hex() if encoding == "hex" else _base64(raw, draw(st.booleans()))
        return {"kind": kind, "key_encoding": encoding, "derive": derive} | chosen, text, text
    rsa = draw(st.integers(0, 7)) == 0  # they are slow
    pair = "rsa" if rsa else draw(st.sampled_from(KINDS))
    encoding = draw(st.sampled_from(["pem", "jwk"]))
    public = public_pem(pair) if encoding == "pem" else public_jwk(pair, kid="k-1")
    own = private_pem(pair) if draw(st.booleans()) else private_jwk(pair)
    key_id = draw(st.sampled_from(["none", "thumbprint", "sha256", *(["own"] if encoding == "jwk" else [])]))
    chosen = {"kind": kind, "key_encoding": encoding, "key_id": key_id}
    if kind == "hybrid":
        algorithm = "RSA-OAEP-256" if rsa else "ECDH-HKDF-SHA256-A256KW"
        return chosen | draw(sealings(True)) | {"algorithm": algorithm}, public, own
    algorithm = "RSA-OAEP-256" if rsa else draw(st.sampled_from(["ECDH-ES", "ECDH-ES+A256KW"]))
    return chosen | {"algorithm": algorithm}, public, own


@st.composite
def configurations(draw: st.DrawFn, *, whole: bool) -> tuple[dict[str, Any], str, str]:
    chosen, key, own = draw(keyed())
    variables = ["ciphertext"]
    apart: list[str] = []
    if chosen["kind"] != "jwe":
        if chosen["iv"] == "beside":
            variables.append("iv")
        if chosen["cipher"].endswith("gcm") and draw(st.booleans()):
            variables.append("tag")
        apart += variables[1:] if whole else []
    elif whole and draw(st.booleans()):
        direct = chosen["algorithm"] == "ECDH-ES"
        serialization = draw(st.sampled_from(["compact", "flattened", *([] if direct else ["general"])]))
        return chosen | {"key": "k", "serialization": serialization}, key, own
    if chosen["kind"] == "hybrid":
        variables.append("wrapped_key")
        apart.append("wrapped_key")
    if draw(st.booleans()) or (chosen["kind"] == "jwe" and not whole):
        chosen |= draw(placed(variables, apart, whole))
    elif whole and chosen["kind"] == "envelope" and chosen["iv"] != "beside" and draw(st.booleans()):
        chosen |= {"output": "raw", "body": {"kind": "text"}}
    return chosen | {"key": "k"}, key, own


def _base64(raw: bytes, padded: bool) -> str:
    from base64 import b64encode

    text = b64encode(raw).decode()
    return text if padded else text.rstrip("=")


quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@quick
@given(configurations(whole=True), data)
def test_a_whole_body_comes_back_byte_for_byte(configured: tuple[dict[str, Any], str, str], value: Any) -> None:
    configuration, key, own = configured
    plain = json.dumps({"type": "t", "data": value}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    body, headers = sent(encrypted(configuration, key, plain))
    assert plain not in body
    opened = Decryption(configuration, own)(body, headers)
    assert (opened.body, opened.content_type) == (plain, "application/json")


@quick
@given(configurations(whole=False), data, data)
def test_fields_come_back(configured: tuple[dict[str, Any], str, str], one: Any, other: Any) -> None:
    configuration, key, own = configured
    configuration |= {"fields": ["/data/0/a", "/data/*/~1", "/here", "/~0"]}
    value = {"data": [{"a": one, "/": other}, {"/": one}, other], "here": other, "x": one}
    body, headers = sent(encrypted(configuration, key, json.dumps(value).encode()))
    changed = json.loads(body)
    assert changed["x"] == one
    assert changed["here"] != other
    opened = Decryption(configuration, own)(body, headers)
    assert json.loads(opened.body) == value


@quick
@given(configurations(whole=True), st.text(max_size=12), st.text(max_size=12))
def test_no_configuration_and_no_event_breaks_the_framing(
    configured: tuple[dict[str, Any], str, str], type: str, subject: str
) -> None:
    configuration, key, own = configured
    configuration = configuration | {
        "headers": configuration.get("headers", {}) | {"X-Event": "{event.type} of {event.subject}"},
        "query": {"s": "{event.subject}"},
    }
    values: dict[str, Any] = {"event.type": type, "event.subject": subject}
    made = message(b'{"type":"t"}', **values)
    try:
        step(configuration, key).apply(made)
        request = assemble(made, Timeouts())
    except Unsendable:
        return
    server = h11.Connection(h11.SERVER)
    server.receive_data(request.head + request.body)
    head = server.next_event()
    assert isinstance(head, h11.Request)
    told = {name.decode(): value.decode("latin-1") for name, value in head.headers}
    expected = {"host", "user-agent", "accept", "accept-encoding", "content-type", "content-length"}
    assert set(told) == expected | {name.lower() for name, _ in made.headers}
    body = b""
    while isinstance(event := server.next_event(), h11.Data):
        body += bytes(event.data)
    assert isinstance(event, h11.EndOfMessage)
    assert Decryption(configuration, own)(body, told).body == b'{"type":"t"}'


@quick
@given(configurations(whole=True), st.data())
def test_a_touched_byte_of_an_authenticated_shape_is_refused(
    configured: tuple[dict[str, Any], str, str], drawn: st.DataObject
) -> None:
    configuration, key, own = configured
    assume(configuration["kind"] == "jwe" or configuration["cipher"].endswith("gcm"))
    plain = b'{"type":"t","data":"0123456789abcdef"}'
    body, headers = sent(encrypted(configuration, key, plain))
    touched = bytearray(body)
    # How long it is, chance decides: Base64 in a form.
    touched[drawn.draw(st.integers(0, 2**16)) % len(body)] ^= 1 << drawn.draw(st.integers(0, 7))
    decryption = Decryption(configuration, own)
    try:
        opened = decryption(bytes(touched), headers)
    except DecryptionError:
        return
    # It was a byte beside the ciphertext (a neighbour, a space, the case of a digit): the plaintext is what was sent.
    assert opened.body == plain


@pytest.mark.parametrize("cipher", ["aes-256-gcm", "aes-128-gcm", "sm4-gcm"])
def test_no_bit_of_a_ciphertext_can_be_touched(cipher: str) -> None:
    key = "k" * CIPHERS[cipher].key_bytes
    configuration = {"kind": "envelope", "key": "k", "cipher": cipher, "output": "raw", "body": {"kind": "text"}}
    decryption = Decryption(configuration, key)
    body, headers = sent(encrypted(configuration, key, b"{}"))
    for bit in range(len(body) * 8):
        touched = bytearray(body)
        touched[bit // 8] ^= 1 << bit % 8
        with pytest.raises(DecryptionError):
            decryption(bytes(touched), headers)
