"""What is kept of an answer."""

from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.exchange import NO_TIMINGS, Answer
from posthouse.domain.limits import RESPONSE_HEADER_BYTES_MAX, RESPONSE_STORED_BYTES_MAX
from posthouse.domain.redaction import RedactAnswer
from posthouse.wire.answer import redacted_answer, stored_body, stored_headers


def answer(*headers: tuple[bytes, bytes], body: bytes = b"") -> Answer:
    return Answer(200, headers, body, NO_TIMINGS)


def test_headers_are_kept_as_lines_in_order() -> None:
    assert stored_headers(answer((b"b", b"2"), (b"a", b"1"), (b"b", b"3"))) == b"b: 2\r\na: 1\r\nb: 3\r\n"
    assert stored_headers(answer()) == b""


def test_only_whole_lines_are_kept() -> None:
    large = b"x" * (RESPONSE_HEADER_BYTES_MAX - len(b"a: 1\r\nb: \r\n"))
    assert len(stored_headers(answer((b"a", b"1"), (b"b", large)))) == RESPONSE_HEADER_BYTES_MAX
    assert stored_headers(answer((b"a", b"1"), (b"b", large + b"x"), (b"c", b"3"))) == b"a: 1\r\n"


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=20)), max_size=5))
def test_a_header_is_one_line_whatever_it_holds(headers: list[tuple[bytes, bytes]]) -> None:
    stored = stored_headers(answer(*headers))
    assert stored.count(b"\r") == stored.count(b"\n") == stored.count(b"\r\n") == len(headers)
    assert b"\0" not in stored


def test_the_body_is_cut() -> None:
    assert stored_body(answer(body=b"short")) == b"short"
    assert stored_body(answer(body=b"x" * 100_000)) == b"x" * RESPONSE_STORED_BYTES_MAX


def test_what_is_not_to_be_kept_is_masked_before_anything_is_cut() -> None:
    given = answer((b"set-cookie", b"a"), (b"x", b"1"), (b"set-cookie", b"b"), body=b'{"token": "t", "n": 1.50}')
    kept = redacted_answer(given, RedactAnswer(("/token",), ("Set-Cookie",)))
    assert stored_headers(kept) == b"set-cookie: [redacted]\r\nx: 1\r\nset-cookie: [redacted]\r\n"
    assert stored_body(kept) == b'{"token":"[redacted]","n":1.50}'
    assert redacted_answer(given, RedactAnswer()) == given
    long = answer(body=b'{"a": "%b", "token": "t"}' % (b"x" * 100_000))
    assert b'"t"' not in redacted_answer(long, RedactAnswer(("/token",))).body
    assert redacted_answer(answer(body=long.body[:-1]), RedactAnswer(("/token",))).body == b'"[redacted]"'
    assert redacted_answer(answer(), RedactAnswer(("/token",))).body == b""
