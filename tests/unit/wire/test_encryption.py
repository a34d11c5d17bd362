"""Envelopes: the literal vectors of the platforms, and receivers written from what their documentation says."""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from typing import Any, Final
from urllib.parse import parse_qs
from xml.etree import ElementTree

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap
from tests.encrypting import (
    BODY,
    Feed,
    as_bytes,
    encrypted,
    message,
    private,
    public_pem,
    sent,
    step,
)

from posthouse.domain.errors import Invalid
from posthouse.wire.message import Unsendable
from posthouse_sdk import Decryption
from posthouse_sdk.encryption.ciphers import decrypt, encrypt
from posthouse_sdk.encryption.errors import UnopenedError
from posthouse_sdk.encryption.settings import CIPHERS

FEISHU: Final = {"kind": "envelope", "key": "k", "cipher": "aes-256-cbc", "derive": "sha256"}
FRAMED: Final = {
    "kind": "envelope",
    "key": "k",
    "key_encoding": "base64",
    "cipher": "aes-256-cbc",
    "iv": "key",
    "padding": 32,
}
DINGTALK: Final = FRAMED | {"frame": {"owner": "suite4xxxxxxxxxxxxxxx"}}
WECOM: Final = FRAMED | {
    "frame": {"owner": "wx5823bf96d3bd56c7"},
    "body": {
        "kind": "xml",
        "elements": {"ToUserName": "wx5823bf96d3bd56c7", "Encrypt": "{ciphertext}", "AgentID": "218"},
    },
}
WECHAT_PAY: Final = {
    "kind": "envelope",
    "key": "k",
    "cipher": "aes-256-gcm",
    "iv": "beside",
    "iv_encoding": "text",
    "associated_data": "transaction",
    "body": {
        "kind": "json",
        "template": {
            "id": "{event.id}",
            "event_type": "TRANSACTION.SUCCESS",
            "resource_type": "encrypt-resource",
            "resource": {
                "original_type": "transaction",
                "algorithm": "AEAD_AES_256_GCM",
                "ciphertext": "{ciphertext}",
                "associated_data": "transaction",
                "nonce": "{iv}",
            },
        },
    },
}
DINGTALK_KEY: Final = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"
WECOM_KEY: Final = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"
APIV3_KEY: Final = "0123456789abcdef0123456789ABCDEF"


# What the platforms' receivers do, from their documentation


def cbc(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    machine = Cipher(algorithms.AES(key), modes.CBC(iv)).decryptor()
    return machine.update(ciphertext) + machine.finalize()


def feishu_reads(encrypt_key: str, body: bytes) -> bytes:
    raw = b64decode(json.loads(body)["encrypt"])
    plain = cbc(hashlib.sha256(encrypt_key.encode()).digest(), raw[:16], raw[16:])
    return plain[: -plain[-1]]


def wechat_reads(encoding_aes_key: str, encrypt: str) -> tuple[bytes, str, str]:
    """The message, the 16 random characters and the receiver's id."""
    key = b64decode(encoding_aes_key + "=")
    plain = cbc(key, key[:16], b64decode(encrypt))
    assert 1 <= plain[-1] <= 32
    plain = plain[: -plain[-1]]
    length = int.from_bytes(plain[16:20], "big")
    return plain[20 : 20 + length], plain[:16].decode(), plain[20 + length :].decode()


def wechat_pay_reads(apiv3_key: str, body: bytes) -> bytes:
    resource = json.loads(body)["resource"]
    assert resource["algorithm"] == "AEAD_AES_256_GCM"
    return AESGCM(apiv3_key.encode()).decrypt(
        resource["nonce"].encode(), b64decode(resource["ciphertext"]), resource["associated_data"].encode()
    )


# Literal vectors, made by the platforms


def test_feishus_own_vector() -> None:
    vector = "P37w+VZImNgPEO1RBhJ6RtKl7n6zymIbEG1pReEzghk="
    assert feishu_reads("test key", json.dumps({"encrypt": vector}).encode()) == b"hello world"
    made = encrypted(FEISHU, "test key", b"hello world", random=Feed(b64decode(vector)[:16]))
    assert made.document.encoded() == b'{"encrypt":"%b"}' % vector.encode()


@pytest.mark.parametrize(
    ("configuration", "key", "vector", "plain"),
    [
        (
            WECOM,  # 企业微信: echostr of the sample that comes with its libraries
            WECOM_KEY,
            "P9nAzCzyDtyTWESHep1vC5X9xho/qYX3Zpb4yKa9SKld1DsH3Iyt3tP3zNdtp+4RPcs8TgAE7OaBO+FZXvnaqQ==",
            "1616140317555161061",
        ),
        (
            WECOM,  # the message of the same sample, whose msg_signature is 477715d11cdb4164915debcba66cb864d751f3e6
            WECOM_KEY,
            "RypEvHKD8QQKFhvQ6QleEB4J58tiPdvo+rtK1I9qca6aM/wvqnLSV5zEPeusUiX5L5X/0lWfrf0QADHHhGd3QczcdCUpj911L3vg3W/s"
            "YYvuJTs3TUUkSUXxaccAS0qhxchrRYt66wiSpGLYL42aM6A8dTT+6k4aSknmPj48kzJs8qLjvd4Xgpue06DOdnLxAUHzM6+kDZ+HMZfJ"
            "YuR+LtwGc2hgf5gsijff0ekUNXZiqATP7PF5mZxZ3Izoun1s4zG4LUMnvw2r+KqCKIw+3IQH03v+BCA9nMELNqbSf6tiWSrXJB3LAVGU"
            "callcrw8V2t9EL4EhzJWrQUax5wLVMNS0+rUPA3k22Ncx4XXZS9o0MBH27Bo6BpNelZpS+/uh9KsNlY6bHCmJU9p8g7m3fVKn28H3KDY"
            "A5Pl/T8Z1ptDAVe0lXdQ2YoyyH2uyPIGHBZZIs2pDBS8R07+qN+E7Q==",
            "<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName>\n"
            "<FromUserName><![CDATA[mycreate]]></FromUserName>\n<CreateTime>1409659813</CreateTime>\n"
            "<MsgType><![CDATA[text]]></MsgType>\n<Content><![CDATA[hello]]></Content>\n"
            "<MsgId>4561255354251345929</MsgId>\n<AgentID>218</AgentID>\n</xml>",
        ),
        (
            DINGTALK,  # 钉钉: the sample of its documentation
            DINGTALK_KEY,
            "1a3NBxmCFwkCJvfoQ7WhJHB+iX3qHPsc9JbaDznE1i03peOk1LaOQoRz3+nlyGNhwmwJ3vDMG+OzrHMeiZI7gTRWVdUBmfxjZ8Ej23JV"
            "Ya9VrYeJ5as7XM/ZpulX8NEQis44w53h1qAgnC3PRzM7Zc/D6Ibr0rgUathB6zRHP8PYrfgnNOS9PhSBdHlegK+AGGanfwjXuQ9+0pZc"
            "y0w9lQ==",
            '{"EventType":"check_create_suite_url","Random":"LPIdSnlF","TestSuiteKey":"suite4xxxxxxxxxxxxxxx"}',
        ),
    ],
)
def test_the_vectors_of_wechat_and_dingtalk(configuration: dict[str, Any], key: str, vector: str, plain: str) -> None:
    message, random, owner = wechat_reads(key, vector)
    assert (message.decode(), owner) == (plain, configuration["frame"]["owner"])
    made = encrypted(configuration, key, message, random=Feed(as_bytes(random)))
    assert vector in made.document.encoded().decode()


def test_wechat_pays_vector() -> None:
    """Of the tests of its Go library, where the key has 16 bytes; the server's have 32."""
    configuration = WECHAT_PAY | {"cipher": "aes-128-gcm", "associated_data": "Dl56FrqWQJF1t9LtC3vEUsniZKvbqdR8"}
    feed = Feed(as_bytes("wCq51qZv4Yfg"))
    made = encrypted(configuration, "testAPIv3Key0000", b"Hello World", random=feed)
    resource = json.loads(made.document.encoded())["resource"]
    assert (resource["ciphertext"], resource["nonce"]) == ("FsdXzxryWfKwvLJKf8LG/ToRPTRh8RN9wROC", "wCq51qZv4Yfg")


def test_sm4_has_the_vectors_of_its_standard() -> None:
    """GB/T 32907-2016 (ECB is CBC of one block) and RFC 8998, appendix A.1 (GCM)."""
    key = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
    block, _ = encrypt(CIPHERS["sm4-cbc"], key, bytes(16), key)
    assert block.hex() == "681edf34d206965e86b3e94f536e4246"
    plain = b"".join(bytes((byte,)) * 8 for byte in b"\xaa\xbb\xcc\xdd\xee\xff\xee\xaa")
    associated = bytes.fromhex("FEEDFACEDEADBEEFFEEDFACEDEADBEEFABADDAD2")
    iv = bytes.fromhex("00001234567800000000ABCD")
    ciphertext, tag = encrypt(CIPHERS["sm4-gcm"], key, iv, plain, associated)
    assert ciphertext.hex().upper() == (
        "17F399F08C67D5EE19D0DC9969C4BB7D5FD46FD3756489069157B282BB200735"
        "D82710CA5C22F0CCFA7CBF93D496AC15A56834CBCF98C397B4024A2691233B8D"
    )
    assert tag.hex().upper() == "83DE3541E4C2B58177E065A9BF7B62EC"
    assert decrypt(CIPHERS["sm4-gcm"], key, iv, ciphertext, tag, associated) == plain
    with pytest.raises(UnopenedError):
        decrypt(CIPHERS["sm4-gcm"], key, iv, ciphertext, tag, b"")


# Shapes


def test_feishu() -> None:
    made = encrypted(FEISHU, "test key")
    assert feishu_reads("test key", made.document.encoded()) == BODY
    assert (made.content_type, made.plain, made.headers, made.query) == ("application/json", BODY, [], [])


def test_dingtalk() -> None:
    made = encrypted(DINGTALK, DINGTALK_KEY)
    message, random, owner = wechat_reads(DINGTALK_KEY, json.loads(made.document.encoded())["encrypt"])
    assert (message, owner) == (BODY, "suite4xxxxxxxxxxxxxxx")
    assert random.isalnum()


def test_wecom() -> None:
    made = encrypted(WECOM, WECOM_KEY)
    body = made.document.encoded()
    root = ElementTree.fromstring(body)
    assert [(child.tag, child.text) for child in root if child.tag != "Encrypt"] == [
        ("ToUserName", "wx5823bf96d3bd56c7"),
        ("AgentID", "218"),
    ]
    assert body.startswith(b"<xml><ToUserName><![CDATA[wx5823bf96d3bd56c7]]></ToUserName><Encrypt><![CDATA[")
    assert wechat_reads(WECOM_KEY, root.findtext("Encrypt") or "")[0] == BODY
    assert made.content_type == "text/xml; charset=utf-8"


def test_wechat_pay() -> None:
    made = encrypted(WECHAT_PAY, APIV3_KEY)
    body = made.document.encoded()
    assert wechat_pay_reads(APIV3_KEY, body) == BODY
    assert json.loads(body)["id"] == "evt_1"


def test_a_form() -> None:
    configuration = FEISHU | {"body": {"kind": "form", "fields": {"app": "a&b=1", "encrypt": "{ciphertext}"}}}
    made = encrypted(configuration, "test key")
    fields = parse_qs(made.document.encoded().decode(), strict_parsing=True)
    assert fields["app"] == ["a&b=1"]
    assert feishu_reads("test key", json.dumps({"encrypt": fields["encrypt"][0]}).encode()) == BODY
    assert made.content_type == "application/x-www-form-urlencoded"


def test_a_text_of_parts_and_headers_and_parameters_beside_it() -> None:
    configuration = {
        "kind": "envelope",
        "key": "k",
        "key_encoding": "hex",
        "iv": "beside",
        "output": "hex",
        "body": {"kind": "text", "template": "{iv}.{ciphertext}", "content_type": "text/plain"},
        "headers": {"X-Tag": "{tag}", "X-Event": "{event.type} at {timestamp}"},
        "query": {"v": "{{2}}"},
    }
    made = encrypted(configuration, "11" * 32)
    iv, ciphertext = (bytes.fromhex(part) for part in made.document.encoded().decode().split("."))
    told = dict(made.headers)
    assert AESGCM(b"\x11" * 32).decrypt(iv, ciphertext + bytes.fromhex(told["X-Tag"]), b"") == BODY
    assert (told["X-Event"], made.query) == ("order.created at 1767323045", [("v", "{2}")])


def test_bytes_as_they_are() -> None:
    made = encrypted({"kind": "envelope", "key": "k", "output": "raw", "body": {"kind": "text"}}, "k" * 32)
    raw = made.document.encoded()
    assert AESGCM(b"k" * 32).decrypt(raw[:12], raw[12:], b"") == BODY
    assert made.content_type == "application/octet-stream"


def test_associated_data_may_tell_of_the_event() -> None:
    configuration = {
        "kind": "envelope",
        "key": "k",
        "associated_data": "{event.id}",
        "body": {"kind": "json", "template": {"c": "{ciphertext}", "aad": "{associated_data}"}},
    }
    body = json.loads(encrypted(configuration, "k" * 32).document.encoded())
    raw = b64decode(body["c"])
    assert body["aad"] == "evt_1"
    assert AESGCM(b"k" * 32).decrypt(raw[:12], raw[12:], b"evt_1") == BODY


def test_signers_may_add_to_what_is_encrypted() -> None:
    for configuration, expected in (
        (FEISHU, b'","sign":"<s>&"}'),
        (
            WECOM | {"body": {"kind": "xml", "elements": {"E": "{ciphertext}"}, "cdata": False}},
            b"<sign>&lt;s&gt;&amp;<",
        ),
        (FEISHU | {"body": {"kind": "form", "fields": {"e": "{ciphertext}"}}}, b"&sign=%3Cs%3E%26"),
    ):
        key = WECOM_KEY if configuration["iv" if "iv" in configuration else "key"] == "key" else "test key"
        document = encrypted(configuration, key).document
        document.put("sign", "<s>&")
        assert expected in document.encoded()
        assert document.pairs()[1] == ("sign", "<s>&")
    with pytest.raises(Invalid, match="has no fields"):
        encrypted(FEISHU | {"body": {"kind": "text"}}, "k").document.put("sign", "s")


def test_the_newest_key_encrypts() -> None:
    made = encrypted(FEISHU, ["new key", "test key"])
    assert feishu_reads("new key", made.document.encoded()) == BODY


# Hybrid


def oaep(wrapped: bytes, number: int = 0) -> bytes:
    key = private("rsa", number)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key.decrypt(wrapped, padding.OAEP(padding.MGF1(SHA256()), SHA256(), None))


def test_hybrid_to_a_public_key() -> None:
    made = encrypted({"kind": "hybrid", "key": "k"}, public_pem("rsa"))
    body = json.loads(made.document.encoded())
    key = oaep(b64decode(body["wrapped_key"]))
    assert AESGCM(key).decrypt(b64decode(body["iv"]), b64decode(body["ciphertext"]), b"") == BODY
    der = b64decode("".join(public_pem("rsa").splitlines()[1:-1]))
    assert body["key_id"] == hashlib.sha256(der).hexdigest()
    assert body["algorithm"] == "RSA-OAEP-256"


def test_hybrid_to_a_certificate_named_by_its_serial_number() -> None:
    certificate = certificate_of("rsa", 0x0A1B2C)
    configuration = {"kind": "hybrid", "key": "k", "key_id": "serial", "headers": {"X-Serial": "{key_id}"}}
    body_without_id = {
        "kind": "json",
        "template": {"k": "{wrapped_key}", "iv": "{iv}", "c": "{ciphertext}"},
    }
    made = encrypted(configuration | {"body": body_without_id}, certificate)
    body = json.loads(made.document.encoded())
    assert made.headers == [("X-Serial", "0A1B2C")]
    key = oaep(b64decode(body["k"]))
    assert AESGCM(key).decrypt(b64decode(body["iv"]), b64decode(body["c"]), b"") == BODY


def test_hybrid_to_an_ec_key() -> None:
    """From the description in `posthouse_sdk.encryption.sealing`."""
    configuration = {"kind": "hybrid", "key": "k", "algorithm": "ECDH-HKDF-SHA256-A256KW", "cipher": "sm4-gcm"}
    body = json.loads(encrypted(configuration, public_pem("p256")).document.encoded())
    target = private("p256")
    assert isinstance(target, ec.EllipticCurvePrivateKey)
    wrapped = b64decode(body["wrapped_key"])
    point, rest = wrapped[:65], wrapped[65:]
    numbers = target.public_key().public_numbers()
    own = b"\x04" + numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    ephemeral = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    z = target.exchange(ec.ECDH(), ephemeral)
    info = b"ECDH-HKDF-SHA256-A256KW" + point + own
    k = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(z)
    raw = b64decode(body["ciphertext"])
    key = aes_key_unwrap(k, rest)
    assert decrypt(CIPHERS["sm4-gcm"], key, b64decode(body["iv"]), raw[:-16], raw[-16:]) == BODY


def certificate_of(kind: str, serial: int) -> str:
    from datetime import UTC, datetime

    from cryptography.hazmat.primitives.serialization import Encoding

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "isv.example")])
    key = private(kind)
    assert isinstance(key, rsa.RSAPrivateKey)
    return (
        x509.CertificateBuilder(name, name, key.public_key(), serial)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2036, 1, 1, tzinfo=UTC))
        .sign(key, SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


# Fields


def test_chosen_fields_and_every_other_byte_as_it_was() -> None:
    body = b'{"type": "t", "data": {"big":12345678901234567890123,"price":1.10,"card":{"no":"4111"},"\\u0061":[ 1 ]}}'
    configuration = {
        "kind": "envelope",
        "key": "k",
        "cipher": "aes-256-cbc",
        "derive": "sha256",
        "fields": ["/data/card"],
    }
    made = encrypted(configuration, "test key", body)
    text = made.document.encoded()
    assert b'"big":12345678901234567890123,"price":1.10,' in text
    assert b"4111" not in text
    token = json.loads(text)["data"]["card"]
    assert feishu_reads("test key", json.dumps({"encrypt": token}).encode()) == b'{"no":"4111"}'
    assert (made.content_type, made.plain) == ("application/json", body)
    made.document.put("sign", "s")
    assert made.document.pairs()[0] == ("type", "t")


def test_fields_within_arrays_share_one_wrapped_key() -> None:
    body = b'{"items":[{"price":1},{"price":2.50},{"gift":true}],"none":null}'
    configuration = {
        "kind": "hybrid",
        "key": "k",
        "key_id": "none",
        "fields": ["/items/*/price", "/none", "/absent/x", "/type/0"],
        "body": {"kind": "json", "template": {"iv": "{iv}", "c": "{ciphertext}"}},
        "headers": {"X-Key": "{wrapped_key}"},
    }
    made = encrypted(configuration, public_pem("rsa"), body)
    key = AESGCM(oaep(b64decode(dict(made.headers)["X-Key"])))

    def plain(field: dict[str, str]) -> bytes:
        return key.decrypt(b64decode(field["iv"]), b64decode(field["c"]), b"")

    sealed = json.loads(made.document.encoded())
    assert [plain(item["price"]) for item in sealed["items"][:2]] == [b"1", b"2.50"]
    assert sealed["items"][2] == {"gift": True}
    assert plain(sealed["none"]) == b"null"
    assert sealed["items"][0]["price"]["iv"] != sealed["items"][1]["price"]["iv"]


# What only shows when it is sent


@pytest.mark.parametrize(
    ("configuration", "body", "values", "reason"),
    [
        ({"fields": ["/a"]}, b"<xml/>", {}, "this body is not JSON"),
        ({"fields": ["/a"]}, b'{"a":\xff}', {}, "this body is not JSON"),
        (
            {
                "cipher": "aes-128-gcm",
                "derive": "md5",
                "associated_data": "{event.type}",
                "headers": {"X-T": "{associated_data}"},
            },
            BODY,
            {"event.type": "a\r\nX-Evil: 1"},
            "the header X-T of the encryption cannot be sent",
        ),
        ({"headers": {"X-T": "{event.key}"}}, BODY, {}, "{event.key} has no value"),
        (
            {"body": {"kind": "xml", "elements": {"T": "{event.type}", "E": "{ciphertext}"}}},
            BODY,
            {"event.type": "a\x00b"},
            "a text holds U+0000, which XML cannot hold",
        ),
        (
            {"body": {"kind": "json", "template": {"t": "{event.key}", "e": "{ciphertext}"}}},
            BODY,
            {},
            "{event.key} has no value",
        ),
    ],
)
def test_what_cannot_be_sent(configuration: dict[str, Any], body: bytes, values: dict[str, str], reason: str) -> None:
    with pytest.raises(Unsendable, match=re.escape(reason)) as caught:
        encrypted(FEISHU | configuration, "the secret", body, **values)
    assert "the secret" not in str(caught.value)


def test_what_an_event_says_adds_no_header() -> None:
    configuration = FEISHU | {"headers": {"X-T": "{event.type}"}, "query": {"t": "{event.type}"}}
    made = encrypted(configuration, "test key", BODY, **{"event.type": "a\r\nX-Evil: 驿 "})
    assert made.headers == [("X-T", "a%0D%0AX-Evil: %E9%A9%BF")]
    assert made.query == [("t", "a\r\nX-Evil: 驿 ")]


def test_nor_does_it_beside_something_of_the_encryption() -> None:
    configuration = {"kind": "envelope", "key": "k", "headers": {"X-T": "{event.type} {tag}"}}
    values: dict[str, Any] = {"event.type": "a\r\nX-Evil: 驿"}
    made = encrypted(configuration, "k" * 32, BODY, **values)
    assert made.headers[0][1].startswith("a%0D%0AX-Evil: %E9%A9%BF ")
    assert Decryption(configuration, "k" * 32)(*sent(made)).body == BODY


def test_cdata_holds_whatever_it_has_to() -> None:
    configuration = WECOM | {"body": {"kind": "xml", "elements": {"T": "{event.type}", "E": "{ciphertext}"}}}
    made = encrypted(configuration, WECOM_KEY, BODY, **{"event.type": "]]><x/>&"})
    assert ElementTree.fromstring(sent(made)[0]).findtext("T") == "]]><x/>&"


def test_a_step_is_used_again_and_again() -> None:
    again = step(FEISHU, "test key")
    bodies = set()
    for _ in range(3):
        made = message()
        again.apply(made)
        assert feishu_reads("test key", made.document.encoded()) == BODY
        bodies.add(made.document.encoded())
    assert len(bodies) == 3
