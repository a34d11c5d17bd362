"""What expressions see of an answer: whatever the target sent, it is bounded, and nothing raises."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.limits import ANSWER_VALUES_MAX, JSON_DEPTH_MAX, RESPONSE_READ_BYTES_MAX
from posthouse.wire.answers import PARTS, facts_of, read_answer, values_at_most


def answer(body: bytes = b"", *headers: tuple[bytes, bytes], charset: str = "", truncated: bool = False) -> Answer:
    if charset:
        headers = (*headers, (b"content-type", b"text/plain; charset=" + charset.encode()))
    return Answer(200, headers, body, NO_TIMINGS, truncated=truncated)


def test_all_parts_of_an_answer() -> None:
    given = Answer(
        201, ((b"content-type", b"application/json"), (b"x-a", b"1"), (b"x-a", b"2")), b'{"code": 0}', NO_TIMINGS
    )
    assert facts_of(given) == {
        "status": 201,
        "headers": {"content-type": "application/json", "x-a": "1, 2"},
        "text": '{"code": 0}',
        "body": {"code": 0},
        "xml": None,
    }


def test_only_what_is_asked_for_is_read() -> None:
    body = b'{"code": 0}'
    nothing: dict[str, Any] = {"status": 200, "headers": None, "text": None, "body": None, "xml": None}
    assert facts_of(answer(body), ()) == nothing
    for part in PARTS - {"status", "xml"}:
        read = facts_of(answer(body), (part,))
        assert read[part] is not None
        assert read == nothing | {part: read[part]}


@pytest.mark.parametrize(
    ("value", "text"),
    [(b"plain", "plain"), ("站".encode(), "站"), (b"caf\xe9", "café"), (b"", "")],
)
def test_the_value_of_a_header_is_utf_8_or_latin_1(value: bytes, text: str) -> None:
    assert facts_of(answer(b"", (b"x-a", value)))["headers"] == {"x-a": text}


# Charsets

_CHARSETS = (
    "utf-8",
    "GBK",
    "gb2312",
    "GB18030",
    "Big5",
    "utf-16",
    "UTF-16LE",
    "utf-16-be",
    "UTF-32",
    "shift_jis",
    "EUC-JP",
)


@pytest.mark.parametrize("charset", _CHARSETS)
def test_json_and_xml_in_the_charset_that_the_header_names(charset: str) -> None:
    text = "交易成功" if charset.lower() not in ("big5", "shift_jis", "euc-jp") else "成功"
    read = read_answer(answer(f'{{"msg":"{text}"}}'.encode(charset), charset=charset))
    assert read.facts["body"] == {"msg": text}
    assert "text" not in read.unreadable
    assert facts_of(answer(f"<r>{text}</r>".encode(charset), charset=charset))["xml"] == {"r": text}


@pytest.mark.parametrize("charset", ["utf-8", "GBK", "gb2312", "GB18030", "UTF-16", "ISO-8859-1"])
@pytest.mark.parametrize("header", ["", "utf-8"])
def test_xml_in_the_charset_that_it_declares(charset: str, header: str) -> None:
    text = "é" if charset == "ISO-8859-1" else "交易成功"
    body = f"<?xml version='1.0' encoding='{charset}'?><xml><m><![CDATA[{text}]]></m></xml>".encode(charset)
    assert facts_of(answer(body, charset=header))["xml"] == {"xml": {"m": text}}


@pytest.mark.parametrize("charset", ["utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("header", ["", "gbk"])
def test_a_byte_order_mark_goes_before_all_else(charset: str, header: str) -> None:
    read = read_answer(answer('{"a":"站"}'.encode(charset), charset=header))
    assert (read.facts["text"], read.facts["body"]) == ('{"a":"站"}', {"a": "站"})


@pytest.mark.parametrize("charset", ["utf-16-le", "utf-16-be"])
def test_two_bytes_a_character_are_seen_without_a_mark(charset: str) -> None:
    assert facts_of(answer('{"a":"站"}'.encode(charset)))["body"] == {"a": "站"}
    assert facts_of(answer("<a>站</a>".encode(charset)))["xml"] == {"a": "站"}


def test_a_body_that_is_not_in_its_charset_is_read_and_that_is_said() -> None:
    gbk = '{"code":0,"msg":"成功"}'.encode("gbk")
    unsaid = read_answer(answer(gbk))
    assert unsaid.facts["body"]["code"] == 0
    assert unsaid.facts["text"].startswith('{"code":0,"msg":"\ufffd')
    assert unsaid.unreadable["text"] == "bytes that are not utf-8 were replaced"
    wrong = read_answer(answer("成功".encode(), charset="utf-16"))
    assert wrong.facts["text"] != "成功", "every even number of bytes is UTF-16, nearly"
    ascii_only = read_answer(answer(b'{"code":0}', charset="utf-32"))
    assert ascii_only.facts["body"] == {"code": 0}
    assert ascii_only.unreadable["text"] == "the body is not utf-32-le, as it should be; it was read as utf-8"


@pytest.mark.parametrize(
    "name", ["rot13", "zlib", "idna", "unicode_escape", "../../etc", "utf-7", "x" * 40, "undefined"]
)
def test_a_charset_that_is_none_is_not_looked_for(name: str) -> None:
    read = read_answer(answer(b"success", charset=name))
    assert read.facts["text"] == "success"
    assert read.unreadable["text"] == "the charset that the body names is not known; it was read as utf-8"


@pytest.mark.parametrize("charset", ["utf-8", "gbk", "utf-16-le", "big5"])
@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_body_whose_end_was_not_read(charset: str, cut: int) -> None:
    whole = "成功成功".encode(charset)
    read = read_answer(answer(whole[:-cut], charset=charset, truncated=True))
    assert "成功成功".startswith(read.facts["text"])
    assert (read.facts["body"], read.facts["xml"]) == (None, None)
    assert set(read.unreadable.values()) == {f"only the first {RESPONSE_READ_BYTES_MAX} bytes of the body are read"}


# JSON


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("null", None),
        ('"success"', "success"),
        (" \n[1, 2.5, true]\n", [1, 2.5, True]),
        ('{"a":1,"a":2}', {"a": 2}),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", 2.0**63),
        ('{"ids":[{"id":123456789012345678901234567890}]}', {"ids": [{"id": 123456789012345678901234567890.0}]}),
        ('{"a":"\\ud83d","b":"\\ud83d\\ude00","\\ude00":1}', {"a": "\ufffd", "b": "😀", "\ufffd": 1}),
        ('["\\u0000"]', ["\0"]),
    ],
)
def test_json(text: str, value: object) -> None:
    read = facts_of(answer(text.encode()))["body"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "the body is empty"),
        (b" \r\n", "the body is empty"),
        (b"success", "the body is not JSON"),
        (b"<xml/>", "the body is not JSON"),
        (b'{"code":0', "the body is not JSON"),
        (b'{"code":0}x', "the body is not JSON"),
        (b"NaN", "the body is not JSON"),
        (b"1e999", "the body is not JSON"),
        (b'["\\ud83d", NaN]', "the body is not JSON"),
        (b'["\\ud83d", 1e999]', "the body is not JSON"),
        (b'["\\ud83d", 1' + b"0" * 5_000 + b"]", "the body is not JSON"),
        (b'"\0"', "the body is not JSON"),
        (b"1" + b"0" * 400, "the body has a number that is too large"),
        (
            b"[" * (JSON_DEPTH_MAX + 1) + b"]" * (JSON_DEPTH_MAX + 1),
            f"the body is nested deeper than {JSON_DEPTH_MAX} levels",
        ),
        (b"[" * 60_000, f"the body is nested deeper than {JSON_DEPTH_MAX} levels"),
        (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, f"the body is nested deeper than {JSON_DEPTH_MAX} levels"),
        (
            b'["\\ud83d",' + b"[" * 30_000 + b"]" * 30_000 + b"]",
            f"the body is nested deeper than {JSON_DEPTH_MAX} levels",
        ),
        (b"[" + b"1," * ANSWER_VALUES_MAX + b"1]", f"the body has more than {ANSWER_VALUES_MAX} values"),
        (b"[" + b"1," * 1_000_000 + b"1]", f"only the first {RESPONSE_READ_BYTES_MAX} bytes of the body are read"),
    ],
)
def test_what_is_no_json_or_too_much(body: bytes, why: str) -> None:
    read = read_answer(answer(body), ("body",))
    assert read.facts["body"] is None
    assert read.unreadable == {"body": why}


def test_json_at_its_limits_is_read() -> None:
    deep = b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX
    assert read_answer(answer(deep), ("body",)).unreadable == {}
    wide = b"[" + b"1," * (ANSWER_VALUES_MAX - 2) + b"1]"
    assert len(facts_of(answer(wide))["body"]) == ANSWER_VALUES_MAX - 1
    commas = msgspec.json.encode("," * (RESPONSE_READ_BYTES_MAX - 2))
    assert facts_of(answer(commas))["body"] == "," * (RESPONSE_READ_BYTES_MAX - 2), "one value, however it looks"


@pytest.mark.parametrize(
    ("body", "least"),
    [(b"", 0), (b"1", 1), (b'{"a":[1,{"b":2}],"c":[]}', 6), (b'<a b="1" c="2"><d/><d>x</d></a>', 5)],
)
def test_how_many_values_there_may_be_is_known_beforehand(body: bytes, least: int) -> None:
    for charset in ("utf-8", "utf-16", "utf-32"):
        assert values_at_most(answer(body.decode().encode(charset))) >= least
    assert values_at_most(answer(b"<a>" + b"<b/>" * 3_000 + b"</a>")) > 3_000
    assert values_at_most(answer(b"," * 1_000_000)) <= RESPONSE_READ_BYTES_MAX + 1


# XML


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<a/>", {"a": ""}),
        ("<a> x </a>", {"a": "x"}),
        ("<xml><return_code>SUCCESS</return_code></xml>", {"xml": {"return_code": "SUCCESS"}}),
        ("<xml><return_code><![CDATA[SUCCESS]]></return_code></xml>", {"xml": {"return_code": "SUCCESS"}}),
        ("<r><b>1</b><c/><b><d>2</d></b><b/></r>", {"r": {"b": ["1", {"d": "2"}, ""], "c": ""}}),
        ('<r a="1" b="">x</r>', {"r": {"@a": "1", "@b": "", "#text": "x"}}),
        ("<r>one<b/>two</r>", {"r": {"b": "", "#text": "onetwo"}}),
        ("<r>\n  <b>x</b>\n</r>", {"r": {"b": "x"}}),
        (
            '<s:Envelope xmlns:s="u" xmlns="v"><s:Body s:id="1"><ok>1</ok></s:Body></s:Envelope>',
            {"Envelope": {"Body": {"@id": "1", "ok": "1"}}},
        ),
        ("<a>&lt;&amp;&#20013;</a>", {"a": "<&中"}),
        ("\n <?xml version='1.0' encoding='UTF-8'?><!-- c --><?p i?><a>1</a><!-- c -->\n", {"a": "1"}),
        ("<a><![CDATA[<!DOCTYPE a>]]></a>", {"a": "<!DOCTYPE a>"}),
        ("<p:a xmlns:q='u'/>", {"a": ""}),
    ],
)
def test_xml(text: str, value: object) -> None:
    assert facts_of(answer(text.encode()))["xml"] == value


LAUGHS = "<!DOCTYPE lolz [<!ENTITY lol0 'lol'>" + "".join(
    f"<!ENTITY lol{n} '{f'&lol{n - 1};' * 10}'>" for n in range(1, 10)
)
DOCTYPE = "XML with a document type (<!DOCTYPE …>) is not read"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "the body is empty"),
        ("success", "the body is not XML"),
        ('{"a":"<a/>"}', "the body is not XML"),
        ("<a>", "the body is not well-formed XML: no element found: line 1, column 3"),
        ("<a></b>", "the body is not well-formed XML: mismatched tag: line 1, column 5"),
        ("<a/><b/>", "the body is not well-formed XML: junk after document element: line 1, column 4"),
        ("<a>&nbsp;</a>", "the body is not well-formed XML: undefined entity: line 1, column 3"),
        ("<a>\0</a>", "the body is not well-formed XML: not well-formed (invalid token): line 1, column 3"),
        ("<a b='1' b='2'/>", "the body is not well-formed XML: duplicate attribute: line 1, column 9"),
        ("<!DOCTYPE html><html></html>", DOCTYPE),
        (LAUGHS + "]><lolz>&lol9;</lolz>", DOCTYPE),
        (LAUGHS + "]><lolz a='&lol9;'/>", DOCTYPE),
        ("<!DOCTYPE a [<!ENTITY x '" + "x" * 30_000 + "'>]><a>" + "&x;" * 5_000 + "</a>", DOCTYPE),
        ("<?xml version='1.0'?><!-- --><!DOCTYPE a [<!ENTITY % p SYSTEM 'http://127.0.0.1:9/'> %p;]><a/>", DOCTYPE),
        ("<a>" * 20_000, f"the body is nested deeper than {JSON_DEPTH_MAX} levels"),
        ("<a>" * 200 + "</a>" * 200, f"the body is nested deeper than {JSON_DEPTH_MAX} levels"),
        ("<a" + "".join(f" a{n}=''" for n in range(6_000)) + "/>", ""),
    ],
)
def test_what_is_no_xml_or_too_much(text: str, why: str) -> None:
    read = read_answer(answer(text.encode()), ("xml",))
    assert read.unreadable == ({"xml": why} if why else {})
    assert (read.facts["xml"] is None) == bool(why)


@pytest.mark.parametrize("charset", ["utf-8", "utf-16", "utf-32", "gbk"])
def test_a_document_type_is_seen_in_any_charset(charset: str) -> None:
    body = (LAUGHS + "]><lolz>&lol9;</lolz>").encode(charset)
    assert read_answer(answer(body, charset=charset), ("xml",)).unreadable == {"xml": DOCTYPE}


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server that notes what it is asked for."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()


def test_neither_files_nor_the_network_are_looked_at(listener: tuple[str, list[str]], tmp_path: Path) -> None:
    url, asked = listener
    secret = tmp_path / "secret"
    secret.write_text("the secret")
    for system in (url, secret.as_uri()):
        for text in (
            f"<!DOCTYPE a [<!ENTITY x SYSTEM '{system}'>]><a>&x;</a>",
            f"<!DOCTYPE a SYSTEM '{system}'><a/>",
            f"<!DOCTYPE a [<!ENTITY % x SYSTEM '{system}'> %x;]><a/>",
            f"<a xmlns:xi='http://www.w3.org/2001/XInclude'><xi:include href='{system}' parse='text'/></a>",
            f"<?xml-stylesheet href='{system}'?><a xmlns:x='http://www.w3.org/2001/XMLSchema-instance'"
            f" x:schemaLocation='u {system}'/>",
        ):
            assert "the secret" not in str(facts_of(answer(text.encode())))
    assert asked == []


def test_the_elements_of_xml_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.wire.answers.ANSWER_VALUES_MAX", 10)
    assert facts_of(answer(b"<a>" + b"<b/>" * 9 + b"</a>"))["xml"] == {"a": {"b": [""] * 9}}
    for body in (b"<a>" + b"<b/>" * 10 + b"</a>", b"<a " + b" ".join(b"a%d=''" % n for n in range(10)) + b"/>"):
        read = read_answer(answer(body), ("xml",))
        assert (read.facts["xml"], read.unreadable) == (
            None,
            {"xml": f"the body has more than {ANSWER_VALUES_MAX} values"},
        )
