"""Numbers stay as they are written."""

from __future__ import annotations

import json

import pytest

from posthouse.cli import exact
from posthouse.cli.output import outlined

NUMBERS = ("1.50", "12345678901234567.89", "1E400", "-0.0", "1e5", "123456789012345678901234567890", "0.1")


@pytest.mark.parametrize("written", NUMBERS)
def test_numbers_are_passed_on_as_they_are_written(written: str) -> None:
    text = f'{{"a": [{written}, true, null, "x"], "b": {written}}}'
    assert exact.dumps(exact.loads(text)) == text
    assert str(exact.loads(written)) == written


def test_they_are_shown_so_to_people_too() -> None:
    shown = outlined(exact.loads('{"price": 1.50, "all": [12345678901234567.89]}'))
    assert shown == "price: 1.50\nall: [12345678901234567.89]\n"


def test_what_is_no_number_of_json() -> None:
    for text in ("NaN", "-Infinity", '{"a": Infinity}'):
        with pytest.raises(ValueError, match="is no number of JSON"):
            exact.loads(text)


def test_it_writes_as_the_standard_library_does() -> None:
    value = {"a": 1, "b": [1.5, None, True, {"c": '驿站 \x01"\\/'}], "d": {}, "e": []}
    assert exact.dumps(value) == json.dumps(value, ensure_ascii=False)
    assert exact.dumps("half \ud800") == '"half \\ud800"'
