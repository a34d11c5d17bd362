"""JSON of others: the same values as ever, and no number that takes long."""

from __future__ import annotations

import json
import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain import json_text
from posthouse.domain.json_text import LOOKED_AT_BYTES_MIN, decoded

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(values, st.booleans())
def test_values_are_those_that_are_written(value: object, far: bool) -> None:
    held = [value, 1.7976931348623157e308 if far else 1.5, -0.0, "x" * LOOKED_AT_BYTES_MIN]
    text = json.dumps(held, ensure_ascii=False)
    for read in (decoded(text), decoded(text.encode())):
        assert read == msgspec.json.decode(text) == held
        assert math.copysign(1, read[2]) == -1


@pytest.mark.parametrize("number", ["1e300", "1.5E+300", "5e-324", "1.7976931348623157e308", "1e23"])
@pytest.mark.parametrize("as_text", [False, True])
def test_the_reader_that_takes_long_for_such_numbers_gets_none(
    number: str, as_text: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"[{','.join([number] * 1_000)}]"
    monkeypatch.setattr(json_text, "_decode", lambda _: pytest.fail("it would take long"))
    assert decoded(text if as_text else text.encode()) == [float(number)] * 1_000


@pytest.mark.parametrize("text", ["[1e999%s]", "[1e300,%s", '["\\ud800",1e300%s]', "[1e300,nope%s]"])
def test_what_is_wrong_is_wrong_in_the_same_way(text: str) -> None:
    body = (text % (" " * LOOKED_AT_BYTES_MIN)).encode()
    with pytest.raises(msgspec.DecodeError) as found:
        decoded(body)
    with pytest.raises(msgspec.DecodeError) as known:
        msgspec.json.decode(body)
    assert str(found.value) == str(known.value)
    assert type(found.value) is type(known.value)
