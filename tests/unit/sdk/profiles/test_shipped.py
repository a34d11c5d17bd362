"""Every profile that comes with Posthouse: what its endpoints are sent of an event is received."""

from __future__ import annotations

import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tests.profiling import LETTERS, NOW, Sent, given_to, sent_by, told

from posthouse.domain.exchange import Answer, Timings
from posthouse.manage.profiles import fields_of, shipped
from posthouse.wire.encryption.answers import Opener
from posthouse_sdk import (
    NoMatchingSignatureError,
    ProfileError,
    ProfileReceiver,
    VerificationError,
    profile_names,
)


@cache
def came_to(name: str) -> Sent:
    here, _, settings = given_to(name)
    return sent_by(name, here, settings)


@cache
def receiver(name: str) -> ProfileReceiver:
    _, there, settings = given_to(name)
    return ProfileReceiver(name, there, settings=settings, clock=lambda: NOW)


@pytest.mark.parametrize("name", profile_names())
def test_it_is_received(name: str) -> None:
    profile, came = told(name), came_to(name)
    found = receiver(name).receive(*came)
    receive = profile["receive"]
    assert found.event is not None
    assert found.handshake is None
    assert found.event.type == ("order.created" if receive.get("type") else None)
    assert found.event.id == "evt_000g40r40m30e209185gr38e1w" or not receive.get("id")
    assert "A-1" in str(found.event.data)
    assert found.body or not receive.get("answer")
    assert 200 <= found.status < 300
    _, there, settings = given_to(name)
    for signer in profile["endpoint"].get("signing", ()):
        key = signer.get("key", "secret")
        changed = {**there, key: there[key].replace("a", "b").replace("6", "7")}
        if changed != there and signer.get("algorithm", "").partition("-")[0] not in ("rsa", "ed25519"):
            with pytest.raises(NoMatchingSignatureError):
                ProfileReceiver(name, changed, settings=settings, clock=lambda: NOW).receive(*came)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
)


@pytest.mark.parametrize("name", profile_names())
@hypothesis_settings(deadline=None, max_examples=30)
@given(st.data())
def test_whatever_comes_is_taken_or_refused_with_a_cause(name: str, data: st.DataObject) -> None:
    came = came_to(name)
    text = st.text(st.characters(), max_size=20)
    headers = {each: data.draw(st.just(value) | text) for each, value in came.headers.items()}
    query = data.draw(st.just(came.url.partition("?")[2]) | text)
    bodies = JSON.map(lambda value: json.dumps(value).encode())
    body = data.draw(st.just(came.body) | bodies | st.binary(max_size=50) | _respelled(came.body))
    method = data.draw(st.sampled_from(["POST", "GET", "OPTIONS", "PUT"]))
    try:
        found = receiver(name).receive(method, f"/hook?{query}", headers, body)
    except (VerificationError, ProfileError) as error:
        why = error
    else:
        assert found.event is not None or found.handshake is not None
        return
    assert LETTERS not in str(why)
    assert isinstance(why, VerificationError) or "say with url=" in str(why)


def _respelled(body: bytes) -> st.SearchStrategy[bytes]:
    """With a piece of it left out, doubled or replaced."""
    places = st.tuples(st.integers(0, len(body)), st.integers(0, len(body)), st.binary(max_size=3))
    return places.map(lambda each: body[: each[0]] + each[2] + body[each[1] :])


def test_the_server_opens_the_answer_that_dingtalk_is_given() -> None:
    here, _, settings = given_to("dingtalk")
    found = receiver("dingtalk").receive(*came_to("dingtalk"))
    profile = next(each for each in shipped() if each.name == "dingtalk")
    encryption = fields_of(profile, settings)["encryption"]
    opens = Opener(encryption, {name: [text] for name, text in here.items()}, required=True)
    assert opens.opened(Answer(status=200, headers=(), body=found.body, timings=Timings())) == b"success"
