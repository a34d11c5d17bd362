"""Requests that are written in limited processes: the same as here, and what their limits mean."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from secrets import token_bytes
from typing import Any

import msgspec
import pytest
from tests.fakes import EPOCH, an_endpoint, an_event

from posthouse.adapters.writing.processes import WritingProcesses, writing_limits
from posthouse.domain.authentication import BasicAuth
from posthouse.domain.endpoint import Batch, Endpoint, Secret
from posthouse.domain.errors import Overloaded
from posthouse.domain.exchange import Target
from posthouse.domain.formats import FormFormat, JsonFormat, Method, XmlFormat
from posthouse.domain.limits import PAYLOAD_BYTES_MAX
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.signing import Algorithm, CustomSigner, Pairs, Place, Placed
from posthouse.wire.message import Additions, Unsendable
from posthouse.wire.payload_version import Pinning
from posthouse.wire.renderer import renderer_of
from posthouse.wire.signing.keys import SignedBy
from posthouse.wire.spoken import Order, SpokenRenderer

SIGNED = CustomSigner(
    algorithm=Algorithm.HMAC_SHA256,
    key="k",
    parts=("{pairs}", "{timestamp}"),
    pairs=Pairs(),
    signature=Placed(place=Place.FIELD, name="sign"),
)
KEYS = NamedKeys({"k": ("a-key",), "p": ("a-password",)})
PAYLOAD = json.dumps({"items": [{"n": n, "text": f"a & {n}"} for n in range(2_000)]}).encode()


@asynccontextmanager
async def processes(**changes: Any) -> AsyncIterator[WritingProcesses]:
    made = WritingProcesses(msgspec.structs.replace(writing_limits(PAYLOAD_BYTES_MAX), **changes))
    try:
        yield made
    finally:
        await made.close()


def order(endpoint: Endpoint, *payloads: bytes, **fields: Any) -> Order:
    renderer = SpokenRenderer(endpoint, random=bytes, checked=True)
    events = [an_event(n, payload=payload) for n, payload in enumerate(payloads, 1)]
    return renderer.order(events, now=EPOCH, replay=True, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"format": FormFormat(), "keys": KEYS, "signing": (SIGNED,)},
        {"format": XmlFormat(), "keys": KEYS, "signing": (SIGNED,), "auth": BasicAuth(username="u", key="p")},
        {"format": JsonFormat(body={"*": "{data}", "told": "{data:text}"}), "secrets": (Secret("v1", bytes(32)),)},
    ],
)
async def test_what_is_written_elsewhere_is_the_same_byte_for_byte(fields: dict[str, Any]) -> None:
    asked = order(an_endpoint(**fields), PAYLOAD)
    async with processes() as writer:
        assert await writer.write(asked) == asked.written()
        assert writer.pool.calls == 1


async def test_batches_and_what_a_request_has_of_its_own_go_along() -> None:
    target = Target("https", "b.example.com", 443, "/y", "b.example.com")
    own = order(an_endpoint(format=XmlFormat()), PAYLOAD, additions=Additions(target, (("X-Shop", "s"),)))
    batch = order(an_endpoint(format=XmlFormat(), batch=Batch(9, 1_000_000, 0)), PAYLOAD, b"{}", request_id=bytes(16))
    async with processes() as writer:
        one, several = await writer.write(own), await writer.write(batch)
    assert (one, several) == (own.written(), batch.written())
    assert one.target == target
    assert b"\r\nX-Shop: s\r\n" in one.head
    assert several.body.count(b"</event>") == 2


async def test_who_wants_to_know_what_would_be_signed_is_told() -> None:
    def told_by() -> tuple[dict[int, bytes], Order]:
        told: dict[int, bytes] = {}
        endpoint = an_endpoint(format=FormFormat(), signing=(SIGNED,))
        by = SignedBy(b"mask", told.__setitem__)
        renderer = SpokenRenderer(endpoint, random=bytes, checked=True, signed_by=by)
        return told, renderer.order([an_event(payload=PAYLOAD)], now=EPOCH, replay=False)

    (here, asked_here), (there, asked_there) = told_by(), told_by()
    async with processes() as writer:
        assert await writer.write(asked_there) == asked_here.written()
    assert there == here
    assert len(here[0]) > len(PAYLOAD)


async def test_what_a_version_knew_of_an_event_is_found_there_too() -> None:
    event = an_event(payload=PAYLOAD[:-1] + b',"new":1}')
    pinning = Pinning('{"properties":{"items":{}}}', event)
    none = Pinning("{}", an_event(payload=b"{"))
    async with processes() as writer:
        app_id = an_endpoint().app_id
        assert await writer.pin(pinning, app_id) == pinning.pinned() != event
        with pytest.raises(Unsendable, match="and is none"):
            await writer.pin(none, app_id)


async def test_what_cannot_be_written_is_said_in_the_same_words() -> None:
    asked = order(an_endpoint(format=FormFormat()), b'{"a":' + b" " * 20_000)
    with pytest.raises(Unsendable) as here:
        asked.written()
    async with processes() as writer:
        with pytest.raises(Unsendable) as there:
            await writer.write(asked)
        assert str(there.value) == str(here.value)
        another = order(an_endpoint(format=FormFormat()), PAYLOAD)
        assert await writer.write(another) == another.written(), "the process goes on"
        assert writer.pool.ended == 0


@pytest.mark.parametrize(
    ("limit", "words"),
    [({"seconds": 0.001}, "longer"), ({"memory_bytes": 1024 * 1024}, "memory"), ({"reply_bytes": 1_000}, "too large")],
)
async def test_what_exceeds_the_limits_cannot_be_sent(limit: dict[str, Any], words: str) -> None:
    large = order(an_endpoint(format=FormFormat()), b'{"a":[' + b"1," * 100_000 + b"1]}")
    async with processes(**limit) as writer:
        with pytest.raises(Unsendable, match=words):
            await writer.write(large)


async def test_that_nobody_can_write_it_for_now_is_no_fault_of_the_event() -> None:
    asked = order(an_endpoint(format=FormFormat()), PAYLOAD)
    async with processes(waiting_calls=0) as writer:
        with pytest.raises(Overloaded):
            await writer.write(asked)
    with pytest.raises(Overloaded):
        await writer.write(asked)


def test_how_much_is_written_at_once() -> None:
    def most(**fields: Any) -> int | None:
        return renderer_of(an_endpoint(**fields), random=token_bytes).at_once_bytes

    assert most() is None, "plain: whatever there is goes out as it is"
    whole = most(method=Method.PUT)
    apart = [
        most(format=FormFormat()),
        most(format=XmlFormat()),
        most(format=JsonFormat(body={"a": ["{data:markdown}"]})),
        most(signing=(SIGNED,), keys=KEYS),
        most(pinned_schemas={"order.created": "{}"}),
    ]
    assert whole is not None
    assert set(apart) == {16 * 1024}
    assert whole > 16 * 1024
