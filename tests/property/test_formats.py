"""Whatever an endpoint is configured to and an event holds: one request, framed as it says, that reads as it was meant."""

from __future__ import annotations

import gzip
import json
import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.wire.formatting import CONSTANTS, Received, formatter
from tests.unit.wire.test_render import EVENT_ID, NOW, event

from posthouse.domain.endpoint import Timeouts
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.formats import Charset, Method
from posthouse.wire.assemble import assemble
from posthouse.wire.documents import Gzip
from posthouse.wire.formats.xml import escaped_name, json_of, name_of
from posthouse.wire.message import Unsendable
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES

EXAMPLES = settings(max_examples=60, deadline=None)

HOSTILE = st.sampled_from(
    ("\r\n", "\0", "%0d%0a", "{", "]]>", "<", "&", '"', " ", "店", "😀", "\x85", "\u2028", "_x0041_", ":", "xmlns")
)
texts = st.lists(HOSTILE | st.text(st.characters(codec="utf-8"), max_size=5), max_size=4).map("".join)
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inside: st.lists(inside, max_size=3) | st.dictionaries(texts, inside, max_size=3),
    max_leaves=8,
)


@st.composite
def events(draw: st.DrawFn) -> Event:
    json_text = json.dumps(draw(values), ensure_ascii=draw(st.booleans())).encode()
    payload, content_type = draw(
        st.sampled_from(
            (
                (json_text, "application/json"),
                (b'{"a":%b,"b":[1]}' % json_text, "application/json"),
                (b"\0\r\n\xff", "image/png"),
                (b"<a>x</a>", "application/xml"),
                (b"x", "no type\r\n"),
            )
        )
    )
    made = event(payload, content_type)
    return msgspec.structs.replace(made, subject=draw(st.none() | texts), key=draw(st.none() | texts))


@given(values, st.data())
@EXAMPLES
def test_json_becomes_xml_and_json_again(value: Any, data: st.DataObject) -> None:
    payload = json.dumps(value).encode()
    names = list(value) if isinstance(value, dict) else ["a"]
    options = {
        "kind": "xml",
        "text": data.draw(st.sampled_from(("escaped", "cdata"))),
        "arrays": data.draw(st.sampled_from(("repeat", "wrap"))),
        "charset": data.draw(st.sampled_from(Charset)).value,
        "attributes": [name for name in names if name not in ("type", "list") and data.draw(st.booleans())],
        "body": data.draw(st.sampled_from(("{data}", {"d": "{data}"}))),
    }
    message = formatter(options).render(event(payload), now=NOW, random=bytes, replay=False)
    told = json.loads(json_of(message.document.encoded()))
    meant = value if options["body"] == "{data}" else {"d": value}
    assert told == meant
    assert json.dumps(told, sort_keys=True) == json.dumps(meant, sort_keys=True), "1 is not 1.0, nor true"


@given(texts, st.sampled_from(Charset))
@EXAMPLES
def test_names_are_told_apart(name: str, charset: Charset) -> None:
    escaped = escaped_name(name, charset)
    assert name_of(escaped) == name
    assert escaped_name(escaped, charset) == escaped or "_x" in escaped
    escaped.encode(charset)


template_texts = st.lists(
    st.sampled_from([f"{{{name}}}" for name in sorted(EVENT_VALUES | REQUEST_VALUES)])
    | st.sampled_from(("a", ";", "{{", "}}", " ", "é")),
    max_size=4,
).map("".join)
descriptions = st.dictionaries(
    st.sampled_from(("a", "b", "c", "*")),
    st.sampled_from(("{data}", "{event.subject}", "{event.key}{nonce}", "{timestamp:number}")),
    max_size=3,
).map(lambda described: {name: "{data}" if name == "*" else value for name, value in described.items()})
shaped = st.fixed_dictionaries({}, optional={"body": descriptions | st.just("{data}")}) | st.just({"thin": True})
formats = st.one_of(
    shaped.map(lambda options: {"kind": "json"} | options),
    st.just({"kind": "raw"}),
    st.builds(
        lambda options, charset, text, types: (
            {"kind": "xml", "charset": charset.value, "text": text, "types": types} | options
        ),
        shaped,
        st.sampled_from(Charset),
        st.sampled_from(("cdata", "escaped")),
        st.booleans(),
    ),
    st.builds(
        lambda options, charset, nesting: {"kind": "form", "charset": charset.value, "nesting": nesting} | options,
        shaped,
        st.sampled_from(Charset),
        st.sampled_from(("brackets", "dots", "json")),
    ),
    st.builds(
        lambda mode, thin: {"kind": "cloudevents", "mode": mode, "thin": thin},
        st.sampled_from(("structured", "binary", "batched", "xml")),
        st.booleans(),
    ),
)
FRAMED = ("Host", "User-Agent", "Accept", "Accept-Encoding")
BODY = {"Content-Type", "Content-Encoding", "Content-Length"}


@given(events(), formats, st.sampled_from(Method), template_texts, template_texts, st.booleans())
@settings(max_examples=150, deadline=None)
def test_nothing_breaks_the_framing(
    of: Event, format: dict[str, Any], method: Method, header: str, parameter: str, compressed: bool
) -> None:
    if method is Method.GET and format["kind"] != "form":
        method = Method.PUT
    try:
        made = formatter(format, method=method, headers={"X-Own": f"x{header}x"}, query={"own": parameter}).render(
            of, now=NOW, random=bytes, replay=False
        )
        if compressed:
            Gzip().apply(made)
        sent = assemble(made, Timeouts())
    except Unsendable as error:
        assert str(error).isprintable()  # noqa: PT017 - it may be refused, and need not
        return
    received = Received(sent)
    assert received.method == method
    added = [name for name in received.names if name not in BODY]
    attributes = [name for name in added if name.startswith("ce-")]
    assert added == [*FRAMED, "X-Own", *attributes]
    assert bool(attributes) == (format.get("mode") == "binary")
    assert parse_qsl(urlsplit(received.target).query, keep_blank_values=True, encoding=made.charset)[:1] == [
        ("own", _filled(parameter, made.values, made.charset))
    ]
    body = gzip.decompress(received.body) if received.headers.get("content-encoding") == "gzip" else received.body
    assert body == made.document.encoded() or compressed
    _check_body(body, received.headers.get("content-type", ""), format)


def _filled(parameter: str, values: dict[str, str], charset: str) -> str:
    """A template filled by other means, and with what the charset lacks as browsers write it."""
    text = re.sub(r"\{\{|\}\}|\{([^}]*)\}", lambda found: values[found[1]] if found[1] else found[0][0], parameter)
    return text.encode(charset, "xmlcharrefreplace").decode(charset)


def _check_body(body: bytes, content_type: str, format: dict[str, Any]) -> None:
    if not body:
        return
    if format["kind"] == "xml" or content_type.endswith("xml"):
        json_of(body)
    elif "json" in content_type and format["kind"] != "raw":
        json.loads(body)


BATCHED = formats.filter(lambda format: format["kind"] not in ("raw", "form") and format.get("mode") != "binary")


@given(st.lists(events(), min_size=1, max_size=3), BATCHED)
@EXAMPLES
def test_the_size_of_a_batch_is_known_before_it_is_made(several: list[Event], format: dict[str, Any]) -> None:
    try:
        batch = formatter(format, batch=True, constants=CONSTANTS)
    except Invalid as error:
        assert "in a batch each event is written for itself" in str(error)  # noqa: PT017
        return
    try:
        made = batch.render_batch(several, now=NOW, random=bytes, replay=False, request_id=EVENT_ID)
    except Unsendable:
        return
    body = Received(assemble(made, Timeouts())).body
    assert len(body) == batch.frame_bytes + sum(batch.added_bytes(each) for each in several)
    if made.content_type.startswith("application/json") or "+json" in made.content_type:
        assert len(json.loads(body)) == len(several)
    else:
        json_of(body)
