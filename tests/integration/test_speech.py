"""Targets spoken to in their own languages, from the API to the bytes that arrive."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from joserfc import jwe
from joserfc.jwk import RSAKey
from lxml import etree
from tests.fakes import until
from tests.serving import ask, call, serving
from tests.targets import OK, Peer, RawTarget, target

from posthouse import bootstrap
from posthouse_sdk import Decryption, NoMatchingSignatureError, Webhook

RSA = generate_private_key(public_exponent=65537, key_size=2048)
PRIVATE = RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
PUBLIC = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ENDPOINTS = "/v1/apps/acme/endpoints"
LONG = "{event.subject}" * 60  # three of these are worth compressing
DATA = {"id": 7, "name": "灯"}
GITHUB = {
    "kind": "custom",
    "algorithm": "hmac-sha256",
    "key": "github",
    "parts": ["{body}"],
    "signature": {"in": "header", "name": "X-Hub-Signature-256", "value": "sha256={signature}"},
}


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.created"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


BAD: list[tuple[dict[str, Any], str]] = [
    ({"format": "yaml"}, "format"),
    ({"format": {"kind": "xml", "root": "1order"}}, "format.root"),
    ({"format": {"kind": "xml", "rot": "a"}}, "format.rot"),
    ({"method": "GET"}, "method"),
    ({"method": "GET", "format": "form", "query": {"q": "灯" * 300}}, "query"),
    ({"headers": {"X-Shop": "{event.shop}"}}, "headers.X-Shop"),
    ({"query": {"a": "{event.id"}}, "query.a"),
    ({"signing": [GITHUB]}, "signing[0].key"),
    ({"signing": [GITHUB | {"algorithm": "hmac-md4"}], "keys": {"github": "k"}}, "signing[0].algorithm"),
    (
        {"signing": [GITHUB], "keys": {"github": "k"}, "headers": {"X-Hub-Signature-256": "x"}},
        "headers.X-Hub-Signature-256",
    ),
    ({"signing": [GITHUB | {"algorithm": "rsa-sha256"}], "keys": {"github": "k"}}, "signing[0].key"),
    (
        {"encryption": {"kind": "jwe", "algorithm": "ECDH-ES", "key": "theirs"}, "keys": {"theirs": PUBLIC}},
        "encryption.key",
    ),
    ({"format": "form", "batch": {}}, "batch"),
]


class Received:
    """A request as its receiver reads it."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}


async def ok(peer: Peer) -> None:
    while True:
        await peer.request()
        await peer.send(OK)


async def told(server: bootstrap.Posthouse, served: RawTarget, path: str = "/", **fields: Any) -> tuple[Received, str]:
    """What an endpoint with these fields receives of an event, and the event's id."""
    port = server.port
    await call(port, "POST", ENDPOINTS, {"url": f"http://127.0.0.1:{served.port}{path}"} | fields)
    body = {"type": "order.created", "data": DATA, "subject": "shop:42"}
    event = await call(port, "POST", "/v1/apps/acme/events", body)
    await until(lambda: bool(served.requests), "the request")
    return Received(served.requests[0]), event["id"]


async def test_github_is_a_signature_and_two_headers(server: bootstrap.Posthouse) -> None:
    async with target(ok) as served:
        got, event = await told(
            server,
            served,
            keys={"github": "It's a Secret to Everybody"},
            format={"kind": "json", "body": "{data}"},
            headers={"X-GitHub-Event": "{event.type}", "X-GitHub-Delivery": "{event.id}"},
            signing=[GITHUB],
        )
    assert json.loads(got.body) == DATA
    mac = hmac.new(b"It's a Secret to Everybody", got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-hub-signature-256"] == f"sha256={mac}"
    assert (got.headers["x-github-event"], got.headers["x-github-delivery"]) == ("order.created", event)
    assert not any(name.startswith("webhook-") for name in got.headers), "nothing that nobody asked for"


async def test_alipay_is_a_form_signed_in_a_field(server: bootstrap.Posthouse) -> None:
    async with target(ok) as served:
        got, event = await told(
            server,
            served,
            keys={"ours": PRIVATE},
            format={"kind": "form", "body": {"notify_id": "{event.id}", "sign_type": "RSA2", "*": "{data}"}},
            signing=[
                {
                    "kind": "custom",
                    "algorithm": "rsa-sha256",
                    "key": "ours",
                    "parts": ["{pairs}"],
                    "pairs": {"exclude": ["sign", "sign_type"]},
                    "encoding": "base64",
                    "signature": {"in": "field", "name": "sign"},
                }
            ],
        )
    fields = dict(parse_qsl(got.body.decode(), strict_parsing=True))
    assert (fields["notify_id"], fields["id"], fields["name"]) == (event, "7", "灯")
    signed = "&".join(f"{k}={v}" for k, v in sorted(fields.items()) if k not in ("sign", "sign_type"))
    RSA.public_key().verify(base64.b64decode(fields["sign"]), signed.encode(), PKCS1v15(), SHA256())


async def test_a_get_tells_all_in_its_query_and_signs_it(server: bootstrap.Posthouse) -> None:
    async with target(ok) as served:
        got, event = await told(
            server,
            served,
            "/hook?v=1",
            keys={"token": "t0ken"},
            method="GET",
            format={"kind": "form", "body": {"data": "{data}"}},
            query={"event": "{event.id}"},
            signing=[
                {
                    "kind": "custom",
                    "algorithm": "sha1",
                    "key": "token",
                    "parts": ["{key}", "{timestamp}", "{nonce}"],
                    "order": "sorted",
                    "signature": {"in": "query", "name": "signature"},
                    "also": [
                        {"in": "query", "name": "timestamp", "value": "{timestamp}"},
                        {"in": "query", "name": "nonce", "value": "{nonce}"},
                    ],
                }
            ],
        )
    assert (got.method, got.body) == ("GET", b"")
    assert got.path.startswith("/hook?v=1&")
    assert (got.query["event"], got.query["data[name]"]) == (event, "灯")
    parts = sorted(["t0ken", got.query["timestamp"], got.query["nonce"]])
    assert got.query["signature"] == hashlib.sha1("".join(parts).encode()).hexdigest()


async def test_the_fields_of_a_body_keep_their_order(server: bootstrap.Posthouse) -> None:
    async with target(ok) as served:
        got, _ = await told(
            server,
            served,
            format={"kind": "xml", "body": {"zz_long_name": "{event.type}", "b": "1", "aa": {"z": "2", "y": "3"}}},
        )
    assert re.findall(rb"<(\w+)", got.body) == [b"event", b"zz_long_name", b"b", b"aa", b"z", b"y"]
    shown = await call(server.port, "GET", ENDPOINTS)
    assert [*shown["data"][0]["format"]["body"]] == ["zz_long_name", "b", "aa"]


async def test_xml_in_gbk_compressed_and_authorised(server: bootstrap.Posthouse) -> None:
    async with target(ok) as served:
        got, _ = await told(
            server,
            served,
            keys={"password": "pässword", "hook": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
            method="PUT",
            format={
                "kind": "xml",
                "root": "order",
                "charset": "gbk",
                "body": {
                    "*": "{data}",
                    "note": "{event.subject}" * 60,
                    "more": "{event.subject}" * 60,
                    "yet": "{event.subject}" * 60,
                },
            },
            compress="gzip",
            auth={"kind": "basic", "username": "posthouse", "key": "password"},
            signing=[{"kind": "standard", "key": "hook", "prefix": "svix-"}],
        )
    assert (got.method, got.headers["content-encoding"]) == ("PUT", "gzip")
    assert base64.b64decode(got.headers["authorization"].removeprefix("Basic ")).decode() == "posthouse:pässword"
    order = etree.fromstring(gzip.decompress(got.body))
    assert (order.tag, order.findtext("id"), order.findtext("name")) == ("order", "7", "灯")
    signed = f"{got.headers['svix-id']}.{got.headers['svix-timestamp']}.".encode() + got.body
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    mac = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert got.headers["svix-signature"] == f"v1,{mac}"


async def test_what_is_encrypted_is_read_by_its_target_alone_and_signed_as_it_is_sent(
    server: bootstrap.Posthouse,
) -> None:
    port = server.port
    async with target(ok) as served:
        got, event = await told(
            server,
            served,
            keys={"theirs": PUBLIC, "github": "k"},
            encryption={"kind": "jwe", "algorithm": "RSA-OAEP-256", "key": "theirs"},
            signing=[{"kind": "standard"}, GITHUB],
        )
        opened = jwe.decrypt_compact(got.body, RSAKey.import_key(PRIVATE), algorithms=["RSA-OAEP-256", "A256GCM"])
        assert opened.plaintext is not None
        assert json.loads(opened.plaintext)["data"] == DATA
        mac = hmac.new(b"k", got.body, hashlib.sha256).hexdigest()
        assert got.headers["x-hub-signature-256"] == f"sha256={mac}"
        assert got.headers["webhook-id"] == event, "with the endpoint's own secret"
        attempts = f"/v1/apps/acme/events/{event}/attempts"

        async def recorded() -> bool:
            return bool((await call(port, "GET", attempts))["data"])

        await until(recorded, "the attempt")
        attempt = (await call(port, "GET", attempts))["data"][0]
        shown = await call(port, "GET", f"/v1/apps/acme/attempts/{attempt['id']}")
        assert json.loads(shown["request"]["body"])["data"] == DATA, "shown as it was before"
        assert not any("signature" in name.lower() for name, _ in shown["request"]["headers"])


@pytest.mark.parametrize("encryption", [None, {"kind": "jwe", "algorithm": "RSA-OAEP-256", "key": "theirs"}])
async def test_the_sdk_reads_what_is_compressed_and_encrypted_before_that(
    server: bootstrap.Posthouse, encryption: dict[str, Any] | None
) -> None:
    async with target(ok) as served:
        got, event = await told(
            server,
            served,
            keys={"theirs": PUBLIC},
            secret=SECRET,
            format={"kind": "json", "body": {"type": "{event.type}", "data": "{data}"} | dict.fromkeys("abc", LONG)},
            compress="gzip",
            encryption=encryption,
        )
    assert got.headers["content-encoding"] == "gzip"
    decrypt = None if encryption is None else Decryption(encryption, PRIVATE)
    webhook = Webhook(SECRET, decrypt=decrypt)
    received = webhook.unwrap(got.body, got.headers)
    assert (received.id, received.type, received.data) == (event, "order.created", DATA)
    assert received.attributes == dict.fromkeys("abc", "shop:42" * 60)
    with pytest.raises(NoMatchingSignatureError, match="unpacked it on its way here"):
        webhook.unwrap(gzip.decompress(got.body), got.headers)


async def test_an_event_that_cannot_be_written_fails_alone_with_its_reason_and_asks_nothing(
    server: bootstrap.Posthouse,
) -> None:
    port = server.port
    async with target(ok) as served:
        await call(
            port,
            "POST",
            ENDPOINTS,
            {
                "url": f"http://127.0.0.1:{served.port}/",
                "format": {"kind": "json", "body": {"*": "{data}"}},
                "batch": {"max_events": 3, "max_wait_ms": 1500},
                "retry": {"schedule": [3600]},
            },
        )
        events = [
            (await call(port, "POST", "/v1/apps/acme/events", {"type": "order.created", "data": data}))["id"]
            for data in ({"n": 1}, [2], {"n": 3})
        ]
        await until(lambda: bool(served.requests), "the request")
        got = Received(served.requests[0])
        assert [each.get("n") for each in json.loads(got.body)] == [1, 3]

        async def failed() -> bool:
            owed = (await call(port, "GET", "/v1/apps/acme/deliveries"))["data"]
            return [row["event"] for row in owed] == [events[1]]

        await until(failed, "the one that cannot be written to be owed")
        (attempt,) = (await call(port, "GET", f"/v1/apps/acme/events/{events[1]}/attempts"))["data"]
        assert (attempt["outcome"], attempt["reason"], attempt["status"]) == ("failed", "unsendable", None)
        assert attempt["error"]


async def test_bad_input_is_refused_with_its_place(server: bootstrap.Posthouse) -> None:
    for fields, path in BAD:
        reply = await ask(server.port, "POST", ENDPOINTS, {"url": "https://example.com/"} | fields)
        assert reply.status == 422, reply.body
        assert reply.body["path"] == path, (fields, reply.body)
        for text in fields.get("keys", {}).values():
            assert len(text) < 2 or text not in json.dumps(reply.body)
    assert (await call(server.port, "GET", ENDPOINTS))["data"] == []


async def test_a_key_that_is_used_is_not_taken_away_nor_replaced_by_what_does_not_fit(
    server: bootstrap.Posthouse,
) -> None:
    port = server.port
    fields = {"url": "https://example.com/", "uid": "main", "signing": [GITHUB | {"algorithm": "rsa-sha256"}]}
    await call(port, "POST", ENDPOINTS, fields | {"keys": {"github": PRIVATE}})
    gone = await ask(port, "DELETE", f"{ENDPOINTS}/main/keys/github")
    assert (gone.status, gone.body["path"]) == (422, "signing[0].key")
    other = await ask(port, "PUT", f"{ENDPOINTS}/main/keys/github", {"value": "no key"})
    assert (other.status, other.body["path"]) == (422, "signing[0].key")
    assert "no key" not in json.dumps(other.body)
    shown = await call(port, "GET", f"{ENDPOINTS}/main")
    assert (shown["signing"][0]["key"], shown["keys"], shown["format"]) == ("github", ["github"], "json")
    changed = await call(port, "PATCH", f"{ENDPOINTS}/main", {"signing": None, "format": {"kind": "raw"}})
    assert (changed["signing"], changed["format"], changed["revision"]) == (None, {"kind": "raw"}, 2)
