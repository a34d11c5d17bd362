"""What a user writes as `format`: a name or an object, and where an error in it is."""

import msgspec
import pytest

from posthouse.domain.errors import Invalid
from posthouse.domain.formats import KINDS, AnyFormat, FormFormat, JsonFormat, XmlFormat, format_of


@pytest.mark.parametrize("name", KINDS)
def test_a_name_stands_for_the_kind_without_options(name: str) -> None:
    assert format_of(name) == format_of({"kind": name}) == KINDS[name]()


def test_options() -> None:
    config = format_of({"kind": "xml", "root": "order", "attributes": ["id"], "time": {"form": "seconds"}})
    assert isinstance(config, XmlFormat)
    assert (config.root, config.attributes, config.time.form, config.time.zone) == ("order", ("id",), "seconds", "UTC")


def test_what_is_stored_is_what_was_written() -> None:
    written = {"kind": "form", "body": {"a": "{data}", "b": {"c": [1, None, True]}}, "nesting": "dots"}
    stored = msgspec.json.encode(format_of(written))
    assert msgspec.json.decode(stored) == written
    assert isinstance(msgspec.json.decode(stored, type=AnyFormat), FormFormat)
    assert msgspec.json.encode(JsonFormat()) == b'{"kind":"json"}'


@pytest.mark.parametrize(
    ("written", "path", "said"),
    [
        ("yaml", "format", "json, raw, xml, form, cloudevents"),
        (7, "format", "expected"),
        ({"kind": "yaml"}, "format.kind", "the format is one of"),
        ({"root": "a"}, "format.kind", "the format is one of"),
        ({"kind": ["xml"]}, "format.kind", "the format is one of"),
        ({"kind": "xml", "roots": "a"}, "format.roots", "unknown field"),
        ({"kind": "xml", "charset": "utf-16"}, "format.charset", "utf-16"),
        ({"kind": "xml", "time": {"form": 1}}, "format.time.form", "expected str"),
        ({"kind": "xml", "time": {"zones": 1}}, "format.time.zones", "unknown field"),
        ({"kind": "cloudevents", "mode": "avro"}, "format.mode", "avro"),
        ({"kind": "json", "body": 3}, "format.body", "expected"),
        ({"kind": "raw", "thin": True}, "format.thin", "unknown field"),
    ],
)
def test_errors_name_the_field(written: object, path: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as error:
        format_of(written)
    assert error.value.path == path
