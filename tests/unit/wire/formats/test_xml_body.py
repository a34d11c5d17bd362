"""XML requests: whole documents in their charset, payloads that are XML, signatures in elements, and bad names."""

import json
from typing import Any

import pytest
from lxml import etree
from tests.unit.wire.formatting import ID, Received, body, counted, formatter, message, request
from tests.unit.wire.test_render import EVENT_ID, NOW, event

from posthouse.domain.errors import Invalid
from posthouse.wire.formats.xml import json_of
from posthouse.wire.message import Unsendable

UTF_8 = '<?xml version="1.0" encoding="UTF-8"?>'
PAYLOAD = b'{"id":1,"name":"a<b"}'
WECHAT = {
    "kind": "xml",
    "root": "xml",
    "text": "cdata",
    "types": False,
    "declaration": False,
    "content_type": "text/xml",
    "body": {"ToUserName": "gh_1", "CreateTime": "{timestamp:number}", "MsgType": "event", "*": "{data}"},
}


def xml(payload: bytes = PAYLOAD, content_type: str = "application/json", **options: Any) -> str:
    return body({"kind": "xml", **options}, payload, content_type).decode()


def test_the_default() -> None:
    received = Received(request("xml", of=event(PAYLOAD)))
    assert received.headers["content-type"] == "application/xml; charset=utf-8"
    assert received.body.decode() == (
        f"{UTF_8}<event><type>order.created</type><timestamp>2026-01-02T03:04:05.678Z</timestamp>"
        '<data><id type="number">1</id><name>a&lt;b</name></data></event>'
    )
    assert json.loads(json_of(received.body))["data"] == json.loads(PAYLOAD)


def test_the_shape_of_wechat() -> None:
    received = Received(request(WECHAT, of=event('{"Event":"订阅","Count":2}'.encode())))
    assert received.headers["content-type"] == "text/xml"
    assert received.body.decode() == (
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><CreateTime>1767323050</CreateTime>"
        "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[订阅]]></Event><Count>2</Count></xml>"
    )


def test_gbk() -> None:
    sent = request(
        {"kind": "xml", "charset": "gbk", "body": {"*": "{data}"}}, of=event('{"店":"é€😀","ñ":"<"}'.encode())
    )
    assert Received(sent).headers["content-type"] == "application/xml; charset=gbk"
    assert sent.body == (
        '<?xml version="1.0" encoding="GBK"?><event><店>é&#8364;&#128512;</店><_x00F1_>&lt;</_x00F1_></event>'.encode(
            "gbk"
        )
    )
    root = etree.fromstring(sent.body)
    assert root[0].tag == "店"
    assert root[0].text == "é€😀"


@pytest.mark.parametrize(
    ("options", "payload", "made"),
    [
        ({"thin": True}, b"{}", f"<event><id>{ID}</id><type>order.created</type></event>"),
        ({"body": "{data}", "root": "order"}, b'{"a":"1"}', "<order><a>1</a></order>"),
        ({"body": "{data}"}, b"{}", '<event type="object"></event>'),
        ({"body": "{data}"}, b"[1]", '<event type="array"><item type="number">1</item></event>'),
        ({"body": "{data}", "types": False}, b"{}", "<event></event>"),
        ({"body": "{data}", "types": False}, b'"a"', "<event>a</event>"),
        (
            {"body": "{data}", "attributes": ["id"]},
            b'{"id":"a&\\"","b":{"id":"c"}}',
            '<event id="a&amp;&quot;"><b id="c"></b></event>',
        ),
        (
            {"body": "{data}", "root_attributes": {"xmlns": "urn:a", "xmlns:b": "urn:b&c", "v": '"1"'}},
            b'{"a":"1"}',
            '<event xmlns="urn:a" xmlns:b="urn:b&amp;c" v="&quot;1&quot;"><a>1</a></event>',
        ),
        (
            {"body": {"a": {"b": [1, None]}, "c": False}, "arrays": "wrap", "item": "i"},
            b"{}",
            '<event><a><b type="array"><i type="number">1</i><i type="null"/></b></a><c type="boolean">false</c></event>',
        ),
        ({"body": {"list": "{data}"}}, b'["x","y"]', "<event><list>x</list><list>y</list></event>"),
    ],
)
def test_documents(options: dict[str, Any], payload: bytes, made: str) -> None:
    assert xml(payload, **options) == UTF_8 + made
    etree.fromstring(made)


XML = (
    b'<?xml version="1.0" encoding="gbk"?>\n<!-- a --><o:order xmlns:o="urn:o" id="1"><!-- b --><item>%b</item></o:order>'
    % ("店<![CDATA[<]]>".encode("gbk"))
)


@pytest.mark.parametrize("content_type", ["application/xml", "text/xml; charset=gbk", "application/vnd.order+xml"])
def test_a_payload_that_is_xml(content_type: str) -> None:
    inside = '<o:order xmlns:o="urn:o" id="1"><!-- b --><item>店&lt;</item></o:order>'
    assert xml(XML, content_type, body={"a": "{data}"}) == f"{UTF_8}<event><a>{inside}</a></event>"
    assert xml(XML, content_type, body="{data}") == UTF_8 + inside
    assert xml(XML, content_type).endswith(f"<data>{inside}</data></event>")


def test_a_payload_that_is_xml_keeps_its_namespaces() -> None:
    options: dict[str, Any] = {"root_attributes": {"xmlns": "urn:e"}, "body": {"a": "{data}"}}
    assert xml(b"<b><c/></b>", "text/xml", **options).endswith(
        '<event xmlns="urn:e"><a><b xmlns=""><c/></b></a></event>'
    )
    assert xml(b'<b xmlns="urn:b"/>', "text/xml", **options).endswith('<a><b xmlns="urn:b"/></a></event>')
    assert xml(b"<b/>", "text/xml", **options | {"body": "{data}"}) == f"{UTF_8}<b/>"


def test_the_charset_of_a_payload_may_be_in_its_content_type() -> None:
    assert xml("<a>店</a>".encode("gbk"), 'text/xml; charset="GBK"', body="{data}") == UTF_8 + "<a>店</a>"


@pytest.mark.parametrize(
    ("payload", "content_type", "said"),
    [
        (b"<a>", "application/xml", "published as XML; this is not well-formed"),
        (b"<!DOCTYPE a><a/>", "application/xml", "published as XML; XML with a document type"),
        (b"<a/>", "text/xml; charset=unheard-of", "published as XML; the charset is not known"),
        ("<ñ/>".encode(), "text/xml", "has a name that cannot be written in gbk"),
        ('<a xmlns:ñ="urn:a" ñ:b="1"/>'.encode(), "text/xml", "has a name that cannot be written in gbk"),
    ],
)
def test_payloads_that_are_no_xml(payload: bytes, content_type: str, said: str) -> None:
    with pytest.raises(Unsendable, match=said):
        message({"kind": "xml", "charset": "gbk"}, of=event(payload, content_type))


def test_what_is_neither_json_nor_xml() -> None:
    assert xml(b"\0\xff", "image/png", body={"a": "{data}"}) == (
        f"{UTF_8}<event><content_type>image/png</content_type><a_base64>AP8=</a_base64></event>"
    )
    assert xml(b"\0\xff", "image/png", body="{data}") == f"{UTF_8}<event>AP8=</event>"


def test_a_text_that_xml_cannot_hold() -> None:
    with pytest.raises(Unsendable, match=r"U\+0000"):
        message(WECHAT, of=event(b'{"a":"\\u0000"}'))


def test_signatures_are_elements() -> None:
    made = message(WECHAT, of=event(b'{"a":{"b":1},"sign":""}'))
    assert made.document.pairs() == [
        ("ToUserName", "gh_1"),
        ("CreateTime", "1767323050"),
        ("MsgType", "event"),
        ("a", '{"b":1}'),
        ("sign", ""),
    ]
    made.document.put("sign", "<s>")
    made.document.put("nonce str", "n")
    assert made.document.encoded().endswith(
        b"<sign><![CDATA[<s>]]></sign><nonce_x0020_str><![CDATA[n]]></nonce_x0020_str></xml>"
    )
    with pytest.raises(Invalid, match="no fields"):
        message({"kind": "xml", "body": "{data}"}, of=event(b"[]")).document.pairs()


def test_a_batch() -> None:
    batch = formatter({"kind": "xml", "root_attributes": {"xmlns": "urn:a"}, "thin": True}, batch=True)
    made = batch.render_batch([event(), event()], now=NOW, random=counted, replay=False, request_id=EVENT_ID)
    one = f"<event><id>{ID}</id><type>order.created</type></event>"
    assert made.document.encoded().decode() == f'{UTF_8}<events xmlns="urn:a">{one}{one}</events>'
    assert made.content_type == "application/xml; charset=utf-8"


@pytest.mark.parametrize(
    ("options", "path", "said"),
    [
        ({"root": "a b"}, "format.root", "XML does not allow this name"),
        ({"root": ""}, "format.root", "XML does not allow"),
        ({"root": "1a"}, "format.root", "XML does not allow"),
        ({"root": "a:b"}, "format.root", "XML does not allow"),
        ({"root": "xmlns"}, "format.root", "XML does not allow"),
        ({"root": "a" * 129}, "format.root", "XML does not allow"),
        ({"root": "a><b"}, "format.root", "XML does not allow"),
        ({"root": "ñ", "charset": "gbk"}, "format.root", "XML does not allow"),
        ({"batch_root": "-"}, "format.batch_root", "XML does not allow"),
        ({"item": "i\n"}, "format.item", "XML does not allow"),
        ({"body": {"a": {"b c": "d"}}}, "format.body.a.b c", "XML does not allow"),
        ({"root_attributes": {"a b": ""}}, "format.root_attributes.a b", "XML does not allow"),
        ({"root_attributes": {"a:b": ""}}, "format.root_attributes.a:b", "XML does not allow"),
        ({"root_attributes": {"xmlns:": "urn:a"}}, "format.root_attributes.xmlns:", "XML does not allow"),
        ({"root_attributes": {"xmlns:a": ""}}, "format.root_attributes", "a namespace has a prefix"),
        ({"root_attributes": {"xmlns:xml": "urn:a"}}, "format.root_attributes", "a namespace has a prefix"),
        ({"root_attributes": {"a": "b\n"}}, "format.root_attributes.a", "all of them printable"),
        ({"root_attributes": {"a": "b" * 1_025}}, "format.root_attributes.a", "at most 1024"),
        ({"root_attributes": {"type": "b"}}, "format.root_attributes.type", "free with types: false"),
        ({"root_attributes": {"id": "b"}, "attributes": ["id"]}, "format.root_attributes.id", "cannot have it twice"),
        ({"root_attributes": {f"a{number}": "" for number in range(101)}}, "format.root_attributes", "more than 100"),
        ({"attributes": ["id", "list"]}, "format.attributes[1]", "free with types: false"),
        ({"attributes": ["a"] * 101}, "format.attributes", "more than 100"),
        ({"charset": "gbk", "declaration": False}, "format.declaration", "has to be declared"),
    ],
)
def test_what_is_refused_when_it_is_written(options: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as error:
        formatter({"kind": "xml", **options})
    assert error.value.path == path
