"""What the guide shows works, and is the same in both languages."""

import json
import re
from typing import Any

import pytest
from tests.tidy.tree import ROOT
from tests.unit.wire.formatting import Received, request
from tests.unit.wire.test_render import event

from posthouse.api.models.endpoint import EndpointPatch
from posthouse.domain.formats import Charset, CloudEventsMode, FormNesting, Method, XmlFormat
from posthouse.manage.endpoint_change import check_change
from posthouse.wire.formats.shape import parsed
from posthouse.wire.formats.xml import Style, Writer
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES

ENGLISH, CHINESE = (
    ROOT.joinpath("docs", language, "guides", "formats.md").read_text("utf-8") for language in ("en", "zh")
)
SHOWN = re.findall(r"```json\n(.*?)```", ENGLISH, re.DOTALL)
*FORMATS, PINS = SHOWN


@pytest.mark.parametrize("text", FORMATS)
def test_examples(text: str) -> None:
    shown: dict[str, Any] = json.loads(text)
    endpoint = shown if "format" in shown else {"format": shown}
    options: dict[str, Any] = {name: endpoint[name] for name in ("url", "headers", "query") if name in endpoint}
    assert Received(request(endpoint["format"], of=event(b'{"a":"1"}'), **options)).body


def test_the_example_of_pinned_versions() -> None:
    given = EndpointPatch.model_validate(json.loads(PINS)).change()
    assert given.payload_versions == {"order.created": 3, "order.paid": 1}
    assert check_change(given) == []


def test_both_languages_show_the_same() -> None:
    assert re.findall(r"```json\n(.*?)```", CHINESE, re.DOTALL) == SHOWN
    assert len(SHOWN) == 4


def test_the_table_of_xml() -> None:
    rows = re.findall(r"^\| `(\{.*\})` \| `(<.*>)` \|$", ENGLISH, re.MULTILINE)
    assert len(rows) == 8
    assert rows == re.findall(r"^\| `(\{.*\})` \| `(<.*>)` \|$", CHINESE, re.MULTILINE)
    for text, shown in rows:
        writer = Writer(Style(XmlFormat()))
        writer.element("r", parsed(text.encode()))
        made = writer.take().removeprefix("<r>").removesuffix("</r>")
        assert re.sub(r"<(\w+)( [^<>]*)?></\1>", r"<\1\2/>", made) == shown


@pytest.mark.parametrize("page", [ENGLISH, CHINESE])
def test_every_name_is_there(page: str) -> None:
    names = {f"{{{name}}}" for name in EVENT_VALUES | REQUEST_VALUES}
    assert names <= set(re.findall(r"\{[a-z_.]+\}", page))
    for each in (*Charset, *CloudEventsMode, *FormNesting, *Method):
        assert f"`{each.value}`" in page
