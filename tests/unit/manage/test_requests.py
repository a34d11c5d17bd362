"""What was signed of a request, told without any key: it is what a receiver verifies the signature over."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook
from tests.unit.manage.test_deliveries import FACTS, RECORD

from posthouse.api.models.exchange import SignedAnswer
from posthouse.domain.endpoint import Batch, EndpointConfig, Secret
from posthouse.domain.exchange import Request
from posthouse.domain.limits import SIGNED_SHOWN_BYTES_MAX
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.signing import Signer
from posthouse.manage.requests import Signed, request_of, signed_of
from posthouse.ports.inspect import AttemptRecord
from posthouse.wire.renderer import renderer_of

KEY = "a key of at least thirty-two bytes"
SECRET = Secret("v1", b"s" * 24)


def record(*signing: dict[str, Any], **more: Any) -> AttemptRecord:
    config = EndpointConfig(
        url=FACTS.url, signing=tuple(msgspec.convert(signing, type=tuple[Signer, ...])) if signing else None, **more
    )
    return msgspec.structs.replace(RECORD, config=config)


def sent(of: AttemptRecord) -> Request:
    """The request as the target got it, signed."""
    assert of.config is not None
    assert of.event is not None
    endpoint = of.config.endpoint(id=FACTS.endpoint_id, app_id=FACTS.app_id, partition=1, revision=2)
    endpoint = msgspec.structs.replace(endpoint, secrets=(SECRET,), keys=NamedKeys({"k": (KEY,)}))
    return renderer_of(endpoint, random=bytes).render(of.event, now=FACTS.started_at, replay=False)


def header(request: Request, name: str) -> str:
    for line in request.head.decode("latin-1").split("\r\n"):
        found, _, value = line.partition(": ")
        if found.lower() == name.lower():
            return value
    raise AssertionError(name)


def mac(content: bytes) -> bytes:
    return hmac.digest(KEY.encode(), content, hashlib.sha256)


async def only(of: AttemptRecord, **more: Any) -> Signed:
    told = await signed_of(of, **more)
    assert told is not None
    (one,) = told
    return one


async def test_of_a_standard_webhook_it_is_id_timestamp_and_body() -> None:
    request = await request_of(RECORD)
    assert request is not None
    one = await only(RECORD)
    headers = dict(request.headers)
    assert one.base == f"{headers['webhook-id']}.1700000001.".encode() + request.body
    assert one.exact
    signature = header(sent(RECORD), "webhook-signature")
    assert signature == "v1," + base64.b64encode(hmac.digest(b"s" * 24, one.base, hashlib.sha256)).decode()
    assert Webhook("whsec_" + base64.b64encode(b"s" * 24).decode())


async def test_of_a_custom_signature_it_is_its_parts() -> None:
    of = record(
        {
            "kind": "custom",
            "algorithm": "hmac-sha256",
            "key": "k",
            "parts": ["{timestamp}.{path}", "{body}"],
            "separator": "\n",
            "signature": {"in": "header", "name": "X-Signature"},
        }
    )
    one = await only(of)
    assert one.exact
    assert one.base is not None
    assert one.base.startswith(b"1700000001./hooks?x=1\n{")
    assert header(sent(of), "X-Signature") == mac(one.base).hex()


async def test_of_an_http_message_signature_it_is_the_signature_base() -> None:
    of = record({"kind": "http", "algorithm": "hmac-sha256", "key": "k", "key_id": "2026", "expires_seconds": 60})
    one = await only(of)
    assert one.exact
    assert one.base is not None
    assert one.base.startswith(b'"@method": POST\n"@target-uri": https://example.com/hooks?x=1\n"content-type": ')
    assert b'"@signature-params": ("@method" "@target-uri"' in one.base
    assert header(sent(of), "Signature") == f"sig1=:{base64.b64encode(mac(one.base)).decode()}:"


async def test_of_a_token_it_is_its_header_and_claims() -> None:
    of = record(
        {
            "kind": "jwt",
            "algorithm": "HS256",
            "key": "k",
            "claims": {"iss": "us"},
            "token": {"in": "header", "name": "X-Token"},
        }
    )
    one = await only(of)
    assert one.exact
    assert one.base is not None
    signature = base64.urlsafe_b64encode(mac(one.base)).rstrip(b"=")
    assert header(sent(of), "X-Token") == f"{one.base.decode()}.{signature.decode()}"


async def test_a_key_that_is_itself_signed_is_masked() -> None:
    of = record(
        {
            "kind": "custom",
            "algorithm": "md5",
            "key": "k",
            "parts": ["{timestamp}{key}"],
            "signature": {"in": "query", "name": "sign"},
        }
    )
    one = await only(of)
    assert (one.base, one.exact) == (b"1700000001[redacted]", False)


async def test_a_private_key_is_not_needed_and_what_makes_a_macs_key_neither() -> None:
    for more in ({"algorithm": "rsa-sha256"}, {"mac_key": "{key}{timestamp}", "algorithm": "hmac-sha256"}):
        of = record(
            {"kind": "custom", "key": "k", "parts": ["{body}"], "signature": {"in": "header", "name": "X-S"}} | more
        )
        one = await only(of)
        request = await request_of(of)
        assert request is not None
        assert (one.base, one.exact) == (request.body, True)


async def test_what_chance_or_a_mask_had_a_part_in_is_not_exact() -> None:
    nonce = {
        "kind": "custom",
        "algorithm": "hmac-sha256",
        "key": "k",
        "parts": ["{nonce}{body}"],
        "signature": {"in": "header", "name": "X-S"},
    }
    assert not (await only(record(nonce))).exact
    assert not (await only(RECORD, masked=True)).exact


def http(*components: str) -> dict[str, Any]:
    return {"kind": "http", "algorithm": "hmac-sha256", "key": "k", "components": components}


async def test_a_signature_over_a_signature_is_not_exact() -> None:
    told = await signed_of(
        record(
            {"kind": "standard"},
            http("webhook-signature"),
        )
    )
    assert told is not None
    assert [one.exact for one in told] == [True, False]


async def test_of_several_signers_each_in_the_order_of_the_configuration() -> None:
    told = await signed_of(record(http("webhook-id"), {"kind": "standard"}))
    assert told is not None
    assert [one.signer.key for one in told] == ["k", "secret"]
    assert told[0].base is not None
    assert told[0].base.startswith(b'"webhook-id": evt_')


@pytest.mark.parametrize("missing", [{"event": None}, {"config": None}])
async def test_what_is_gone_is_not_made_up(missing: dict[str, Any]) -> None:
    assert await signed_of(msgspec.structs.replace(RECORD, **missing)) is None


async def test_of_a_batch_it_is_not_known_and_without_signers_there_is_none() -> None:
    assert await signed_of(record(batch=Batch())) is None
    unsigned = msgspec.structs.replace(RECORD, config=EndpointConfig(url=FACTS.url, signing=()))
    assert await signed_of(unsigned) == ()


def test_a_long_one_is_cut_between_characters() -> None:
    (signer,) = msgspec.convert([{"kind": "standard"}], type=tuple[Signer, ...])
    for lead in range(4):
        whole = b"x" * lead + "é汉😀".encode() * 20_000
        answer = SignedAnswer.of(Signed(signer, whole, exact=True))
        assert answer.base is not None
        assert whole.startswith(answer.base.encode())
        assert SIGNED_SHOWN_BYTES_MAX - 3 <= len(answer.base.encode()) <= SIGNED_SHOWN_BYTES_MAX
        assert answer.base_bytes == len(whole)
    assert SignedAnswer.of(Signed(signer, b"\xff\x00", exact=True)).base_base64 == "/wA="
    assert SignedAnswer.of(Signed(signer, None, exact=False)).base_bytes is None
