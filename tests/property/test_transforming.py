"""Whatever an event holds and expressions come to: one request, framed as it says, to where it may go; and an identity changes
nothing."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from tests.property.test_formats import events, formats, texts, values
from tests.unit.wire.formatting import Received
from tests.unit.wire.test_render import HMAC, NOW, endpoint, event

from posthouse.adapters.cel.expressions import CelExpressions
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.expression import Facts, Outcome, Value
from posthouse.domain.formats import Method, format_of
from posthouse.domain.signing import HttpAlgorithm, HttpSigner
from posthouse.domain.transformation import DynamicUrl, Transform
from posthouse.send.preparing import PreparedRenderer
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import renderer_of
from posthouse.wire.transforming import Transformation, Transformed
from posthouse_sdk.signatures import signing_key

NAME = "X-Made"


def having(**fields: Any) -> Endpoint:
    return msgspec.structs.replace(endpoint(), **fields)


def requested(of: Event, asked: Endpoint, *made: Any) -> Request | None:
    """The request with this event; None where there is none."""
    outcomes: list[Outcome] = [Value(each) for each in made]
    transformed = Transformation(asked).applied(of, outcomes)
    if not isinstance(transformed, Transformed):
        return None
    renderer = PreparedRenderer(renderer_of(asked, random=bytes, checked=True), {of.id: transformed})
    try:
        return renderer.render(of, now=NOW, replay=False)
    except Unsendable as error:
        assert str(error).isprintable()  # noqa: PT017 - it may be refused, and need not
        return None


@given(events(), st.sampled_from((None, *Method)), formats, st.booleans())
@settings(max_examples=100, deadline=None)
def test_an_identity_sends_the_same_bytes(
    of: Event, method: Method | None, format: dict[str, Any], evaluated: bool
) -> None:
    """`method` None: an endpoint that is plain without it, whose head has its lines in another order then."""
    asked = having() if method is None else having(method=method, format=format_of(format))
    if method is Method.GET and format["kind"] != "form":
        asked = having(method=Method.PUT, format=format_of(format))
    try:
        without = renderer_of(asked, random=bytes, checked=True).render(of, now=NOW, replay=False)
    except Unsendable:
        return
    outcomes: tuple[Any, ...] = ()
    transform = Transform(data="event.data")
    if evaluated and of.content_type == "application/json":
        value = msgspec.json.decode(of.payload)
        of = msgspec.structs.replace(of, payload=msgspec.json.encode(value))
        without = renderer_of(asked, random=bytes, checked=True).render(of, now=NOW, replay=False)
        transform, outcomes = Transform(data="whatever it is called"), (value,)
    sent = requested(of, msgspec.structs.replace(asked, transform=transform), *outcomes)
    assert sent is not None
    assert sent.body == without.body
    if method is None:
        assert sorted(sent.head.split(b"\r\n")) == sorted(without.head.split(b"\r\n"))
    else:
        assert sent == without


LABELS = st.from_regex(r"[A-Za-z0-9]([A-Za-z0-9-]{0,8}[A-Za-z0-9])?", fullmatch=True)
HOSTS = st.sampled_from(("shop-1", "A.b", "x" * 63)) | LABELS | texts
SEGMENTS = texts.filter(lambda text: text not in {"", ".", ".."})  # which are no segment of a path


@given(values, texts, texts, HOSTS, SEGMENTS, st.sampled_from((Method.POST, Method.GET)))
@settings(max_examples=150, deadline=None)
def test_nothing_that_is_made_breaks_the_framing(
    data: Any, header: str, parameter: str, host: str, segment: str, method: Method
) -> None:
    asked = having(
        method=method,
        format=format_of("form" if method is Method.GET else "json"),
        transform=Transform(data="d", headers={NAME: "h"}, query={"made": "p"}),
        dynamic_url=DynamicUrl(
            template="https://{event.key}.example.com/hooks/{event.subject}?own=1", hosts=("*.example.com",)
        ),
    )
    of = msgspec.structs.replace(event(), key=host, subject=segment)
    # In the order in which the endpoint has them.
    by_text = {"d": data, "h": header, "p": parameter}
    sent = requested(of, asked, *[by_text[each.text] for each in Transformation(asked).expressions])
    assume(sent is not None)
    assert sent is not None
    received = Received(sent)
    assert unquote(received.headers[NAME.lower()]) == header
    split = urlsplit(received.target)
    assert split.path == sent.target.path.partition("?")[0]
    assert [unquote(each) for each in split.path.split("/")] == ["", "hooks", segment]
    parameters = parse_qsl(split.query, keep_blank_values=True)
    assert parameters[0] == ("own", "1")
    assert ("made", parameter) in parameters
    assert received.headers["host"] == sent.target.host == f"{host.lower()}.example.com"
    if method is Method.POST:
        assert json.loads(received.body)["data"] == data
        signed = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode()
        assert received.headers["webhook-signature"].encode() == signing_key("v1", HMAC.key).sign(signed, received.body)


@given(texts)
@settings(max_examples=40, deadline=None)
def test_a_signature_of_the_url_is_of_the_one_that_was_chosen(segment: str) -> None:
    asked = having(
        signing=(
            HttpSigner(algorithm=HttpAlgorithm.HMAC_SHA256, key="secret", components=("@target-uri", "@authority")),
        ),
        dynamic_url=DynamicUrl(template="https://{event.key}.example.com/{event.subject}", hosts=("*.example.com",)),
    )
    of = msgspec.structs.replace(event(), key="shop-1", subject=segment)
    sent = requested(of, asked)
    assume(sent is not None)
    assert sent is not None
    same = having(signing=asked.signing, url=f"https://shop-1.example.com{sent.target.path}", method=Method.POST)
    assert renderer_of(same, random=bytes, checked=True).render(of, now=NOW, replay=False) == sent


whole = st.integers(-(2**63), 2**63 - 1)
without_nul = texts.map(lambda text: text.replace("\0", "0"))  # the runtime's texts have none
plain_values = st.recursive(
    st.none() | st.booleans() | whole | st.floats(allow_nan=False, allow_infinity=False) | without_nul,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(without_nul, inside, max_size=3),
    max_leaves=8,
)
EXPRESSIONS = CelExpressions()


@given(plain_values)
@settings(max_examples=60, deadline=None)
def test_an_expression_brings_the_data_through_as_they_are(value: Any) -> None:
    """The fields of objects come in the order of their names, and nothing else is another."""
    of = event(msgspec.json.encode({"in": value}))
    asked = having(transform=Transform(data="[event.data][0]"))
    transformation = Transformation(asked)
    outcomes = EXPRESSIONS.at_once(transformation.expressions, Facts(event=of, endpoint=asked))
    assert outcomes is not None
    made = transformation.applied(of, outcomes)
    assert isinstance(made, Transformed)
    assert made.event.payload == msgspec.json.encode({"in": value}, order="deterministic")
