"""Bodies that are changed: what encryption and signatures put into them, and the rest as it was."""

import gzip as standard_gzip
import json
from urllib.parse import parse_qsl

import msgspec
import pytest
from tests.unit.wire.formatting import message

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import COMPRESSED_BYTES_MIN, MADE_BODY_BYTES_MAX
from posthouse.wire.documents import (
    Bytes,
    Form,
    Gzip,
    Gzipped,
    JsonObject,
    JsonText,
    Query,
    encoded_query,
    gzip,
    put_pair,
)
from posthouse.wire.message import Document, Unsendable

SPACED = b'{ "b" : 1.50, "a": "x\\u00e9", "c": [1, 2], "d": null }'


def test_json_stays_as_it_was_published_until_it_is_changed() -> None:
    document = JsonText(SPACED)
    assert document.pairs() == [("b", "1.50"), ("a", "xé"), ("c", "[1, 2]"), ("d", "null")]
    assert document.encoded() == SPACED
    document.put("a", "ü")
    document.put("sign", '"')
    assert document.encoded() == '{"b":1.50,"a":"ü","c":[1, 2],"d":null,"sign":"\\""}'.encode()
    assert dict(document.pairs())["sign"] == '"'


def test_a_json_object_keeps_the_place_of_a_field() -> None:
    document = JsonObject({"sign": "", "data": msgspec.Raw(b'{"n":1.0}'), "list": [True]})
    document.put("sign", "abc")
    assert document.encoded() == b'{"sign":"abc","data":{"n":1.0},"list":[true]}'
    assert document.pairs() == [("sign", "abc"), ("data", '{"n":1.0}'), ("list", "[true]")]


@pytest.mark.parametrize("document", [Bytes(b"x"), JsonText(b"[1]"), JsonText(b"no JSON"), JsonText(b'"text"')])
def test_what_has_no_fields(document: Document) -> None:
    with pytest.raises(Invalid, match="no fields"):
        document.pairs()
    with pytest.raises(Invalid, match="no fields"):
        document.put("a", "b")


def test_a_form() -> None:
    document = Form([("a b", "1&2=3+é"), ("sign", ""), ("x", "*-._~")])
    document.put("sign", "abc/+=")
    assert document.encoded() == b"a+b=1%262%3D3%2B%C3%A9&sign=abc%2F%2B%3D&x=%2A-._~"
    assert parse_qsl(document.encoded().decode(), keep_blank_values=True) == document.pairs()


def test_a_form_in_another_charset() -> None:
    assert Form([("店", "€😀")], "gbk").encoded() == b"%B5%EA=%26%238364%3B%26%23128512%3B"


def test_a_form_that_is_too_large() -> None:
    with pytest.raises(Unsendable, match="more than 4194304 bytes"):
        Form([("a", "店" * (MADE_BODY_BYTES_MAX // 9 + 1))]).encoded()


def test_the_query_is_the_message_s_own() -> None:
    query = [("a", "1")]
    document = Query(query)
    document.put("sign", "x")
    assert query == document.pairs() == [("a", "1"), ("sign", "x")]
    assert document.encoded() == b""
    assert encoded_query([("a b", "/+é~"), ("", "")]) == "a%20b=%2F%2B%C3%A9~&="


def test_putting_a_pair() -> None:
    pairs = [("a", "1"), ("b", "2"), ("a", "3")]
    put_pair(pairs, "a", "4")
    put_pair(pairs, "c", "5")
    assert pairs == [("a", "4"), ("b", "2"), ("c", "5")]


def test_compression_is_the_same_everywhere() -> None:
    body = b"posthouse " * 200
    small = gzip(body)
    assert standard_gzip.decompress(small) == body
    assert small == gzip(body)
    assert small[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_only_what_gets_smaller_is_compressed() -> None:
    large, short = Gzipped(Bytes(b"a" * COMPRESSED_BYTES_MIN)), Gzipped(Bytes(b"a" * (COMPRESSED_BYTES_MIN - 1)))
    assert (large.compressed, short.compressed) == (True, False)
    assert standard_gzip.decompress(large.encoded()) == b"a" * COMPRESSED_BYTES_MIN
    assert short.encoded() == b"a" * (COMPRESSED_BYTES_MIN - 1)
    noise = b"".join(hash.to_bytes(4, "big") for hash in (number * 2654435761 % 2**32 for number in range(600)))
    assert not Gzipped(Bytes(noise)).compressed
    assert Gzipped(Bytes(noise)).encoded() == noise


def test_what_is_put_into_a_compressed_body_is_inside() -> None:
    made = message()
    Gzip().apply(made)
    assert made.document.pairs()[0] == ("type", "order.created")
    before = made.document.encoded()
    made.document.put("sign", "s" * COMPRESSED_BYTES_MIN)
    after = made.document.encoded()
    assert before != after
    assert json.loads(standard_gzip.decompress(after))["sign"] == "s" * COMPRESSED_BYTES_MIN
