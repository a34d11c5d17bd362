"""The reference library and our SDK agree on which requests to trust; and no request can make a receiver raise."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import standardwebhooks
from hypothesis import example, given
from hypothesis import strategies as st

from posthouse_sdk import VerificationError, Webhook, generate_hmac_key
from posthouse_sdk.receiving import MemoryReplayStore, Receiver
from posthouse_sdk.testing import SECRET

KEYS = [generate_hmac_key(bytes([n]) * 32).text for n in range(3)]
ids = st.text("abcdefgXYZ0123456789_-", min_size=1, max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
Tamper = tuple[str, int]
tampers: st.SearchStrategy[Tamper] = st.tuples(
    st.sampled_from([
        "nothing", "nothing", "flip body", "cut body", "other id", "other time", "stale", "future", "other secret",
        "no id", "no time", "no signature", "empty id", "bad time", "more versions", "rotation", "not base64", "title case",
        "signature of another body", "space",
    ]),
    st.integers(min_value=0, max_value=10**6),
)  # fmt: skip


def spoiled(body: bytes, headers: dict[str, str], tamper: Tamper, now: int) -> tuple[bytes, dict[str, str]]:
    """A request after somebody had it in their hands."""
    what, number = tamper
    sign = Webhook(KEYS[0]).sign
    id = headers["webhook-id"]
    match what:
        case "flip body":
            position = number % len(body)
            # What remains is text: the reference library takes nothing else.
            return body[:position] + bytes([body[position] ^ 1 if body[position] < 128 else body[position]]) + body[
                position + 1 :
            ], headers
        case "cut body":
            return body.decode()[: number % len(body.decode())].encode(), headers
        case "other id":
            return body, headers | {"webhook-id": f"{id}x"}
        case "other time":
            return body, headers | {"webhook-timestamp": str(now + 1 + number % 200)}
        case "stale":
            return body, headers | sign(id, now - 310 - number, body)
        case "future":
            return body, headers | sign(id, now + 310 + number, body)
        case "other secret":
            return body, headers | Webhook(KEYS[1]).sign(id, now, body)
        case "no id" | "no time" | "no signature":
            gone = {"no id": "webhook-id", "no time": "webhook-timestamp", "no signature": "webhook-signature"}[what]
            return body, {name: value for name, value in headers.items() if name != gone}
        case "empty id":
            return body, headers | {"webhook-id": ""}
        case "bad time":
            return body, headers | {"webhook-timestamp": ["soon", "-", "12:00", "nan"][number % 4]}
        case "more versions":
            return body, headers | {"webhook-signature": f"v1a,AAAA v2,x {headers['webhook-signature']} v1,AAAA"}
        case "rotation":
            return body, headers | Webhook([KEYS[2], KEYS[0]]).sign(id, now, body)
        case "not base64":
            return body, headers | {"webhook-signature": "v1," + base64.b64encode(bytes(number % 64)).decode()}
        case "title case":
            return body, {name.title(): value for name, value in headers.items()}
        case "signature of another body":
            return body, headers | sign(id, now, body + b" ")
        case "space":
            return body + b" ", headers
    return body, headers


@given(ids, values, tampers)
@example("evt_1", {"type": "a"}, ("nothing", 0))
def test_the_reference_library_and_ours_agree(id: str, value: Any, tamper: Tamper) -> None:
    now = int(time.time())  # the reference library's clock cannot be set
    body = json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")
    body, headers = spoiled(body, Webhook(KEYS[0]).sign(id, now, body), tamper, now)
    try:
        theirs = (True, standardwebhooks.Webhook(KEYS[0]).verify(body, dict(headers)))
    except Exception:
        theirs = (False, None)
    try:
        ours = (True, Webhook(KEYS[0]).verify(body, headers))
    except VerificationError:
        ours = (False, None)
    assert ours == theirs
    assert ours[0] is (tamper[0] in ("nothing", "more versions", "rotation", "title case")) or tamper[0] == "flip body"


@given(
    st.binary(max_size=200) | values.map(lambda value: json.dumps(value).encode()),
    st.sampled_from([
        "application/json", "text/json", "application/cloudevents+json", "application/cloudevents-batch+json", "", ";", "é",
    ]),
)  # fmt: skip
@example(b'[{"id":"\\ud800","type":"\\ud800"}]', "application/json")
@example(b'{"type":"\\ud800","data":1}', "application/json")
@example(b'{"specversion":"1.0","id":"x","type":"y","time":7,"data_base64":[]}', "application/cloudevents+json")
def test_whatever_a_signed_request_holds_it_is_answered(body: bytes, content_type: str) -> None:
    receiver = Receiver(SECRET, store=MemoryReplayStore(), fallback=lambda event: None)
    headers = Webhook(SECRET).sign("evt_1", int(time.time()), body) | {"content-type": content_type}
    assert receiver.handle(body, headers).status in (200, 400)
