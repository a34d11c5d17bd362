"""The mapping of JSON to XML: every row of its table, both ways, and what XML cannot hold."""

import json
import re
import subprocess
import sys
from typing import Any

import pytest

from posthouse.domain.errors import Invalid
from posthouse.domain.formats import Charset, XmlFormat, format_of
from posthouse.domain.limits import MADE_BODY_BYTES_MAX
from posthouse.wire.formats.shape import parsed
from posthouse.wire.formats.xml import Style, Writer, cdata, escaped_name, json_of, name_of, parse
from posthouse.wire.message import Unsendable


def style(**options: Any) -> Style:
    config = format_of({"kind": "xml", **options})
    assert isinstance(config, XmlFormat)
    return Style(config)


def written(json_text: str, **options: Any) -> str:
    writer = Writer(style(**options))
    writer.element("r", parsed(json_text.encode()))
    return writer.take()


TABLE = (
    ('{"a":"text"}', "<r><a>text</a></r>"),
    ('{"a":1.50}', '<r><a type="number">1.50</a></r>'),
    ('{"a":-1E+400}', '<r><a type="number">-1E+400</a></r>'),
    ('{"a":true,"b":false}', '<r><a type="boolean">true</a><b type="boolean">false</b></r>'),
    ('{"a":null}', '<r><a type="null"/></r>'),
    ('{"a":""}', "<r><a/></r>"),
    ('{"a":{}}', '<r><a type="object"></a></r>'),
    ('{"a":{"b":"x"}}', "<r><a><b>x</b></a></r>"),
    ('{"a":["x","y"]}', "<r><a>x</a><a>y</a></r>"),
    ('{"a":["x"]}', '<r><a list="true">x</a></r>'),
    ('{"a":[1]}', '<r><a list="true" type="number">1</a></r>'),
    ('{"a":[]}', '<r><a type="array"></a></r>'),
    ('{"a":[[]]}', '<r><a list="true" type="array"></a></r>'),
    ('{"a":[["x"],[]]}', '<r><a type="array"><item>x</item></a><a type="array"></a></r>'),
    ('{"a":[{},{"b":[]}]}', '<r><a type="object"></a><a><b type="array"></b></a></r>'),
    ('{"a":"\\u0001<"}', '<r><a type="json">"\\u0001&lt;"</a></r>'),
    ('{"a":"<&>]]>\\r\\n\\t \\""}', '<r><a>&lt;&amp;&gt;]]&gt;&#13;\n\t "</a></r>'),
    ('{"a":"  "}', "<r><a>  </a></r>"),
    ('{"a b":"1","":"2","1":"3","_x_":"4","_x0041_":"5","x:y":"6","😀":"7","xmlns":"8","é店":"9"}', None),
    ('["x",{"a":1}]', '<r type="array"><item>x</item><item><a type="number">1</a></item></r>'),
    ('"text"', "<r>text</r>"),
    ("1e5", '<r type="number">1e5</r>'),
    ("{}", '<r type="object"></r>'),
    ("[]", '<r type="array"></r>'),
    ("null", '<r type="null"/>'),
)


@pytest.mark.parametrize(("text", "markup"), TABLE)
def test_the_mapping_and_back(text: str, markup: str | None) -> None:
    if markup is not None:
        assert written(text) == markup
    for options in ({}, {"text": "cdata"}, {"arrays": "wrap"}, {"attributes": ("a", "b")}):
        assert json.loads(json_of(written(text, **options).encode())) == json.loads(text)


def test_numbers_come_back_as_they_were_written() -> None:
    assert json_of(written('{"a":[1.50,1E+400,-0,10000000000000000000000]}').encode()) == (
        b'{"a":[1.50,1E+400,-0,10000000000000000000000]}'
    )


def test_wrapped_arrays() -> None:
    assert written('{"a":["x",["y"]]}', arrays="wrap", item="i") == (
        '<r><a type="array"><i>x</i><i type="array"><i>y</i></i></a></r>'
    )


def test_attributes() -> None:
    text = '{"id":"a<\\"\\n","n":1,"o":{"id":"x"},"l":["y"],"c":"\\u0002"}'
    options: dict[str, Any] = {"attributes": ("id", "n", "l", "c")}
    assert written(text, **options) == (
        '<r id="a&lt;&quot;&#10;"><n type="number">1</n><o id="x"></o><l list="true">y</l><c type="json">"\\u0002"</c></r>'
    )
    assert json.loads(json_of(written(text, **options).encode())) == json.loads(text)
    assert written('{"id":1,"n":true,"l":[],"o":null}', types=False, attributes=("id", "n", "l", "o")) == (
        '<r id="1" n="true" o=""></r>'
    )


def test_without_types() -> None:
    assert written('{"a":1,"b":null,"c":{},"d":["x"],"e":[],"f":[[1]]}', types=False) == (
        "<r><a>1</a><b/><c></c><d>x</d><f><item>1</item></f></r>"
    )
    with pytest.raises(Unsendable, match=r"a text holds U\+0000, which XML cannot hold"):
        written('{"a":"\\u0000"}', types=False)


def test_cdata() -> None:
    assert written('{"a":"<b>","n":1}', text="cdata") == '<r><a><![CDATA[<b>]]></a><n type="number">1</n></r>'
    assert cdata("a]]>b\rc", "utf-8") == "<![CDATA[a]]]]><![CDATA[>b]]>&#13;<![CDATA[c]]>"
    assert cdata("€店", "gbk") == "<![CDATA[]]>&#8364;<![CDATA[店]]>"
    with pytest.raises(Unsendable, match="U\\+0001"):
        cdata("\x01", "utf-8")


@pytest.mark.parametrize("text", ["plain", "]]>", "]]]]>>", "a\r\n\tb", "<&>", "😀€", "]]" + "]]>" * 3])
def test_texts_in_cdata_are_read_as_they_were(text: str) -> None:
    for charset in Charset:
        written_in = style(charset=charset)
        body = written_in.encoded(f"{written_in.declaration}<r>{cdata(text, charset)}</r>")
        assert json.loads(json_of(body)) == text


NAMES = (
    ("order", "order"),
    ("a b", "a_x0020_b"),
    ("1a", "_x0031_a"),
    ("a1.-_", "a1.-_"),
    ("-a", "_x002D_a"),
    ("", "_x_"),
    ("_x_", "_x005F_x_"),
    ("_x", "_x"),
    ("_x0041_", "_x005F_x0041_"),
    ("_x0041", "_x005F_x0041"),
    ("_x0041 ", "_x005F_x0041_x0020_"),
    ("_x004G_", "_x004G_"),
    ("xmlns", "_x0078_mlns"),
    ("xml", "xml"),
    ("a:b", "a_x003A_b"),
    ("店铺", "店铺"),
    ("😀", "_x01F600_"),
    ("a\0", "a_x0000_"),
)


@pytest.mark.parametrize(("name", "escaped"), NAMES)
def test_names(name: str, escaped: str) -> None:
    assert escaped_name(name) == escaped
    assert name_of(escaped) == name
    parse(f"<{escaped}/>".encode())


def test_names_that_a_charset_lacks() -> None:
    assert escaped_name("é店", "us-ascii") == "_x00E9__x5E97_"
    assert escaped_name("é店", "gbk") == "é店"
    assert escaped_name("ñ店", "gbk") == "_x00F1_店"
    assert name_of("_x00E9__x5E97_") == "é店"


@pytest.mark.parametrize("charset", Charset)
def test_every_charset_reads_as_it_was_written(charset: Charset) -> None:
    everything = "".join(map(chr, [*range(0x20, 0xD800), *range(0xE000, 0xFFFE), 0x1F600]))
    there = everything.encode(charset, "ignore").decode(charset)
    assert set(there) <= set(everything)
    assert there == "".join(sorted(there))
    assert [each.encode(charset) for each in everything[:95]] == [bytes([number]) for number in range(0x20, 0x7F)]
    written = everything.encode(charset, "xmlcharrefreplace").decode(charset)
    assert re.sub("&#([0-9]+);", lambda found: chr(int(found[1])), written) == everything


def test_what_becomes_too_large() -> None:
    payload = json.dumps({"k" * 10_000: [1] * 1_000})
    with pytest.raises(Unsendable, match=f"more than {MADE_BODY_BYTES_MAX} bytes"):
        written(payload)


LAUGHS = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;">]><l>&b;</l>'


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (LAUGHS, "document type"),
        (LAUGHS.decode().encode("utf-16"), "document type"),
        (b'<!DOCTYPE a SYSTEM "file:///etc/hostname"><a/>', "document type"),
        (b"<a>&e;</a>", "not well-formed"),
        (b"<a><b></a>", "not well-formed"),
        (b"", "not well-formed"),
        (b"<a>\0</a>", "not well-formed"),
        (b"<a/><b/>", "not well-formed"),
        (b"<a>" * 300 + b"</a>" * 300, "not well-formed"),
        (b'<a b="%b"/>' % (b"x" * 11_000_000), "not well-formed"),
    ],
    ids=list(map(str, range(10))),
)
def test_xml_that_is_not_read(body: bytes, said: str) -> None:
    with pytest.raises(Invalid, match=said):
        parse(body)


def test_reading_xml_of_others() -> None:
    body = b'<a:r xmlns:a="urn:a" id="1"><!-- no --><?pi?>text<a:b>x<!-- c -->y</a:b><b a:c="d"/>tail</a:r>'
    assert json.loads(json_of(body)) == {"id": "1", "b": ["xy", {"c": "d"}]}
    assert json.loads(json_of(b'<r type="number">no number</r>')) == "no number"
    assert json.loads(json_of(b'<r type="json">{"a":1}</r>')) == '{"a":1}'


def test_the_command_line_does_without_lxml() -> None:
    code = (
        "import sys, posthouse.wire.formats.formatter, posthouse.wire.assemble; from posthouse.domain.formats import *\n"
        "sys.exit('lxml' in sys.modules or 'lxml.etree' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
