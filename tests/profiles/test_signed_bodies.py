"""Platforms that sign what they send in the clear.

Receivers are the platforms' own libraries where there are such, else a few lines written from their documentation. Vectors
are literal ones that others published: where each comes from is said beside it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
import stripe
from cloudevents.v1.http import from_http
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from gidgethub import ValidationFailure
from gidgethub.sansio import Event as GithubEvent
from standardwebhooks import Webhook as StandardWebhook
from standardwebhooks import WebhookVerificationError
from tests.messages import NOW, Received, message
from tests.profiles.speaking import CREATED, DATA, ENDPOINT_ID, ID, PAYLOAD, TYPE, URL, read, sent, signed_by
from tests.published import SLACK_BODY, SLACK_SECRET, discord_accepts, slack_verifier
from twilio.request_validator import RequestValidator

from posthouse.wire.documents import Form

SECRET = "It's a Secret to Everybody"


def changed(body: bytes) -> bytes:
    """With one byte that is another."""
    place = body.index("驿".encode()) if "驿".encode() in body else len(body) // 2
    return body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]


def hmac_base64(key: str, content: bytes) -> str:
    return base64.b64encode(hmac.digest(key.encode(), content, hashlib.sha256)).decode()


# Standard Webhooks and CloudEvents, by standardwebhooks and cloudevents. The vector is the former's own; their secret is the
# endpoint's.

STANDARD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def standard_accepts(received: Received, secret: str = STANDARD) -> bool:
    try:
        StandardWebhook(secret).verify(received.body, received.headers)
    except WebhookVerificationError:
        return False
    return True


@pytest.mark.parametrize("profile", ["standard", "cloudevents"])
def test_the_endpoints_own_secret_signs(profile: str) -> None:
    received = sent(profile, now=time.time(), secret=STANDARD)
    assert received.headers["webhook-id"] == ID
    assert standard_accepts(received)
    assert not standard_accepts(received, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx")
    received.body = changed(received.body)
    assert not standard_accepts(received)


def test_standard() -> None:
    signature = StandardWebhook(STANDARD).sign(
        "msg_p5jXN8AQM9LWM0D4loKWxJek", datetime.fromtimestamp(1614265330, UTC), '{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    received = sent("standard", secret=STANDARD)
    assert read(received.body) == {"type": TYPE, "timestamp": "2021-02-25T15:02:00.250Z", "data": DATA}
    assert received.headers["webhook-timestamp"] == str(int(NOW))


def test_cloudevents() -> None:
    received = sent("cloudevents", settings={"source": "//shop.example"}, secret=STANDARD)
    event = from_http({name.lower(): value for name, value in received.headers.items()}, received.body)
    assert (
        event.get_attributes().items()
        >= {
            "specversion": "1.0",
            "id": ID,
            "type": TYPE,
            "source": "//shop.example",
            "subject": "shop:42",
            "time": "2021-02-25T15:02:00.250Z",
        }.items()
    )
    assert read(received.body)["data"] == DATA
    assert received.headers["Content-Type"] == "application/cloudevents+json"


# GitHub, by gidgethub. The vector is GitHub's own ("Validating webhook deliveries").


def test_github() -> None:
    received = signed_by("github", message(b"Hello, World!"), secret=SECRET)
    assert received.headers["X-Hub-Signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )
    received = sent("github", keys={"secret": SECRET})
    headers = {name.lower(): value for name, value in received.headers.items()}
    event = GithubEvent.from_http(headers, received.body, secret=SECRET)
    assert (event.event, event.delivery_id) == (TYPE, ID)
    assert received.body == PAYLOAD
    assert received.headers["X-GitHub-Hook-ID"] == ENDPOINT_ID
    assert received.headers["User-Agent"].startswith("GitHub-Hookshot/")
    with pytest.raises(ValidationFailure):
        GithubEvent.from_http(headers, changed(received.body), secret=SECRET)
    with pytest.raises(ValidationFailure):
        GithubEvent.from_http(headers, received.body, secret="another")
    # The older signature: gidgethub looks at it where the newer one is missing.
    del headers["x-hub-signature-256"]
    assert GithubEvent.from_http(headers, received.body, secret=SECRET).event == TYPE


# Stripe, by stripe


def test_stripe() -> None:
    received = sent(
        "stripe", keys={"endpoint_secret": ("whsec_new", "whsec_old")}, settings={"api_version": "2022-11-15"}
    )
    header = received.headers["Stripe-Signature"]
    for secret in ("whsec_new", "whsec_old"):
        event = stripe.Webhook.construct_event(received.body, header, secret, tolerance=10**10)
        assert (event.id, event.type, event.created, event.api_version) == (ID, TYPE, int(CREATED), "2022-11-15")
        assert event.data.object["orderId"] == "驿站 42"
    assert read(received.body)["data"] == {"object": DATA}
    for body, secret in ((changed(received.body), "whsec_new"), (received.body, "whsec_other")):
        with pytest.raises(stripe.SignatureVerificationError):
            stripe.WebhookSignature.verify_header(body.decode(errors="replace"), header, secret, tolerance=None)
    ours = stripe.WebhookSignature.generate_signature_header(received.body.decode(), "whsec_new", int(NOW))
    assert header.startswith(ours + ",v1=")


# Slack, by slack_sdk. The vector is Slack's own ("Verifying requests from Slack").


def test_slack() -> None:
    received = signed_by("slack", message(SLACK_BODY, now=1531420618), signing_secret=SLACK_SECRET)
    assert received.headers["X-Slack-Signature"] == (
        "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    )
    received = sent("slack", keys={"signing_secret": SLACK_SECRET}, settings={"team_id": "T1", "app_id": "A1"})
    verifier = slack_verifier(SLACK_SECRET)
    assert verifier.is_valid_request(received.body, received.headers)
    assert not verifier.is_valid_request(changed(received.body).decode(errors="replace"), received.headers)
    assert not slack_verifier("another").is_valid_request(received.body, received.headers)
    assert read(received.body) == {
        "team_id": "T1",
        "api_app_id": "A1",
        "event": {"type": TYPE, "event_ts": f"{int(CREATED)}.000000"} | DATA,
        "type": "event_callback",
        "event_id": ID,
        "event_time": int(CREATED),
    }


# Zoom signs as Slack does, under names of its own: so Slack's library and vector judge it, too.


def test_zoom() -> None:
    received = signed_by("zoom", message(SLACK_BODY, now=1531420618), secret_token=SLACK_SECRET)
    assert received.headers["x-zm-signature"] == "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"
    received = sent("zoom", keys={"secret_token": "token"}, settings={"account_id": "acc"})
    stamp, signature = received.headers["x-zm-request-timestamp"], received.headers["x-zm-signature"]
    verifier = slack_verifier("token")
    assert verifier.is_valid(received.body, stamp, signature)
    assert not verifier.is_valid(changed(received.body).decode(errors="replace"), stamp, signature)
    assert not slack_verifier("another").is_valid(received.body, stamp, signature)
    assert read(received.body) == {
        "event": TYPE,
        "event_ts": int(CREATED * 1000),
        "payload": {"account_id": "acc", "object": DATA},
    }


# Shopify. The vector is a test of SQLPage's (tests/sql_test_files/…hmac_shopify).


def test_shopify() -> None:
    body = b'{"id":1234567890,"email":"customer@example.com","total_price":"123.45"}'
    received = signed_by("shopify", message(body), client_secret="test-webhook-secret")
    assert received.headers["X-Shopify-Hmac-SHA256"] == "QNyObTlKbMx2qDlPF/ZOZcBqg5OgPg+2oky3zldc0Gw="
    received = sent("shopify", keys={"client_secret": SECRET})
    assert received.body == PAYLOAD
    signature = received.headers["X-Shopify-Hmac-SHA256"]
    assert signature == hmac_base64(SECRET, received.body)
    assert signature != hmac_base64(SECRET, changed(received.body))
    assert signature != hmac_base64("another", received.body)
    told = {name.removeprefix("X-Shopify-"): value for name, value in received.headers.items() if "Shopify" in name}
    assert told | {"Hmac-SHA256": ""} == {
        "Topic": TYPE,
        "Shop-Domain": "shop:42",
        "API-Version": "2024-10",
        "Webhook-Id": ID,
        "Event-Id": ID,
        "Triggered-At": "2021-02-25T15:02:00.250Z",
        "Hmac-SHA256": "",
    }


# Square. The vector is Square's own ("Verify and Validate an Event Notification").


def test_square() -> None:
    received = signed_by("square", message(b'{"hello":"world"}'), signature_key="asdf1234")
    assert received.headers["x-square-hmacsha256-signature"] == "2kRE5qRU2tR+tBGlDwMEw2avJ7QM4ikPYD/PJ3bd9Og="
    received = sent("square", keys={"signature_key": SECRET})
    signature = received.headers["x-square-hmacsha256-signature"]
    assert signature == hmac_base64(SECRET, URL.encode() + received.body)
    assert signature != hmac_base64(SECRET, URL.encode() + changed(received.body))
    assert signature != hmac_base64("another", URL.encode() + received.body)
    assert read(received.body) == {
        "merchant_id": "shop:42",
        "type": TYPE,
        "event_id": ID,
        "created_at": "2021-02-25T15:02:00.250Z",
        "data": {"type": TYPE, "id": ID, "object": DATA},
    }


# Twilio, by twilio. The vector is Twilio's own ("Security", and the tests of its libraries).


def test_twilio() -> None:
    made = message(
        Form(
            [
                ("CallSid", "CA1234567890ABCDE"),
                ("Digits", "1234"),
                ("From", "+14158675309"),
                ("To", "+18005551212"),
                ("Caller", "+14158675309"),
            ]
        ),
        url="https://mycompany.com/myapp.php?foo=1&bar=2",
    )
    received = signed_by("twilio", made, auth_token="12345")
    assert received.headers["X-Twilio-Signature"] == "RSOYDt4T1cUTdK1PDd93/VVr8B8="

    received = sent("twilio", keys={"auth_token": SECRET}, settings={"account_sid": "AC1"})
    fields = dict(parse_qsl(received.body.decode(), keep_blank_values=True, strict_parsing=True))
    signature = received.headers["X-Twilio-Signature"]
    assert RequestValidator(SECRET).validate(URL, fields, signature)
    assert not RequestValidator(SECRET).validate(URL, fields | {"note": "x"}, signature)
    assert not RequestValidator(SECRET).validate(URL + "0", fields, signature)
    assert not RequestValidator("another").validate(URL, fields, signature)
    assert received.headers["Content-Type"] == "application/x-www-form-urlencoded"
    expected = {"AccountSid": "AC1", "Sid": ID, "EventType": TYPE, "Timestamp": str(int(CREATED))}
    assert fields.items() >= (expected | {"orderId": "驿站 42", "rate": "1.50", "gift": "true", "note": ""}).items()
    assert (read(fields["items"]), read(fields["amount"])) == (DATA["items"], DATA["amount"])
    assert fields["big"] == "12345678901234567890"


# Meta, by gidgethub: the signature is GitHub's


def test_meta() -> None:
    received = signed_by("meta", message(b"Hello, World!"), app_secret=SECRET)
    assert received.headers["X-Hub-Signature-256"] == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )
    received = sent(
        "meta",
        keys={"app_secret": SECRET, "verify_token": "v"},
        settings={"object": "whatsapp_business_account"},
        type="messages",
    )
    headers = {"x-github-event": "", "x-github-delivery": ""}
    headers |= {name.lower(): value for name, value in received.headers.items()}
    assert GithubEvent.from_http(headers, received.body, secret=SECRET)
    for body, secret in ((changed(received.body), SECRET), (received.body, "another")):
        with pytest.raises(ValidationFailure):
            GithubEvent.from_http(headers, body, secret=secret)
    assert read(received.body) == {
        "object": "whatsapp_business_account",
        "entry": [{"id": "shop:42", "time": int(CREATED), "changes": [{"field": "messages", "value": DATA}]}],
    }


# Discord. The vector is from the documentation of Tencent's QQ bots, which sign the same way under the same names.


def test_discord() -> None:
    seed = b"naOC0ocQE3shWLAfffVLB1rhYPG7naOC".hex()
    public = "d7c362fe78aef81ff23287b493628b5db02a3c4fe30b215e4d19609b5d76673a"
    body = b'{\n  "op": 0,\n  "d": {},\n  "t": "GATEWAY_EVENT_NAME"\n}'
    received = signed_by("discord", message(body, now=1725442341), private_key=seed)
    assert received.headers["X-Signature-Ed25519"] == (
        "865ad13a61752ca65e26bde6676459cd36cf1be609375b37bd62af366e1dc25a"
        "8dc789ba7f14e017ada3d554c671a911bfdf075ba54835b23391d509579ed002"
    )
    received = sent("discord", keys={"private_key": seed}, settings={"application_id": "7"})
    assert discord_accepts(received, public)
    assert not discord_accepts(received, Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex())
    assert read(received.body) == {
        "version": 1,
        "application_id": "7",
        "type": 1,
        "event": {"type": TYPE, "timestamp": "2021-02-25T15:02:00.250Z", "data": DATA},
    }
    received.body = changed(received.body)
    assert not discord_accepts(received, public)


# Microsoft Graph signs nothing: the client state is compared ("Receive change notifications through webhooks").


def graph_accepts(body: bytes, client_state: str) -> list[dict[str, Any]]:
    return [one for one in read(body)["value"] if hmac.compare_digest(one["clientState"], client_state)]


def test_graph() -> None:
    received = sent("graph", keys={"client_state": "s3cr3t"}, settings={"tenant_id": "t"}, type="updated")
    (one,) = graph_accepts(received.body, "s3cr3t")
    assert one == {
        "id": ID,
        "subscriptionId": ENDPOINT_ID,
        "subscriptionExpirationDateTime": "2099-12-31T00:00:00Z",
        "tenantId": "t",
        "changeType": "updated",
        "resource": "shop:42",
        "resourceData": DATA,
        "clientState": "s3cr3t",
    }
    assert datetime.fromisoformat(one["subscriptionExpirationDateTime"]).year == 2099
    assert not graph_accepts(received.body, "another")
    assert not {name for name in received.headers if "signature" in name.lower()}


# WebSub, by a subscriber written from the recommendation (sections 5.3, 7 and 7.1).


def websub_accepts(received: Received, secret: str) -> bool:
    method, _, signature = received.headers["X-Hub-Signature"].partition("=")
    assert method == "sha256"
    return hmac.compare_digest(hmac.digest(secret.encode(), received.body, hashlib.sha256).hex(), signature)


def test_websub() -> None:
    settings = {"topic": "https://shop.example/orders?id=42&x=1", "hub": "https://hub.example/"}
    received = sent("websub", keys={"secret": SECRET}, settings=settings)
    assert received.headers["Link"] == (
        '<https://hub.example/>; rel="hub", <https://shop.example/orders?id=42&x=1>; rel="self"'
    )
    assert received.body == PAYLOAD
    assert websub_accepts(received, SECRET)
    assert not websub_accepts(received, "another")
    received.body = changed(received.body)
    assert not websub_accepts(received, SECRET)


# REST hooks, by a receiver written from Asana's documentation ("Webhooks": the secret is the key as it was handed over).


def rest_hook_accepts(received: Received, secret: str) -> bool:
    expected = hmac.new(secret.encode(), received.body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(expected, received.headers["X-Hook-Signature"])


def test_rest_hooks() -> None:
    secret = "b537207f20cbfa02357cf448134da559e8bd39d61597dcd5631b8012eae53e81"
    received = sent("rest-hooks", keys={"secret": secret})
    assert read(received.body) == {
        "events": [{"id": ID, "event": TYPE, "created_at": "2021-02-25T15:02:00.250Z", "data": DATA}]
    }
    assert rest_hook_accepts(received, secret)
    assert not rest_hook_accepts(received, secret[::-1])
    received.body = changed(received.body)
    assert not rest_hook_accepts(received, secret)
