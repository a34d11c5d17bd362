"""Every description that the server gives out has its Chinese, and the catalogue holds nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from docs.http_page import openapi_document
from tests.tidy.test_texts import plain

from posthouse.adapters.sources.changes.kind import ChangesKind
from posthouse.adapters.sources.inbound import InboundKind
from posthouse.adapters.sources.tables.kind import TableKind
from posthouse.api import asyncapi, webhooks
from posthouse.api.texts.catalogue import DESCRIBED, HOLE, TAKEN, Template, chinese_descriptions, read_sections
from posthouse.manage.profiles import Profiles, schema, shipped
from posthouse.ports.event_types import EventType

PLACE: Final = "src/posthouse/api/texts/descriptions_zh_cn.json"
SECTIONS: Final = read_sections("descriptions_zh_cn")
ENTRIES: Final = [(text, into) for name in DESCRIBED for text, into in SECTIONS[name].items()]
TYPE: Final = "order.created"  # its summary is its name, in any language
HAN: Final = re.compile(r"[\u4e00-\u9fff]")


def texts_in(node: Any, place: str) -> Iterator[tuple[str, str, str]]:
    """The section, the text and the place of each text in a document that is in the reader's language."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if isinstance(value, str) and name in ("description", "summary"):
                yield ("summaries" if name == "summary" else "descriptions"), value, place
            else:
                yield from texts_in(value, f"{place}.{name}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from texts_in(value, f"{place}[{number}]")


def of_profiles() -> Iterator[tuple[str, str, str]]:
    for profile in shipped():
        yield "profiles", profile.about, f"profile {profile.name}"
        for each in profile.keys:
            yield "profiles", each.about, f"profile {profile.name}, key {each.name}"
        for setting in profile.settings:
            yield "profiles", setting.about, f"profile {profile.name}, setting {setting.name}"


def all_texts() -> Iterator[tuple[str, str, str]]:
    of_a_type = [EventType(name=TYPE)]
    yield from texts_in(openapi_document(), "/openapi.json")
    bare = {"info": {"description": ""}, "components": {"schemas": {}}}
    yield from texts_in(webhooks.with_webhooks(bare, of_a_type, "en", cut=False), "/openapi.json webhooks")
    yield from texts_in(asyncapi.asyncapi_document(of_a_type, "en", cut=False), "/v1/asyncapi.json")
    yield "descriptions", webhooks.CUT, "/openapi.json and /v1/asyncapi.json"
    for kind in (TableKind, ChangesKind(), InboundKind(Profiles(shipped()).get)):
        yield from texts_in(kind.expects, f"trigger kind {kind.name}")
    yield from texts_in(schema(), "/v1/profiles/schema")
    yield from of_profiles()


@pytest.fixture(scope="module")
def texts() -> dict[tuple[str, str], str]:
    """Section and text, white space aside, with a place where it stands."""
    return {(section, " ".join(text.split())): place for section, text, place in all_texts() if text not in ("", TYPE)}


def test_every_description_has_its_chinese(texts: dict[tuple[str, str], str]) -> None:
    missing = [
        f'"{section}": "{text}": "…",  <- {place}'
        for (section, text), place in texts.items()
        if HAN.search(chinese_descriptions().message(text)) is None
    ]
    assert not missing, f"add these to {PLACE}, each to its section:\n" + "\n".join(sorted(missing))


def test_no_description_is_left_over(texts: dict[tuple[str, str], str]) -> None:
    left_over = []
    for name in DESCRIBED:
        known = {text for section, text in texts if section == name}
        for entry in SECTIONS[name]:
            template = Template.of(entry, "") if HOLE.search(entry) else None
            if entry not in known and not (template and any(template.match(text) is not None for text in known)):
                left_over.append(f"{name}: {entry}")
    titles = {profile.title for profile in shipped()}
    left_over += [f"titles: {title}" for title in SECTIONS["titles"] if title not in titles]
    assert not left_over, f"nothing says these any more: take them out of {PLACE}:\n" + "\n".join(left_over)


def test_a_translation_takes_over_what_is_filled_in() -> None:
    for text, into in ENTRIES:
        taken = [int(number) for number, _ in TAKEN.findall(into)]
        assert sorted(taken) == list(range(len(HOLE.findall(text)))), into
        assert "{}{}" not in plain(text), f"what is filled in there cannot be told apart: {text}"


def test_a_translation_is_chinese_as_it_is_written() -> None:
    for _, into in ENTRIES:
        assert HAN.search(into), into
        assert not re.search(r"[\u4e00-\u9fff][,;:!?()]|[,;!?()][\u4e00-\u9fff]", into), (
            f"full-width punctuation: {into}"
        )
        assert not re.search(r"[\u4e00-\u9fff][`\w](?<![\u4e00-\u9fff])", into), f"a space before other letters: {into}"
        assert not re.search(r"(?![\u4e00-\u9fff])[`\w][\u4e00-\u9fff]", into), f"a space after other letters: {into}"
        assert into == into.strip()


def test_what_is_code_stays_as_it_is() -> None:
    for text, into in ENTRIES:
        code = {part for part in re.findall(r"`([^`]+)`", text) if "<" not in part and "| null" not in part}
        assert code <= set(re.findall(r"`([^`]+)`", into)), into


def test_the_order_is_that_of_the_english() -> None:
    for entries in SECTIONS.values():
        assert list(entries) == sorted(entries)
    assert {*DESCRIBED, "titles"} == SECTIONS.keys()
