"""What an inlet makes of requests: what is seen, what names them, and what is hidden."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
from tests.inbound import PUBLIC_URL, request_of, settings_for
from tests.profiling import NOW, Sent, event

from posthouse.domain.errors import Invalid
from posthouse.domain.inbound import settings_of, shown
from posthouse.domain.limits import INBOUND_EXCERPT_BYTES_MAX
from posthouse.manage.profiles import Profiles, shipped
from posthouse.wire.inbound import Genuine, Inlet, NotGenuine, url_of
from posthouse.wire.inbound_seen import InboundRequest, content_of, excerpt_of, seen_of

PROFILES = Profiles(shipped())


def inlet(settings: dict[str, Any], *, now: float = NOW, url: str | None = None) -> Inlet:
    read = settings_of(settings, payload_bytes_max=2**20)
    return Inlet(read, PROFILES.get, url=url, clock=lambda: now, bytes_max=2**20)


def came(sent: Sent, **changed: Any) -> InboundRequest:
    path, _, query = sent.url.removeprefix(PUBLIC_URL).partition("?")
    fields: dict[str, Any] = {
        "id": "req_1",
        "at": NOW,
        "method": sent.method,
        "path": path,
        "query": query,
        "headers": tuple((name.lower(), value) for name, value in sent.headers.items()),
        "body": sent.body,
    }
    return InboundRequest(**fields | changed)


def taken(made: Inlet, request: InboundRequest) -> Genuine:
    judged = made.receive(request)
    assert isinstance(judged, Genuine), judged
    return judged


def plain(body: bytes = b'{"n": 1}', query: str = "", method: str = "POST", **headers: str) -> InboundRequest:
    told = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return came(Sent(method, f"{PUBLIC_URL}/in/x", {}, body), query=query, headers=told)


def test_the_profiles_id_names_a_request_with_its_type() -> None:
    made = inlet(settings_for("github"))
    first = taken(made, came(request_of("github", "x", now=NOW)))
    assert first.key.startswith("order.created/evt_")
    again = taken(made, came(request_of("github", "x", now=NOW + 60)))
    assert again.key == first.key
    # Adyen gives the notifications of one payment the same id.
    adyen = inlet(settings_for("adyen"))
    kinds = {taken(adyen, came(request_of("adyen", "x", of=event(type), now=NOW))).key for type in ("A", "B")}
    assert len(kinds) == 2


def test_without_an_id_what_it_says_names_it_and_not_how_it_was_signed() -> None:
    """A sender that signs anew with each try has the same event all the same."""
    made = inlet(settings_for("websub"))
    body = b'{"n": 1}'
    keys = {taken(made, came(request_of("websub", "x", of=event(payload=body), now=NOW + n))).key for n in range(2)}
    assert len(keys) == 1
    other = taken(made, came(request_of("websub", "x", of=event(payload=b'{"n": 2}'), now=NOW))).key
    assert {other} != keys
    encrypted = inlet(settings_for("wecom"))
    found = [taken(encrypted, came(request_of("wecom", "x", now=NOW + n))) for n in range(2)]
    assert found[0].key == found[1].key


def test_a_cloudevents_id_is_its_sources_own() -> None:
    made = inlet(settings_for("cloudevents"))
    assert taken(made, came(request_of("cloudevents", "x", now=NOW))).key.startswith("order.created/posthouse/evt_")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (plain(), plain(), True),
        (plain(), plain(b'{"n": 2}'), False),
        (plain(query="a=1"), plain(query="a=2"), False),
        (plain(), plain(method="PUT"), False),
        (plain(x_trace="1"), plain(x_trace="2"), True),
    ],
)
def test_what_nobody_signs_is_named_by_what_it_says(one: InboundRequest, other: InboundRequest, same: bool) -> None:
    made = inlet({"verify": False, "methods": ["POST", "PUT"]})
    assert (taken(made, one).key == taken(made, other).key) is same


def test_a_key_is_always_one_that_can_be() -> None:
    made = inlet({"verify": False, "idempotency": "{headers.x-id}"})
    for value in ("a", "a" * 1000, "\x07", "é"):
        key = taken(made, plain(x_id=value)).key
        assert 0 < len(key) <= 128
        assert key.isprintable()
    assert taken(made, plain(x_id="a")).key == "a"
    assert taken(made, plain()).key.startswith("sha256-")
    assert taken(inlet({"verify": False, "idempotency": "{request_id}"}), plain()).key == "req_1"


def test_what_lets_somebody_in_is_not_seen() -> None:
    secret = {
        "authorization": "Basic x",
        "proxy-authorization": "x",
        "cookie": "a=b",
        "x-api-key": "x",
        "x-gitlab-token": "x",
        "x-hub-signature-256": "x",
        "stripe-signature": "x",
        "x-auth-token": "x",
        "x-shopify-hmac-sha256": "x",
    }
    harmless = {"i-twilio-idempotency-token": "1", "x-keyword": "2", "x-github-event": "3", "signature-date": "4"}
    request = came(
        Sent("POST", f"{PUBLIC_URL}/in/x", secret | harmless, b"{}"), query="token=s&access_token=s&sign=s&a=1&a=2"
    )
    seen = json.loads(seen_of(request, content_of(b"{}", "application/json")))
    assert seen["headers"] == harmless
    assert seen["query"] == {"a": ["1", "2"]}
    assert "s" not in json.loads(excerpt_of(request))["query"].values()
    # Nor what the profile itself says.
    seen = json.loads(taken(inlet(settings_for("discord")), came(request_of("discord", "x", now=NOW))).seen)
    assert "x-signature-ed25519" not in seen["headers"]
    assert "x-signature-timestamp" in seen["headers"]


def test_bodies_are_seen_as_what_they_are() -> None:
    assert content_of(b'{"n": 1.50}', "application/problem+json").content_type == "application/json"
    assert content_of(b"{", "application/json").fault is not None
    assert content_of(b"\xff", "application/json").fault is not None
    assert content_of(b"[" * 100_000, "application/json").fault is not None
    assert content_of(b"a=1&a=2&b=", "application/x-www-form-urlencoded").seen == {"a": ["1", "2"], "b": ""}
    assert content_of(b"<a><b>1</b></a>", "text/xml").seen == {"b": "1"}
    assert content_of(b"<!DOCTYPE a><a/>", "text/xml").fault is not None
    assert content_of(b"{", "").content_type == "application/octet-stream"
    assert content_of(b"x", "bad type").content_type == "application/octet-stream"
    assert content_of(b"x" * 100_000, "text/plain").text == "x" * 65_536
    digits = b'{"id": 12345678901234567890123, "total": 1.50}'
    seen = seen_of(plain(digits), content_of(digits, "application/json"))
    assert digits in seen, "no digit is lost"


def test_what_is_kept_of_a_stranger_is_small() -> None:
    headers = {f"x-{n}": "v" * 100 for n in range(200)}
    request = came(Sent("POST", f"{PUBLIC_URL}/in/x", headers, b"\xff" * 100_000), query="a=" + "b" * 60_000)
    assert len(excerpt_of(request)) < 6 * INBOUND_EXCERPT_BYTES_MAX


def test_headers_that_come_twice_are_joined_and_those_that_sign_are_refused() -> None:
    seen = json.loads(
        seen_of(came(Sent("POST", "/", {}, b""), headers=(("x-a", "1"), ("x-a", "2"))), content_of(b"", ""))
    )
    assert seen["headers"] == {"x-a": "1, 2"}
    good = came(request_of("github", "x", now=NOW))
    twice = came(request_of("github", "x", now=NOW), headers=(*good.headers, ("x-hub-signature-256", "sha256=00")))
    assert isinstance(inlet(settings_for("github")).receive(twice), NotGenuine)


def test_whole_urls_are_signed_as_the_sender_has_them() -> None:
    sent = request_of("twilio", "x", now=NOW)
    where = f"{PUBLIC_URL}/in/x"
    assert isinstance(inlet(settings_for("twilio"), url=where).receive(came(sent)), Genuine)
    assert isinstance(inlet(settings_for("twilio") | {"url": where}, url="https://a").receive(came(sent)), Genuine)
    assert isinstance(inlet(settings_for("twilio")).receive(came(sent)), NotGenuine), "http://, by its Host"
    assert url_of("https://a.example/", "shop@1") == "https://a.example/in/shop@1"
    assert url_of("", "shop") is None


def test_methods_are_the_profiles() -> None:
    assert inlet(settings_for("meta")).methods == ("GET", "POST")
    assert inlet(settings_for("meta") | {"methods": ["post"]}).methods == ("POST",)
    assert inlet(settings_for("cloudevents")).methods == ("OPTIONS", "POST")
    assert inlet({"verify": False}).methods == ("POST",)
    assert inlet({"verify": False, "methods": ["get"]}).methods == ("GET",)


def test_every_profile_can_be_taken_from() -> None:
    for profile in PROFILES.all():
        assert "POST" in inlet(settings_for(profile.name)).methods


def test_keys_are_never_shown_and_never_taken_from_what_is_shown() -> None:
    settings = {"profile": "meta", "keys": {"app_secret": "a", "verify_token": ["b", "c"]}}
    told = shown(settings)
    assert told["keys"] == {"app_secret": "(not shown)", "verify_token": "(not shown)"}
    assert shown({"verify": False}) == {"verify": False}
    with pytest.raises(Invalid) as caught:
        settings_of(told, payload_bytes_max=1)
    assert caught.value.path == "keys.app_secret"


def test_signatures_of_another_scheme_beside_the_right_one_are_passed_over() -> None:
    """Stripe sends `v0` along with test events."""
    made = inlet(settings_for("stripe"))
    sent = request_of("stripe", "x", now=NOW)
    name = "Stripe-Signature"
    for value, good in (
        (sent.headers[name] + ",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39", True),
        (sent.headers[name].replace("v1=", "v0="), False),
        (sent.headers[name] + ",v2=00", False),
    ):
        judged = made.receive(came(sent._replace(headers=sent.headers | {name: value})))
        assert isinstance(judged, Genuine) is good, value


def test_of_a_body_that_is_json_no_values_are_made() -> None:
    """Half a million lists take a third of a second, in which nobody else computes."""
    body = b"[" + b",".join([b"[" * 100 + b"]" * 100] * 5_000) + b"]"
    before = sys.getallocatedblocks()
    peak = before

    def noted(_frame: Any, _what: str, _about: Any) -> None:
        nonlocal peak
        peak = max(peak, sys.getallocatedblocks())

    profile = sys.getprofile()
    sys.setprofile(noted)
    try:
        content = content_of(body, "application/json")
    finally:
        sys.setprofile(profile)
    assert content.fault is None
    assert peak - before < 10_000
    for wrong in (b'["\xff"]', b'["\\ud800"]', b"[1,]", b"[" * 100_000):
        assert content_of(wrong, "application/json").fault is not None
