"""What is masked, and that nothing else is touched."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import REDACTED_NAMES_MAX, REDACTED_POINTER_LENGTH_MAX, REDACTED_POINTER_PARTS_MAX
from posthouse.domain.redaction import (
    REDACTED,
    RedactAnswer,
    check_pointers,
    check_redact_answer,
    is_credential,
    redacted,
    redacted_payload,
)

MASK = b'"[redacted]"'


@pytest.mark.parametrize(
    ("document", "pointers", "shown"),
    [
        (
            b'{"card": {"number": 4111, "cvc": 1}, "n": 1.50}',
            ["/card/number"],
            b'{"card":{"number":%b,"cvc":1},"n":1.50}',
        ),
        (b'{"a": {"b": 1}}', ["/a", "/a/b"], b'{"a":%b}'),
        (b'{"a": {"b": 1}}', ["/a/b", "/a"], b'{"a":%b}'),
        (b'{"a": [1, {"b": 2}, 3]}', ["/a/1/b"], b'{"a":[1,{"b":%b},3]}'),
        (b"[1, 2]", ["/0"], b"[%b,2]"),
        (b'{"a/b": 1, "~": 2, "": 3}', ["/a~1b", "/~0", "/"], b'{"a/b":%b,"~":%b,"":%b}'),
        (
            b'{"\\u0061": 1, "big": 123456789012345678901234567890}',
            ["/a"],
            b'{"a":%b,"big":123456789012345678901234567890}',
        ),
        (b'{"a": {"b": 1}, "a": 2}', ["/a/b"], b'{"a":2}'),
        (b'{"a": 2, "a": {"b": 1}}', ["/a/b"], b'{"a":{"b":%b}}'),
        (b'{"1": {"0": "x"}}', ["/1/0"], b'{"1":{"0":%b}}'),
    ],
)
def test_what_pointers_name_is_masked(document: bytes, pointers: list[str], shown: bytes) -> None:
    assert redacted(document, pointers) == shown.replace(b"%b", MASK)


@pytest.mark.parametrize(
    "document",
    [b'{ "b": 1.50 }', b"[ ]", b"5", b'"text"', b"null", b' {"a": [1]}', b'{"A": {"x": 1}}', b'{"a": "x", "a/x": 1}'],
)
@pytest.mark.parametrize("pointer", ["/a/x", "/a/01", "/a/-", "/a/1", "/9999999999"])
def test_what_they_do_not_name_stays_as_it_is(document: bytes, pointer: str) -> None:
    assert json.loads(redacted(document, [pointer])) == json.loads(document)
    if b'"a"' not in document:
        assert redacted(document, [pointer]) == document
    assert redacted(document, []) == document


@pytest.mark.parametrize("document", [b"", b"{", b'{"a": tru}', b"x=1", b"\xff", b'{"a": 1} 2', b'{"a":1', b"[1,]"])
def test_what_is_no_json_is_masked_as_a_whole(document: bytes) -> None:
    assert redacted(document, ["/a"]) == MASK
    assert redacted(document, []) == document


def test_a_payload_that_is_not_json_is_masked_as_a_whole() -> None:
    assert redacted_payload(b"\x00\xff", ["/a"], is_json=False) == REDACTED.encode()
    assert redacted_payload(b"\x00\xff", [], is_json=False) == b"\x00\xff"
    assert redacted_payload(b'{"a":1}', ["/a"], is_json=True) == b'{"a":%b}' % MASK


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "/", "~1", ""]), inner, max_size=3)
    ),
    max_leaves=8,
)
parts = st.sampled_from(["a", "b", "~1", "~01", "", "0", "1"])


@given(values, st.lists(st.lists(parts, min_size=1, max_size=3), min_size=1, max_size=3))
def test_it_is_what_a_plain_reading_of_the_standard_does(document: object, ways: list[list[str]]) -> None:
    wanted = json.loads(json.dumps(document))
    names = [[part.replace("~1", "/").replace("~0", "~") for part in way] for way in ways]
    for way in sorted(names, key=len, reverse=True):
        here = wanted
        for part in way[:-1]:
            here = _step(here, part)
        if isinstance(here, dict) and way[-1] in here:
            here[way[-1]] = REDACTED
        elif isinstance(here, list) and way[-1].isdigit() and int(way[-1]) < len(here):
            here[int(way[-1])] = REDACTED
    shown = redacted(json.dumps(document).encode(), ["".join(f"/{part}" for part in way) for way in ways])
    assert json.loads(shown) == wanted


def _step(value: object, part: str) -> object:
    if isinstance(value, dict):
        return value.get(part)
    if isinstance(value, list) and part.isdigit() and int(part) < len(value):
        return value[int(part)]
    return None


@pytest.mark.parametrize(
    ("pointers", "path"),
    [
        (["a"], "redact[0]"),
        ([""], "redact[0]"),
        (["/a", "/~2"], "redact[1]"),
        (["/~"], "redact[0]"),
        (["/" + "x" * REDACTED_POINTER_LENGTH_MAX], "redact[0]"),
        (["/x" * (REDACTED_POINTER_PARTS_MAX + 1)], "redact[0]"),
        (["/a"] * (REDACTED_NAMES_MAX + 1), "redact"),
    ],
)
def test_pointers_that_are_none(pointers: list[str], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_pointers(pointers, path="redact")
    assert refused.value.path == path


def test_rules_of_answers() -> None:
    check_redact_answer(RedactAnswer(("/a", "/b/0"), ("Set-Cookie",)), path="redact_answer")
    for rules, path in (
        (RedactAnswer(body=("a",)), "redact_answer.body[0]"),
        (RedactAnswer(headers=("a b",)), "redact_answer.headers[0]"),
        (RedactAnswer(headers=("x", "")), "redact_answer.headers[1]"),
        (RedactAnswer(headers=("x",) * (REDACTED_NAMES_MAX + 1)), "redact_answer.headers"),
    ):
        with pytest.raises(Invalid) as refused:
            check_redact_answer(rules, path="redact_answer")
        assert refused.value.path == path


@pytest.mark.parametrize(
    "name", ["Authorization", "X-Api-Key", "x-auth-token", "Cookie", "X-Hub-Signature-256", "apikey"]
)
def test_headers_that_look_like_credentials(name: str) -> None:
    assert is_credential(name)
    assert not is_credential("X-Shop")
    assert not is_credential("webhook-id")
