"""Forms: how JSON becomes fields, read back by a parser that is not ours."""

from typing import Any
from urllib.parse import parse_qsl

import pytest
from tests.unit.wire.formatting import ID, Received, formatter, message, request
from tests.unit.wire.test_render import event

from posthouse.domain.errors import Invalid
from posthouse.wire.message import Unsendable

PAYLOAD = '{"n":1.50,"t":true,"z":null,"e":"","o":{"a b":"x&y","é":[]},"l":[{"sku":"1"},["p","q"]],"x":{}}'.encode()
FLAT = {"kind": "form", "body": "{data}"}


def pairs(format: Any, payload: bytes = PAYLOAD, content_type: str = "application/json") -> list[tuple[str, str]]:
    return parse_qsl(request(format, of=event(payload, content_type)).body.decode("ascii"), keep_blank_values=True)


@pytest.mark.parametrize(
    ("nesting", "made"),
    [
        (
            "brackets",
            "n=1.50 t=true z= e= o[a b]=x&y l[0][sku]=1 l[1][0]=p l[1][1]=q",
        ),
        (
            "dots",
            "n=1.50 t=true z= e= o.a b=x&y l.0.sku=1 l.1.0=p l.1.1=q",
        ),
    ],
)
def test_flattened(nesting: str, made: str) -> None:
    assert " ".join(f"{name}={value}" for name, value in pairs(FLAT | {"nesting": nesting})) == made


def test_as_json() -> None:
    assert pairs(FLAT | {"nesting": "json"}) == [
        ("n", "1.50"),
        ("t", "true"),
        ("z", ""),
        ("e", ""),
        ("o", '{"a b":"x&y","é":[]}'),
        ("l", '[{"sku":"1"},["p","q"]]'),
        ("x", "{}"),
    ]


@pytest.mark.parametrize(
    ("format", "made"),
    [
        ("form", [("type", "order.created"), ("timestamp", "2026-01-02T03:04:05.678Z"), ("data[a]", "1")]),
        ({"kind": "form", "thin": True}, [("id", ID), ("type", "order.created")]),
        ({"kind": "form", "nesting": "json", "body": {"payload": "{data}"}}, [("payload", '{"a":1}')]),
        (
            {
                "kind": "form",
                "nesting": "json",
                "body": {"payload": {"type": "{event.type}", "at": "{timestamp:number}", "data": "{data}"}},
            },
            [("payload", '{"type":"order.created","at":1767323050,"data":{"a":1}}')],
        ),
        (
            {"kind": "form", "body": {"notify_id": "{event.id}", "*": "{data}", "sign_type": "RSA2", "none": None}},
            [("notify_id", ID), ("a", "1"), ("sign_type", "RSA2"), ("none", "")],
        ),
    ],
    ids=str,
)
def test_fields(format: Any, made: list[tuple[str, str]]) -> None:
    assert pairs(format, b'{"a":1}') == made


def test_what_is_not_published_as_json() -> None:
    assert pairs("form", b"\0\xff", "image/png")[2:] == [("content_type", "image/png"), ("data_base64", "AP8=")]


def test_charsets() -> None:
    received = Received(request(FLAT | {"charset": "gbk"}, of=event('{"店":"é€"}'.encode())))
    assert received.headers["content-type"] == "application/x-www-form-urlencoded; charset=gbk"
    assert received.body == b"%B5%EA=%A8%A6%26%238364%3B"
    assert Received(request("form")).headers["content-type"] == "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("payload", "content_type"), [(b"[1]", "application/json"), (b"1", "application/json"), (b"{}", "a/b")]
)
def test_a_payload_without_fields(payload: bytes, content_type: str) -> None:
    for described in ("{data}", {"*": "{data}"}):
        with pytest.raises(Unsendable, match="no JSON object"):
            message({"kind": "form", "body": described}, of=event(payload, content_type))


def test_what_was_published_as_json_and_is_none() -> None:
    with pytest.raises(Unsendable, match="published as JSON, and is none"):
        message("form", of=event(b'{"a":NaN}'))


def test_fields_that_would_be_empty_are_left_out_where_that_is_said() -> None:
    payload = b'{"a":"","b":null,"c":[],"d":{"e":"","f":"x"},"g":0}'
    for blank, made in ((True, "a=&b=&d[e]=&d[f]=x&g=0"), (False, "d[f]=x&g=0")):
        described = {"kind": "form", "blank": blank, "body": {"*": "{data}"}}
        assert "&".join(f"{name}={value}" for name, value in pairs(described, payload)) == made


def test_names_that_repeat_until_the_body_is_too_large() -> None:
    payload = b'{"%b":[%b]}' % (b"k" * 10_000, b",".join([b"1"] * 1_000))
    with pytest.raises(Unsendable, match="a body of more than"):
        message("form", of=event(payload))


@pytest.mark.parametrize("nothing", [b"[]", b"{}"])
def test_names_of_what_makes_no_field_until_the_body_would_be_too_large(nothing: bytes) -> None:
    """Otherwise a megabyte could name half a megabyte a hundred thousand times."""
    payload = b'{"%b":[%b]}' % (b"k" * 10_000, b",".join([nothing] * 1_000))
    with pytest.raises(Unsendable, match="a body of more than"):
        message("form", of=event(payload))


def test_a_form_is_encoded_once_until_it_is_another(monkeypatch: pytest.MonkeyPatch) -> None:
    quoted: list[str] = []

    def quote(text: str, **_options: str) -> str:
        quoted.append(text)
        return text

    monkeypatch.setattr("posthouse.wire.documents.quote_plus", quote)
    made = message(FLAT, of=event(b'{"a":1}'))
    assert made.document.encoded() == made.document.encoded() == b"a=1"
    assert quoted == ["a", "1"]
    made.document.put("sign", "x")
    assert made.document.encoded() == b"a=1&sign=x"


def test_a_signature_is_one_more_field() -> None:
    made = message(FLAT, of=event(b'{"a":1,"sign":""}'))
    made.document.put("sign", "x/+=")
    assert made.document.encoded() == b"a=1&sign=x%2F%2B%3D"


def test_fields_that_are_refused() -> None:
    with pytest.raises(Invalid, match="leave out either") as error:
        formatter({"kind": "form", "thin": True, "body": {}})
    assert error.value.path == "format.thin"
