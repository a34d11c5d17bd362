"""The example of a profile that somebody writes from the guides alone, before a receiver written from its README alone."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from urllib.parse import unquote_plus

import pytest
from tests.fakes import an_event, answer
from tests.profiles.speaking import DATA, ID, PAYLOAD, config_of, endpoint_of, read, sent

from posthouse.adapters.cel.expressions import CelExpressions, CelLimits
from posthouse.domain.errors import Invalid
from posthouse.manage.profile_check import check_profile
from posthouse.manage.profiles import fields_of
from posthouse.send.judge import Judge

FILE = Path(__file__).parents[2] / "examples" / "profiles" / "acme-pay.toml"
KEY = "192006250b4c09247ec02edce69f6a2d"
SETTINGS = {"merchant_id": "10000100"}
ACME = check_profile(FILE.read_text("utf-8"), name=FILE.stem)


def accepted(body: bytes, key: str) -> dict[str, str]:
    """The fields of a notification. Raises: ValueError where the signature is another one."""
    fields = {}
    for pair in body.decode("ascii").split("&"):
        name, _, value = pair.partition("=")
        fields[unquote_plus(name)] = unquote_plus(value, errors="strict")
    content = "&".join(f"{name}={fields[name]}" for name in sorted(fields) if name not in ("sign", "sign_type"))
    ours = hashlib.md5(f"{content}&key={key}".encode()).hexdigest().upper()
    if fields.pop("sign_type") != "MD5" or fields.pop("sign") != ours:
        raise ValueError("another signature")
    return fields


def test_the_receiver_accepts_what_others_have_signed() -> None:
    """The example of WeChat Pay's signature, version 2, which is this one."""
    body = (
        b"appid=wxd930ea5d5a258f4f&mch_id=10000100&device_info=1000&body=test&nonce_str=ibuaiVcKdpRxkhJA"
        b"&sign_type=MD5&sign=9A0A8659F005D6984697E2CA0A9CF3B7"
    )
    assert accepted(body, KEY)["device_info"] == "1000"
    with pytest.raises(ValueError, match="another"):
        accepted(body.replace(b"1000&body", b"1001&body"), KEY)


def test_a_notification() -> None:
    received = sent(ACME, keys={"merchant_key": KEY}, settings=SETTINGS)
    fields = accepted(received.body, KEY)
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded; charset=UTF-8"
    assert received.headers["X-Acme-Notify-Id"] == ID
    assert re.fullmatch("[0-9a-f]{32}", fields.pop("nonce_str"))
    assert (read(fields.pop("amount")), read(fields.pop("items"))) == (DATA["amount"], DATA["items"])
    assert fields == {
        "notify_id": ID,
        "notify_type": "order.paid",
        "notify_time": "2021-02-25 23:02:10",
        "merchant_id": "10000100",
        "orderId": "驿站 42",
        "rate": "1.50",
        "big": "12345678901234567890",
        "gift": "true",
    }
    with pytest.raises(ValueError, match="another"):
        accepted(received.body.replace(b"1.50", b"1.51"), KEY)
    with pytest.raises(ValueError, match="another"):
        accepted(received.body, KEY[::-1])


def test_a_text_that_looks_like_a_field_of_its_own_is_none() -> None:
    received = sent(
        ACME, keys={"merchant_key": KEY}, settings=SETTINGS, payload=PAYLOAD.replace("驿".encode(), b"&key=x&")
    )
    assert accepted(received.body, KEY)["orderId"] == "&key=x&站 42"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_guide_shows_the_example(language: str) -> None:
    guide = FILE.parents[2] / "docs" / language / "guides" / "profiles.md"
    assert f"```toml\n{FILE.read_text('utf-8')}```\n" in guide.read_text("utf-8")


def test_it_has_to_be_told_the_merchant() -> None:
    with pytest.raises(Invalid, match="The merchant that is notified") as caught:
        fields_of(ACME, {})
    assert caught.value.path == "profile_settings.merchant_id"


def test_when_it_comes_again() -> None:
    retry = config_of(ACME, SETTINGS).retry.policy()
    assert list(retry.schedule) == [15, 60, 600, 3600, 21600]
    assert list(retry.of("refund.closed").schedule) == [15, 15, 60, 300, 600, 1800, 3600, 21600]
    assert retry.of("order.paid").schedule == retry.schedule


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (ACME.receive.status, ACME.receive.answer.encode(), "confirmed"),
        (
            200,
            b'<?xml version="1.0" encoding="UTF-8"?>\n<response>\n  <code><![CDATA[SUCCESS]]></code>\n</response>\n',
            "confirmed",
        ),
        (200, b"<response><code>FAIL</code><message>SUCCESS</message></response>", "not_acknowledged"),
        (200, b"<code>SUCCESS</code>", "ack_failed"),
        (200, b"SUCCESS", "ack_failed"),
        (200, b"", "ack_failed"),
        (500, b"<response><code>SUCCESS</code></response>", "http_status"),
    ],
)
async def test_what_confirms(status: int, body: bytes, reason: str) -> None:
    expressions = CelExpressions(CelLimits(workers=1, seconds=5.0))
    try:
        endpoint = endpoint_of(config_of(ACME, SETTINGS), {"merchant_key": KEY})
        came = answer(status, (b"content-type", b"application/xml"), body=body)
        assert (await Judge(expressions).judge(endpoint, an_event(), came, 1)).reason == reason
    finally:
        await expressions.close()
