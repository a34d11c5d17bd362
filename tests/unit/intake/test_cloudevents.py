"""CloudEvents 1.0 in the three modes of the HTTP binding: the specification's examples, its rules, and whatever else comes."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.cloudevent import CloudEvent
from posthouse.domain.errors import Invalid, TooLarge
from posthouse.domain.limits import (
    ATTRIBUTES_MAX,
    BATCH_EVENTS_MAX,
    CLOUDEVENT_CONTEXT_BYTES_MAX,
    JSON_DEPTH_MAX,
    NAME_LENGTH_MAX,
    TEXT_LENGTH_MAX,
)
from posthouse.intake import cloudevents
from posthouse.intake.cloudevents import (
    has_binary_headers,
    is_batch,
    is_structured,
    mode_of,
    parse_binary,
    parse_structured,
)

MINIMAL: dict[str, Any] = {"specversion": "1.0", "id": "1", "source": "/s", "type": "a.b"}


def parse_structured_batch(body: bytes) -> list[CloudEvent]:
    return list(cloudevents.parse_structured_batch(body))


def structured(**attributes: Any) -> CloudEvent:
    return parse_structured(json.dumps(MINIMAL | attributes).encode())


def binary(body: bytes, content_type: str | None = None, **attributes: str) -> CloudEvent:
    headers = [(f"ce-{name}".encode(), value.encode("latin-1")) for name, value in (MINIMAL | attributes).items()]
    if content_type is not None:
        headers.append((b"content-type", content_type.encode("latin-1")))
    return parse_binary(headers, body)


def refused(parse: Callable[..., object], *arguments: Any, **attributes: Any) -> Invalid:
    with pytest.raises(Invalid) as caught:
        parse(*arguments, **attributes)
    return caught.value


# --- the specification's examples ---------------------------------------------------------------------------------------

EXTENSIONS = '"comexampleextension1" : "value", "comexampleothervalue" : 5,'
EXAMPLES = [
    # JSON event format 1.0.2, section 3.2, each with the same event in binary mode as it stands there.
    (
        f"""{{ "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext",
            "id" : "A234-1234-1234", "time" : "2018-04-05T17:31:00Z", {EXTENSIONS}
            "datacontenttype" : "application/vnd.apache.thrift.binary", "data_base64" : "gAFy/w==" }}""",
        ("A234-1234-1234", "application/vnd.apache.thrift.binary"),
        b"\x80\x01r\xff",
    ),
    (
        f"""{{ "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext",
            "id" : "B234-1234-1234", "time" : "2018-04-05T17:31:00Z", {EXTENSIONS} "unsetextension": null,
            "datacontenttype" : "application/xml", "data" : "<much wow=\\"xml\\"/>" }}""",
        ("B234-1234-1234", "application/xml"),
        b'<much wow="xml"/>',
    ),
    (
        f"""{{ "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null,
            "id" : "C234-1234-1234", "time" : "2018-04-05T17:31:00Z", {EXTENSIONS}
            "datacontenttype" : "application/json",
            "data" : {{ "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }} }}""",
        ("C234-1234-1234", "application/json"),
        b'{ "appinfoA" : "abc", "appinfoB" : 123, "appinfoC" : true }',
    ),
    (
        f"""{{ "specversion" : "1.0", "type" : "com.example.someevent", "source" : "/mycontext", "subject": null,
            "id" : "D234-1234-1234", "time" : "2018-04-05T17:31:00Z", {EXTENSIONS}
            "data" : "I'm just a string" }}""",
        ("D234-1234-1234", "application/json"),
        b'"I\'m just a string"',
    ),
]


@pytest.mark.parametrize(("text", "identity", "payload"), EXAMPLES)
def test_the_examples_of_the_json_format_are_the_same_event_in_every_mode(
    text: str, identity: tuple[str, str], payload: bytes
) -> None:
    event_id, content_type = identity
    event = parse_structured(text.encode())
    assert event == CloudEvent(
        type="com.example.someevent",
        source="/mycontext",
        id=event_id,
        time="2018-04-05T17:31:00Z",
        datacontenttype=content_type,
        payload=payload,
        content_type=content_type,
        extensions={"comexampleextension1": "value", "comexampleothervalue": "5"},
    )
    headers = [
        (b"ce-specversion", b"1.0"),
        (b"ce-type", b"com.example.someevent"),
        (b"ce-source", b"/mycontext"),
        (b"ce-id", event_id.encode()),
        (b"ce-time", b"2018-04-05T17:31:00Z"),
        (b"ce-comexampleextension1", b"value"),
        (b"ce-comexampleothervalue", b"5"),
        (b"content-type", content_type.encode()),
    ]
    assert parse_binary(headers, payload) == event
    assert parse_structured_batch(f"[{text}, {text}]".encode()) == [event, event]


def test_the_example_of_the_http_binding_is_decoded() -> None:
    event = binary(b"{}", "application/json; charset=utf-8", text="Euro%20%E2%82%AC%20%F0%9F%98%80")
    assert event.extensions == {"text": "Euro € 😀"}
    assert (event.datacontenttype, event.content_type) == ("application/json; charset=utf-8", "application/json")
    assert refused(binary, b"{}", text="%C0%A0").path == "ce-text"  # an overlong encoding of a space


# --- every valid event, in every mode -------------------------------------------------------------------------------------

characters = st.characters(exclude_categories=["Cc", "Cs", "Cn"])
texts = st.text(characters, min_size=1, max_size=30)
names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: name not in {*MINIMAL, "subject", "time", "datacontenttype", "dataschema", "data"}
)
sources = st.sampled_from(
    [
        "/s",
        "https://github.com/cloudevents",
        "mailto:a@b.c",
        "urn:uuid:6e8bc430-9c3a-11d9-9669-0800200c9a66",
        "a",
        "//h/p",
        "/cloudevents/spec/pull/123",
        "1-555-123-4567",
        "https://[::1]:80/a%20b?c=d/?#e",
    ]
)
times = st.sampled_from(["2018-04-05T17:31:00Z", "2020-02-29t23:59:60.123456789+08:00", "1937-01-01T12:00:27.87-00:20"])
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
).map(lambda value: json.dumps(value, ensure_ascii=False).encode())


@st.composite
def events(draw: st.DrawFn) -> CloudEvent:
    kind = draw(
        st.sampled_from(["application/json", "text/json", "application/a+json; x=y", "text/plain", "image/png"])
    )
    payload = draw(
        json_data if "json" in kind else texts.map(str.encode) if kind == "text/plain" else st.binary(max_size=50)
    )
    return CloudEvent(
        type=draw(st.sampled_from(["a", "com.github.pull_request.opened", "com.example.object.deleted.v2"])),
        source=draw(sources),
        id=draw(texts),
        subject=draw(st.none() | texts),
        time=draw(st.none() | times),
        datacontenttype=kind,
        dataschema=draw(st.none() | st.just("https://example.com/schema#/a")),
        payload=payload,
        content_type=kind,
        extensions=draw(st.dictionaries(names, texts | st.just(""), max_size=5)),
    )


def attributes_of(event: CloudEvent) -> dict[str, str]:
    core = {name: getattr(event, name) for name in ("id", "source", "type", "subject", "time", "dataschema")}
    return {"specversion": "1.0"} | {n: v for n, v in core.items() if v is not None} | event.extensions


def as_json(event: CloudEvent) -> bytes:
    members = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in attributes_of(event).items()]
    members.append(f'"datacontenttype": {json.dumps(event.datacontenttype)}')
    if event.is_json:
        members.append(f'"data":{event.payload.decode()}')
    elif event.datacontenttype == "text/plain":
        members.append(f'"data":{json.dumps(event.payload.decode())}')
    else:
        members.append(f'"data_base64":"{b64encode(event.payload).decode()}"')
    return "{{{}}}".format(", ".join(members)).encode()


def percent_encoded(text: str) -> bytes:
    """HTTP binding, section 3.1.3.2, the way that its text puts it."""
    return b"".join(
        character.encode()
        if "!" <= character <= "~" and character not in '"%'
        else b"".join(b"%%%02X" % b for b in bytes_of)
        for character in text
        for bytes_of in [character.encode()]
    )


def as_headers(event: CloudEvent) -> list[tuple[bytes, bytes]]:
    headers = [(b"ce-" + name.encode(), percent_encoded(value)) for name, value in attributes_of(event).items()]
    return [(b"host", b"h"), *headers, (b"content-type", event.datacontenttype.encode())]


@given(events())
def test_an_event_is_the_same_in_all_three_modes(event: CloudEvent) -> None:
    assert parse_structured(as_json(event)) == event
    assert parse_binary(as_headers(event), event.payload) == event
    assert parse_structured_batch(b"[%b,%b]" % (as_json(event), as_json(event))) == [event, event]


# --- which mode -----------------------------------------------------------------------------------------------------------


def test_modes_are_told_apart() -> None:
    assert is_structured("application/cloudevents+json")
    assert is_batch("application/cloudevents-batch+json")
    assert not is_structured("application/cloudevents-batch+json")
    assert not is_batch("application/json")
    assert mode_of("application/cloudevents+json", [(b"ce-id", b"1")]) == "structured"
    assert mode_of("application/cloudevents-batch+json", []) == "batch"
    assert mode_of("application/json", [(b"accept", b"*/*"), (b"ce-type", b"a")]) == "binary"
    assert mode_of("application/json", [(b"ce-other", b"a")]) is None
    assert has_binary_headers([(b"ce-specversion", b"1.0")])
    assert not has_binary_headers([(b"certainly", b"not")])


@pytest.mark.parametrize(
    "essence", ["application/cloudevents+avro", "application/cloudevents", "application/cloudevents-batch+x"]
)
def test_a_format_that_is_not_json_is_refused_as_such(essence: str) -> None:
    error = refused(mode_of, essence, [])
    assert (error.code, error.path) == ("unsupported_media_type", "Content-Type")
    assert essence in str(error)


# --- what is wrong, said with its place -------------------------------------------------------------------------------------

WRONG: list[tuple[dict[str, str], str]] = [
    ({"specversion": "0.3"}, "specversion"),
    ({"id": ""}, "id"),
    ({"id": "x" * (TEXT_LENGTH_MAX + 1)}, "id"),
    ({"source": ""}, "source"),
    ({"source": "a b"}, "source"),
    ({"source": "/店"}, "source"),
    ({"source": "/%zz"}, "source"),
    ({"type": ""}, "type"),
    ({"type": "order created"}, "type"),
    ({"type": "x" * (NAME_LENGTH_MAX + 1)}, "type"),
    ({"subject": ""}, "subject"),
    ({"subject": "a\x85b"}, "subject"),
    ({"subject": "a\ufffeb"}, "subject"),
    ({"subject": "\U0001ffff"}, "subject"),
    ({"time": "2018-04-05 17:31:00Z"}, "time"),
    ({"time": "2018-04-05T17:31:00"}, "time"),
    ({"time": "2018-02-30T17:31:00Z"}, "time"),
    ({"time": "2018-02-20T24:00:00Z"}, "time"),
    ({"time": ""}, "time"),
    ({"dataschema": ""}, "dataschema"),
    ({"dataschema": "/relative"}, "dataschema"),
    ({"Upper": "v"}, "Upper"),
    ({"under_score": "v"}, "under_score"),
    ({"x" * (NAME_LENGTH_MAX + 1): "v"}, "x" * (NAME_LENGTH_MAX + 1)),
    ({"extension": "a\x1fb"}, "extension"),
    ({"extension": "x" * (TEXT_LENGTH_MAX + 1)}, "extension"),
    ({"partitionkey": ""}, "partitionkey"),
    ({"partitionkey": "x" * (NAME_LENGTH_MAX * 2 + 1)}, "partitionkey"),
    ({"expirytime": "tomorrow"}, "expirytime"),
    ({f"e{n}": "v" for n in range(ATTRIBUTES_MAX + 1)}, f"e{ATTRIBUTES_MAX}"),
]


@pytest.mark.parametrize(("change", "path"), WRONG)
def test_a_wrong_attribute_is_named_in_each_mode(change: dict[str, str], path: str) -> None:
    attributes = MINIMAL | change
    assert refused(structured, **change).path == path
    batch = json.dumps([MINIMAL, attributes]).encode()
    assert refused(parse_structured_batch, batch).path == f"[1].{path}"
    headers = [(b"ce-" + name.encode(), percent_encoded(value)) for name, value in attributes.items()]
    assert refused(parse_binary, headers, b"").path == f"ce-{path}"


@pytest.mark.parametrize("missing", list(MINIMAL))
def test_a_required_attribute_that_is_missing_is_named(missing: str) -> None:
    rest = {name: value for name, value in MINIMAL.items() if name != missing}
    assert refused(parse_structured, json.dumps(rest).encode()).path == missing
    assert refused(parse_structured_batch, json.dumps([MINIMAL, rest]).encode()).path == f"[1].{missing}"
    headers = [(f"ce-{name}".encode(), value.encode()) for name, value in rest.items()]
    assert refused(parse_binary, headers, b"").path == f"ce-{missing}"


@pytest.mark.parametrize("value", [5, True, None, {}, ["a"]])
def test_a_required_attribute_is_a_string(value: object) -> None:
    assert refused(structured, id=value).path == "id"


def test_a_type_that_is_none_here_has_the_code_of_one() -> None:
    error = refused(structured, type="a b")
    assert error.code == "invalid_event_type"
    assert "order.created" in str(error)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (2**31 - 1, "2147483647"),
        (-(2**31), "-2147483648"),
        ("", ""),
    ],
)
def test_extension_values_have_their_canonical_form(value: object, text: str) -> None:
    assert structured(extension=value, unset=None).extensions == {"extension": text}


@pytest.mark.parametrize("value", ["1.0", "1e3", "2147483648", "-2147483649", "1" * 5_000, "{}", "[1]"])
def test_extension_values_of_other_types_are_refused(value: str) -> None:
    body = json.dumps(MINIMAL).encode()[:-1] + f',"extension":{value}}}'.encode()
    assert refused(parse_structured, body).path == "extension"


# --- data -------------------------------------------------------------------------------------------------------------------


def test_data_go_through_byte_for_byte() -> None:
    data = b'{"a" :  1.00, "b":"\\u00e4"}'
    assert parse_structured(json.dumps(MINIMAL).encode()[:-1] + b', "data": ' + data + b" }").payload == data
    assert binary(b" " + data + b"\n", "application/json").payload == b" " + data + b"\n"


@pytest.mark.parametrize(
    ("kind", "payload"), [("application/json", b"null"), ("a/b+json", b"null"), ("text/plain", b"")]
)
def test_an_event_without_data_has_the_payload_of_nothing(kind: str, payload: bytes) -> None:
    assert structured(datacontenttype=kind).payload == payload
    assert structured(datacontenttype=kind, data_base64=None).payload == payload
    assert binary(b"", kind).payload == payload


def test_null_data_are_data() -> None:
    assert structured(data=None).payload == b"null"
    assert refused(structured, data=None, data_base64="AA==").path == "data_base64"


def test_what_is_not_declared_is_json() -> None:
    for event in (structured(data=[1]), structured(data=[1], datacontenttype=None), binary(b"[1]")):
        assert (event.payload, event.content_type, event.is_json) == (b"[1]", "application/json", True)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"data": {}, "data_base64": "AA=="}, "data_base64"),
        ({"data_base64": "%%%", "datacontenttype": "image/png"}, "data_base64"),
        ({"data_base64": "AA", "datacontenttype": "image/png"}, "data_base64"),
        ({"data_base64": "AÄ==", "datacontenttype": "image/png"}, "data_base64"),
        ({"data_base64": 5}, "data_base64"),
        ({"data_base64": b64encode(b"{").decode()}, "data_base64"),
        ({"data": {}, "datacontenttype": "text/plain"}, "data"),
        ({"data": "ä", "datacontenttype": "text/plain; charset=iso-8859-1"}, "data"),
        ({"data": "ä", "datacontenttype": "text/plain; charset=us-ascii"}, "data"),
        ({"datacontenttype": "nothing"}, "datacontenttype"),
        ({"datacontenttype": "a/b\r\nx: y"}, "datacontenttype"),
        ({"datacontenttype": "application/json; charset=utf-16"}, "datacontenttype"),
    ],
)
def test_wrong_data_are_named(change: dict[str, Any], path: str) -> None:
    assert refused(structured, **change).path == path
    assert refused(parse_structured_batch, json.dumps([MINIMAL | change]).encode()).path == f"[0].{path}"


def test_text_in_its_own_charset() -> None:
    assert structured(data="ä", datacontenttype="text/plain; charset=UTF-8").payload == "ä".encode()
    assert structured(data="a", datacontenttype='text/plain; charset="us-ascii"').payload == b"a"
    assert binary(b"\xe4", "text/plain; charset=iso-8859-1").payload == b"\xe4"


def test_a_binary_body_that_is_declared_as_json_is_json() -> None:
    for body in (b"{", b'"\xff"', b" ", b"nope"):
        error = refused(binary, body, "application/json")
        assert error.code == "malformed_json"
        assert "line 1" in str(error)
    assert binary(b"{", "text/plain").payload == b"{"


# --- headers ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ('"a \\"quoted\\" \\\\ one"', 'a "quoted" \\ one'),
        ("plain with spaces", "plain with spaces"),
        (" \tpadded ", "padded"),
        ("%41%e2%82%ac", "A€"),
        ("%2541", "%41"),
        ('"%41"', "A"),
        ("", ""),
        ('""', ""),
    ],
)
def test_header_values_are_decoded(sent: str, read: str) -> None:
    assert binary(b"", x=sent).extensions == {"x": read}


@pytest.mark.parametrize("sent", ["100%", "%4", "%zz", "%FF", "%ED%A0%80", "ä", '"open', '"a" b', '"a\\"', "%00"])
def test_header_values_that_cannot_be_decoded_are_refused(sent: str) -> None:
    assert refused(binary, b"", x=sent).path == "ce-x"


def test_headers_come_once() -> None:
    headers = [(f"ce-{name}".encode(), value.encode()) for name, value in MINIMAL.items()]
    assert refused(parse_binary, [*headers, (b"ce-id", b"2")], b"").path == "ce-id"
    twice = [*headers, (b"content-type", b"a/b"), (b"content-type", b"a/b")]
    assert refused(parse_binary, twice, b"").path == "Content-Type"


@pytest.mark.parametrize("name", ["data", "datacontenttype", "data_base64", ""])
def test_data_have_no_headers(name: str) -> None:
    assert refused(binary, b"", **{name: "application/json"}).path == f"ce-{name}"


# --- bounds and hostility -----------------------------------------------------------------------------------------------------


def test_batches_are_bounded() -> None:
    assert parse_structured_batch(b" [] ") == []
    most = json.dumps([MINIMAL] * BATCH_EVENTS_MAX).encode()
    assert len(parse_structured_batch(most)) == BATCH_EVENTS_MAX
    with pytest.raises(TooLarge, match=str(BATCH_EVENTS_MAX)):
        parse_structured_batch(json.dumps([MINIMAL] * (BATCH_EVENTS_MAX + 1)).encode())


def test_attributes_are_bounded_before_they_are_looked_at() -> None:
    many = json.dumps(MINIMAL | {f"e{n}": n for n in range(100_000)}).encode()
    for parse, body in ((parse_structured, many), (parse_structured_batch, b"[%b]" % many)):
        with pytest.raises(TooLarge, match=str(CLOUDEVENT_CONTEXT_BYTES_MAX)):
            parse(body)
    large = "x" * (CLOUDEVENT_CONTEXT_BYTES_MAX * 2)
    assert len(structured(data=large).payload) == len(large) + 2


@pytest.mark.parametrize("body", [b"", b"{", b"[", b"null", b"5", b'"\xff"', b"[" * 100_000, b'[{"id":'])
def test_what_is_no_event_at_all_is_refused(body: bytes) -> None:
    refused(parse_structured, body)
    refused(parse_structured_batch, body)


def test_deep_nesting_is_refused_and_not_a_crash() -> None:
    deep = b"[" * 100_000 + b"]" * 100_000
    assert (
        refused(parse_structured, json.dumps(MINIMAL).encode()[:-1] + b',"data":' + deep + b"}").code
        == "malformed_json"
    )
    assert refused(binary, deep).code == "malformed_json"
    deep = b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1)
    assert refused(parse_structured, json.dumps(MINIMAL).encode()[:-1] + b',"data":' + deep + b"}").path == "data"
    assert refused(binary, deep).code == "malformed_json"
    assert binary(deep[1:-1]).payload == deep[1:-1]


PIECES = rb""""specversion":"1.0" "id":"1" "source":"/s" "type":"a" "data": "data_base64": "datacontenttype":"a/b"
"time": "x": { } [ ] , : " \ud800 \u0000 null 1 """
fragments = st.sampled_from([*PIECES.split(), b"\xff"])


@given(st.lists(fragments, max_size=20).map(b"".join) | st.binary(max_size=100))
def test_no_body_is_an_error_of_ours(body: bytes) -> None:
    for parse in (parse_structured, parse_structured_batch):
        with suppress(Invalid, TooLarge):
            parse(body)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [*(f"ce-{n}".encode() for n in MINIMAL), b"ce-time", b"ce-", b"content-type", b"ce-x", b"ce-\xff"]
            ),
            st.sampled_from([b"1.0", b"/s", b"a", b"text/plain", b"2018-04-05T17:31:00Z"]) | st.binary(max_size=12),
        ),
        max_size=12,
    ),
    st.binary(max_size=20),
)
def test_no_header_is_an_error_of_ours(headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
    with suppress(Invalid, TooLarge):
        parse_binary(headers, body)
