"""A whole server, and a target that answers as DingTalk's documentation says: encrypted, in the envelope of the request.

The receiver is written from that documentation ("Configure HTTP push", "Encrypt and decrypt"), and knows nothing of ours.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import struct
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from tests.serving import ask, call, listed, serving
from tests.targets import Peer, target

from posthouse import bootstrap

APP: Final = "/v1/apps/acme"
TOKEN: Final = "123456"
AES_KEY: Final = "4g5j64qlyl3zvetqxz5jiocdr586fn2zvjpa8zls3ij"
OWNER: Final = "suite4xxxxxxxxxxxxxxx"
ENCRYPTION: Final = {
    "kind": "envelope",
    "key": "aes_key",
    "key_encoding": "base64",
    "cipher": "aes-256-cbc",
    "iv": "key",
    "padding": 32,
    "frame": {"owner": OWNER},
}
SIGNING: Final = {
    "kind": "custom",
    "algorithm": "sha1",
    "key": "token",
    "parts": ["{key}", "{timestamp}", "{nonce}", "{field.encrypt}"],
    "order": "sorted",
    "signature": {"in": "query", "name": "signature"},
    "also": [
        {"in": "query", "name": "timestamp", "value": "{timestamp}"},
        {"in": "query", "name": "nonce", "value": "{nonce}"},
    ],
}
DINGTALK: Final[dict[str, Any]] = {
    "keys": {"token": TOKEN, "aes_key": AES_KEY},
    "encryption": ENCRYPTION,
    "signing": [SIGNING],
    "ack": {"text": "success"},
    "retry": {"schedule": [0.05] * 5, "jitter": 0},
}


class Receiver:
    """What it is sent, opened; and how it answers: encrypted or in the clear."""

    def __init__(self, *answers: tuple[str, bool]) -> None:
        self.key = b64decode(AES_KEY + "=")
        self.events: list[Any] = []
        self.answers = list(answers)

    async def __call__(self, peer: Peer) -> None:
        while True:
            self.events.append(json.loads(self.read(await peer.request())))
            text, encrypted = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            body = self.written(text) if encrypted else text.encode()
            kind = b"application/json" if encrypted else b"text/plain"
            await peer.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (kind, len(body), body)
            )

    def read(self, raw: bytes) -> bytes:
        head, _, body = raw.partition(b"\r\n\r\n")
        path = head.split(b" ", 2)[1].decode()
        query = {name: values[0] for name, values in parse_qs(urlsplit(path).query).items()}
        encrypt = json.loads(body)["encrypt"]
        assert query["signature"] == self.signature(query["timestamp"], query["nonce"], encrypt)
        machine = Cipher(algorithms.AES(self.key), modes.CBC(self.key[:16])).decryptor()
        plain = machine.update(b64decode(encrypt)) + machine.finalize()
        plain = plain[: -plain[-1]]
        (length,) = struct.unpack(">I", plain[16:20])
        assert plain[20 + length :] == OWNER.encode()
        return plain[20 : 20 + length]

    def written(self, text: str) -> bytes:
        plain = os.urandom(16) + struct.pack(">I", len(text.encode())) + text.encode() + OWNER.encode()
        more = 32 - len(plain) % 32
        machine = Cipher(algorithms.AES(self.key), modes.CBC(self.key[:16])).encryptor()
        encrypt = b64encode(machine.update(plain + bytes([more]) * more) + machine.finalize()).decode()
        told = {"timeStamp": "1783610513", "nonce": "123456", "encrypt": encrypt}
        return json.dumps(told | {"msg_signature": self.signature("1783610513", "123456", encrypt)}).encode()

    def signature(self, timestamp: str, nonce: str, encrypt: str) -> str:
        return hashlib.sha1("".join(sorted([TOKEN, timestamp, nonce, encrypt])).encode()).hexdigest()


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database) as running:
        await call(running.port, "POST", "/v1/event-types", {"name": "order.paid"})
        await call(running.port, "POST", "/v1/apps", {"uid": "acme"})
        yield running


async def made(port: int, url: str, **fields: Any) -> Any:
    return await call(port, "POST", f"{APP}/endpoints", {"url": url, "uid": "ding"} | DINGTALK | fields)


async def attempts_of(port: int, count: int) -> list[Any]:
    await call(port, "POST", f"{APP}/events", {"type": "order.paid", "data": {"id": 7}})
    found = await listed(port, f"{APP}/attempts", lambda rows: len(rows) >= count, "the attempts")
    return [await call(port, "GET", f"{APP}/attempts/{one['id']}") for one in reversed(found)]


async def test_an_encrypted_success_confirms_and_anything_else_does_not(server: bootstrap.Posthouse) -> None:
    receiver = Receiver(("fail", True), ("success", False), ("success", True))
    async with target(receiver) as served:
        endpoint = await made(server.port, f"http://127.0.0.1:{served.port}/", decrypt_answer="required")
        assert endpoint["decrypt_answer"] == "required"
        first, second, third = await attempts_of(server.port, 3)
    assert [event["data"] for event in receiver.events] == [{"id": 7}] * 3
    assert (first["reason"], first["error"]) == ("not_acknowledged", "ack.text is not the body")
    assert (second["reason"], second["response"]["body"]) == ("ack_failed", "success")
    assert "does not open" in second["error"]
    assert (third["outcome"], third["reason"]) == ("delivered", "confirmed")
    assert set(json.loads(third["response"]["body"])) == {"msg_signature", "timeStamp", "nonce", "encrypt"}


async def test_either_answer_confirms_where_it_may_be_encrypted(server: bootstrap.Posthouse) -> None:
    receiver = Receiver(("nope", False), ("success", False))
    async with target(receiver) as served:
        await made(server.port, f"http://127.0.0.1:{served.port}/", decrypt_answer="optional")
        first, second = await attempts_of(server.port, 2)
        assert (first["reason"], second["reason"]) == ("not_acknowledged", "confirmed")
        receiver.answers = [("success", True)]
        (third,) = (await attempts_of(server.port, 3))[2:]
    assert third["reason"] == "confirmed"


async def test_what_follows_from_an_answer_sees_what_was_in_it(server: bootstrap.Posthouse) -> None:
    port = server.port
    await call(port, "POST", "/v1/event-types", {"name": "ticket.made"})
    rule = {"when": "response.body.ticket != ''", "then": "emit", "type": "ticket.made", "data": "response.body"}
    receiver = Receiver((json.dumps({"ticket": "t-1"}), True))
    async with target(receiver) as served:
        url = f"http://127.0.0.1:{served.port}/"
        await made(port, url, decrypt_answer="required", ack=None, on_response=[rule], events=["order.*"])
        await call(port, "POST", f"{APP}/events", {"type": "order.paid", "data": {"id": 7}})
        events = await listed(port, f"{APP}/events?type=ticket.made", bool, "the event that follows")
    assert (await call(port, "GET", f"{APP}/events/{events[0]['id']}"))["data"] == {"ticket": "t-1"}


async def test_a_test_judges_as_a_delivery_does(server: bootstrap.Posthouse) -> None:
    port = server.port
    receiver = Receiver(("success", True), ("success", False))
    async with target(receiver) as served:
        await made(port, f"http://127.0.0.1:{served.port}/", decrypt_answer="required")
        told = [await call(port, "POST", f"{APP}/endpoints/ding/test", {}) for _ in range(2)]
    assert [one["reason"] for one in told] == ["confirmed", "ack_failed"]
    assert re.search(r'"encrypt": ?"', told[0]["response"]["body"]), "shown as it came"


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"decrypt_answer": "always"}, "decrypt_answer"),
        ({"decrypt_answer": "optional", "encryption": None}, "decrypt_answer"),
        (
            {
                "decrypt_answer": "required",
                "encryption": {"kind": "jwe", "algorithm": "dir", "key": "token", "key_encoding": "literal"},
            },
            "decrypt_answer",
        ),
        ({"decrypt_answer": "required", "encryption": ENCRYPTION | {"fields": ["/data"]}}, "decrypt_answer"),
    ],
)
async def test_what_could_open_nothing_is_refused(
    server: bootstrap.Posthouse, fields: dict[str, Any], path: str
) -> None:
    body = {"url": "http://127.0.0.1:9/"} | DINGTALK | fields
    refused = await ask(server.port, "POST", f"{APP}/endpoints", body)
    assert (refused.status, refused.body["path"]) == (422, path)


async def test_encryption_is_not_taken_away_from_answers_that_need_it(server: bootstrap.Posthouse) -> None:
    port = server.port
    await made(port, "http://127.0.0.1:9/", decrypt_answer="required")
    refused = await ask(port, "PATCH", f"{APP}/endpoints/ding", {"encryption": None, "signing": None})
    assert (refused.status, refused.body["path"]) == (422, "decrypt_answer")
    body = {"encryption": None, "signing": None, "decrypt_answer": None}
    assert (await call(port, "PATCH", f"{APP}/endpoints/ding", body))["decrypt_answer"] == "never"
