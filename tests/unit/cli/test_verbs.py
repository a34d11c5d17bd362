"""From declared verbs to commands."""

from __future__ import annotations

import io

import pytest

from posthouse.cli.output import Column
from posthouse.cli.reference import reference
from posthouse.cli.resources import RESOURCES
from posthouse.cli.verbs import Verb, instant, json_object
from posthouse.domain.errors import Invalid

NOW = 1_795_560_843.0
VERBS = [(resource, verb) for resource in RESOURCES for verb in resource.verbs]


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2026-11-24T22:54:03Z", "2026-11-24T22:54:03Z"),
        ("2026-11-24T22:54:03+08:00", "2026-11-24T14:54:03Z"),
        ("30m", "2026-11-24T22:24:03Z"),
        ("7d", "2026-11-17T22:54:03Z"),
    ],
)
def test_times(text: str, at: str) -> None:
    assert instant(text, "--since", now=NOW) == at


def test_a_deadline_is_ahead() -> None:
    assert instant("7d", "--expires-at", now=NOW, ahead=True) == "2026-12-01T22:54:03Z"


@pytest.mark.parametrize("text", ["yesterday", "5", "5w", "", "9" * 30 + "d", "0001-01-01T00:00:00+14:00"])
def test_times_that_are_none(text: str) -> None:
    with pytest.raises(Invalid, match="--since"):
        instant(text, "--since", now=NOW)


def test_data_from_anywhere(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO('{"a": 1}'))
    assert json_object("-", "--data") == {"a": 1}
    (file := tmp_path / "d.json").write_text('{"b": 2}')  # type: ignore[operator]
    assert json_object(f"@{file}", "--data") == {"b": 2}
    for wrong in ("{", "[1]", f"@{file}.none"):
        with pytest.raises(Invalid, match="--data"):
            json_object(wrong, "--data")


@pytest.mark.parametrize(("resource", "verb"), VERBS, ids=lambda part: part.name)
def test_every_place_is_described_and_every_verb_ends_its_sentence(resource: object, verb: Verb) -> None:
    from posthouse.cli.verbs import Resource

    assert isinstance(resource, Resource)
    assert set(verb.places) <= resource.places.keys()
    assert verb.help.endswith(".")
    assert all(option.help.endswith((".", "JSON.")) for option in verb.options), verb
    assert verb.columns == () or isinstance(verb.columns[0], Column)
    # What cannot be left out comes first, so that a narrow terminal still says which thing a row is.
    assert not verb.columns or not verb.columns[0].spare


def test_the_reference_tells_every_command_and_every_flag() -> None:
    text = reference()
    for resource, verb in VERBS:
        assert f"posthouse {resource.name} {verb.name}\n" in text
        for option in verb.options:
            name = option.name.replace("-", "_").upper() if option.positional else f"--{option.name}"
            assert f"`{name}`" in text, (verb.name, option.name)
    for command in ("serve", "doctor", "trigger", "apply", "export", "completion"):
        assert f"### posthouse {command}\n" in text
    assert "|  |" not in text, "every flag says what it is"
