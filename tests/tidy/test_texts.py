"""Every text that the API may answer with has its Chinese, and the catalogue holds nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest
from pydantic_core._pydantic_core import list_all_errors
from tests.tidy.chinese import amiss
from tests.tidy.messages import Messages, Text, answers

from posthouse.api.models.common import NOT_A_TIME
from posthouse.api.problems import _INVALID_STATUS, _MESSAGES, _STATUS, _TITLES, NO_BODY, fields_of
from posthouse.api.texts.catalogue import HOLE, LISTS, TAKEN, WHOLE, chinese, read_sections

SECTIONS: Final = read_sections("zh_cn")
ENTRIES: Final = [(name, text, into) for name, entries in SECTIONS.items() for text, into in entries.items()]
# Of ours, so that the source says whether they are still needed; the others are of libraries.
OURS: Final = ("messages", "parts")
# Words that a translation needs no section for, and ways of putting a text into Chinese.
FILTERS: Final = {"or"}

# Whose texts are answered where the source here does not say them, and where they are looked up.
OPAQUE: Final = {
    "src/posthouse/api/app.py:answer": "the framework's other errors; there are none today",
    "src/posthouse/api/problems.py:fields_of": "pydantic",
    "src/posthouse/api/problems.py:problem_body": "what it is called with",
    "src/posthouse/api/problems.py:problem_bytes": "the error's own",
    "src/posthouse/adapters/cel/expressions.py:check": "adapters/cel/program.py, which raises it first",
    "src/posthouse/adapters/cel/judging.py:_refuse": "adapters/cel/regex.py: why_not",
    "src/posthouse/adapters/cel/program.py:_in_words": "the compiler",
    "src/posthouse/adapters/cel/program.py:_placed": "adapters/cel/judging.py, which raises it first",
    "src/posthouse/adapters/cel/program.py:_told": "its _in_words",
    "src/posthouse/adapters/sources/tables/mysql.py:connect": "the SDK's DsnError",
    "src/posthouse/adapters/sources/tables/settings.py:_dsn": "the SDK's DsnError",
    "src/posthouse/adapters/sources/tables/source.py:_compare": "what a check of the table raises first",
    "src/posthouse/adapters/sources/changes/refusals.py:translated": "PostgreSQL, psycopg and the operating system",
    "src/posthouse/adapters/sources/changes/settings.py:_checked_dsn": "the SDK's DsnError",
    "src/posthouse/adapters/sources/changes/settings.py:check": "msgspec",
    "src/posthouse/domain/errors.py:placed": "what it is called with",
    "src/posthouse/intake/cloudevents.py:_json_payload": "another Invalid's own",
    "src/posthouse/intake/parse.py:_not_as_expected": "msgspec",
    "src/posthouse/domain/configuration.py:read": "msgspec",
    "src/posthouse/wire/times.py:compile_time": "domain/occurrences.py, which raises it first",
    "src/posthouse/wire/formats/formatter.py:try_out": "what cannot be sent even on trial; there is nothing else today",
    "src/posthouse/manage/endpoints.py:_check": "adapters/http/addresses.py, which raises it first",
    "src/posthouse/domain/profile.py:filled": "the SDK's SettingError",
    "src/posthouse/manage/profiles.py:within": "what it was raised with",
    "src/posthouse/manage/secret_change.py:secret_of": "the SDK's SecretError",
    "src/posthouse/manage/speaking.py:check_speakable": "wire/headers.py or wire/formats, which raise it first",
    "src/posthouse/manage/transform_check.py:check_transform": "wire/headers.py, which raises it first",
    "src/posthouse/wire/authentication.py:_api_key": "wire/headers.py, which raises it first",
    "src/posthouse/wire/encryption/compiled.py:_check_told": "wire/headers.py, which raises it first",
    "src/posthouse/wire/encryption/compiled.py:compile_encryption": "the SDK's SettingError",
    "src/posthouse/wire/inbound.py:_made": "the SDK's ReceiverError",
    "src/posthouse/wire/inbound.py:_profile_of": "the SDK's SettingError or ProfileError",
    "src/posthouse/wire/challenges.py:_sealed": "the SDK's SettingError",
    "src/posthouse/wire/handshake.py:_format": "domain/formats.py, which raises it first",
    "src/posthouse/wire/handshake.py:_placed": "whoever made the renderer, who raises it first",
    "src/posthouse/wire/target.py:parse_target": "its _parsed, which raises it first",
    "src/posthouse/wire/signing/places.py:_put": "wire/headers.py, which raises it first",
    "src/posthouse/wire/signing/places.py:sent_text": "wire/headers.py, which raises it first",
    "src/posthouse/wire/signing/standard.py:__init__": "wire/headers.py, which raises it first",
    "src/posthouse/wire/signing/standard.py:_key": "the SDK's SecretError",
}
# What pydantic finds wrong with Python objects, or with kinds of fields that no model has.
NOT_JSON: Final = re.compile(
    r"no_such_attribute|json_|needs_python|recursion_|frozen_(field|instance)|get_attribute|dataclass_|named_tuple|default_factory"
    r"|iterable_type|iteration_error|enum|.*dict_type|counter_|mapping_|deque_|tuple_type|set_|bytes_|value_error|assertion_"
    r"|missing_sentinel|ellipsis_|date_(from|past|future)|time_|timezone_offset|frozen_set|is_|callable|.*argument|url_(type"
    r"|syntax|too_long|scheme)|uuid_|decimal_|fraction_|complex_"
)


def plain(template: str) -> str:
    return HOLE.sub("{}", template)


@pytest.fixture(scope="module")
def texts() -> set[Text]:
    return answers()


def test_every_message_has_its_chinese(texts: set[Text]) -> None:
    whole = {plain(text) for name in WHOLE for text in SECTIONS[name]}
    anywhere = {plain(text) for _, text, _ in ENTRIES}
    missing = {
        f'"{text.template}": "…",  <- {text.place}'
        for text in texts
        if not text.opaque and text.template not in (whole if text.whole else anywhere)
    }
    assert not missing, "add these to src/posthouse/api/texts/zh_cn.json:\n" + "\n".join(sorted(missing))


def test_no_entry_is_left_over(texts: set[Text]) -> None:
    used = {text.template for text in texts}
    left_over = [text for name in OURS for text in SECTIONS[name] if plain(text) not in used]
    assert left_over == []


def test_texts_from_elsewhere_are_known(texts: set[Text]) -> None:
    assert {text.place for text in texts if text.opaque} == set(OPAQUE)


def test_a_translation_takes_over_what_is_filled_in() -> None:
    for _, text, into in ENTRIES:
        taken = TAKEN.findall(into)
        numbered = [hole for hole in HOLE.findall(text) if not hole]
        assert sorted(int(number) for number, _ in taken) == list(range(len(numbered))), into
        assert {name for _, name in taken if name} <= {*SECTIONS, *FILTERS}, into
        assert "{" not in TAKEN.sub("", into), into
        assert "{}{}" not in plain(text), f"what is filled in there cannot be told apart: {text}"


def test_a_translation_is_chinese_as_it_is_written() -> None:
    for _, _, into in ENTRIES:
        bare = TAKEN.sub(lambda hole: "字" if hole[2] in SECTIONS else "0", into)
        assert not amiss(bare), f"{amiss(bare)}: {into}"


def test_the_order_is_that_of_the_english() -> None:
    for name in SECTIONS.keys() - {"titles"}:
        assert list(SECTIONS[name]) == sorted(SECTIONS[name])
    assert {*WHOLE, *LISTS} <= SECTIONS.keys()


def test_every_title_has_its_chinese() -> None:
    statuses = {405, 429, 500, *_INVALID_STATUS.values(), *(status for _, status in _STATUS)}
    titles = {_TITLES.get(status) or HTTPStatus(status).phrase for status in statuses}
    assert titles <= SECTIONS["titles"].keys()


def pydantic_messages() -> Iterator[tuple[str, str]]:
    for error in list_all_errors():
        if NOT_JSON.match(error["type"]) is None:
            filled = re.sub(r"\{expected_plural\}", "s", error["message_template_python"])
            yield error["type"], re.sub(r"\{\w+\}", "7", filled)


@pytest.mark.parametrize(("kind", "message"), list(pydantic_messages()))
def test_whatever_pydantic_finds_has_its_chinese(kind: str, message: str) -> None:
    said = str(fields_of([{"loc": ("body", "a"), "type": kind, "msg": message}]))
    assert re.search(r"[\u4e00-\u9fff]", chinese().message(said)), said


@pytest.mark.parametrize("message", [*_MESSAGES.values(), NO_BODY, NOT_A_TIME])
def test_what_is_said_of_fields_has_its_chinese(message: str) -> None:
    assert re.search(r"[\u4e00-\u9fff]", chinese().message(message)), message


SOURCE: Final = """
WORDS = {"a": "the first word", "b": "the second word"}
FIXED = "a fixed text"

def plain(x):
    raise Broken("no hole here")
    raise Broken(f"one {x} and {x!r:>4} " f"more")
    raise Broken("left " + str(x) + " right")
    raise Broken("yes it is" if x else f"no {x}")
    raise Broken(FIXED, code="x")
    raise Broken(WORDS[x])
    raise Other("is not asked for")

def local(error):
    told = f"a local {error}"
    raise Broken(told)

def _helper(path, why):
    raise Broken(f"the path {why}", path=path)

def callers(x):
    _helper("p", "is not there")
    _helper("p", why=f"is not {x}")

class Thing:
    def check(self, *, message):
        raise self.kind.Broken(message=message)

    def callers(self):
        self.check(message="by its name")

def away(error):
    raise Broken(str(error))
"""


def test_the_source_is_read_as_far_as_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "module.py"
    path.write_text(SOURCE)
    monkeypatch.setattr("tests.tidy.messages.ROOT", tmp_path)
    found = set(Messages([path]).all({"Broken"}))
    whole = {"no hole here", "one {} and {} more", "left {} right", "yes it is", "no {}", "a fixed text"}
    whole |= {"the first word", "the second word", "a local {}", "the path {}", "by its name", "{}"}
    assert {text.template for text in found if text.whole} == whole
    assert {text.template for text in found if not text.whole} == {"is not there", "is not {}"}
    assert [text.place for text in found if text.opaque] == ["module.py:away"]
