"""CloudEvents in all modes, received by the SDK of CloudEvents: it is the judge of what they mean."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from cloudevents.core.base import BaseCloudEvent, EventFactory
from cloudevents.core.bindings.http import HTTPMessage, from_binary, from_structured
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from lxml import etree
from tests.unit.wire.formatting import ID, Received, counted, formatter, request
from tests.unit.wire.test_render import EVENT_ID, NOW, event

from posthouse.domain.endpoint import Timeouts
from posthouse.domain.event import Event
from posthouse.wire.assemble import assemble
from posthouse.wire.cloudevents import cloudevent

SUBJECT = 'Euro € 😀 "q" 100%'
KEY = "k/ü"
ABOUT = msgspec.structs.replace(event(b'{"id":1.50,"t":"<&>"}'), subject=SUBJECT, key=KEY)
IMAGE = msgspec.structs.replace(event(b"\0\xff", "image/png"), subject=SUBJECT, key=KEY)
NAMESPACE = "{http://cloudevents.io/xmlformat/V1}"
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"


class XmlFormat:
    """The XML event format (cloudevents/working-drafts/xml-format.md), which the SDK lacks, for its binding."""

    def read(self, event_factory: EventFactory | None, data: str | bytes) -> BaseCloudEvent:
        assert isinstance(data, bytes)
        assert event_factory is not None
        return self.one(etree.fromstring(data))

    def one(self, root: Any) -> BaseCloudEvent:
        assert root.tag == NAMESPACE + "event"
        attributes: dict[str, Any] = {"specversion": root.get("specversion")}
        value: Any = None
        for element in root:
            name = element.tag.removeprefix(NAMESPACE)
            if name == "data":
                prefix, _, kind = element.get(TYPE).partition(":")
                assert element.nsmap[prefix] == "http://www.w3.org/2001/XMLSchema"
                match kind:
                    case "string":
                        value = element.text
                    case "base64Binary":
                        value = base64.b64decode(element.text, validate=True)
                    case "any":
                        (value,) = element
                continue
            assert len(element) == 0
            if name not in ("id", "source", "type", "time", "subject", "datacontenttype", "dataschema"):
                prefix, _, kind = element.get(TYPE).partition(":")
                assert (element.nsmap[prefix], kind) == (NAMESPACE.strip("{}"), "string")
            attributes[name] = element.text
        attributes["time"] = datetime.fromisoformat(attributes["time"])
        return CloudEvent(attributes, value)


def batch_of(body: bytes) -> list[BaseCloudEvent]:
    """The JSON batch format (section 4), of whose events the SDK reads each."""
    return [JSONFormat().read(CloudEvent, json.dumps(each)) for each in json.loads(body)]


def received(mode: str, of: Event = ABOUT, **options: Any) -> tuple[HTTPMessage, Received]:
    taken = Received(request({"kind": "cloudevents", "mode": mode, **options}, of=of))
    return HTTPMessage(dict(taken.headers), taken.body), taken


def check(told: BaseCloudEvent, *, source: str = "posthouse", content_type: str | None = "application/json") -> None:
    assert told.get_specversion() == "1.0"
    assert told.get_id() == ID
    assert told.get_source() == source
    assert told.get_type() == "order.created"
    assert told.get_time() == datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    assert told.get_subject() == SUBJECT
    assert told.get_extension("partitionkey") == KEY
    assert told.get_datacontenttype() == content_type


def test_structured() -> None:
    sent, taken = received("structured")
    told = from_structured(sent, JSONFormat(), CloudEvent)
    check(told)
    assert told.get_data() == {"id": 1.5, "t": "<&>"}
    assert taken.headers["content-type"] == "application/cloudevents+json"
    assert taken.body == cloudevent(ABOUT)
    assert from_structured(received("structured", IMAGE)[0], JSONFormat(), CloudEvent).get_data() == b"\0\xff"


def test_binary() -> None:
    sent, taken = received("binary")
    told = from_binary(sent, JSONFormat(), CloudEvent)
    check(told)
    assert told.get_data() == {"id": 1.5, "t": "<&>"}
    assert taken.body == ABOUT.payload
    assert taken.names[4:] == [
        "ce-specversion",
        "ce-id",
        "ce-source",
        "ce-type",
        "ce-time",
        "ce-subject",
        "ce-partitionkey",
        "Content-Type",
        "Content-Length",
    ]
    assert taken.headers["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80%20%22q%22%20100%25"
    image = from_binary(received("binary", IMAGE)[0], JSONFormat(), CloudEvent)
    check(image, content_type="image/png")
    assert image.get_data() == b"\0\xff"


def test_the_example_of_the_specification() -> None:
    of = msgspec.structs.replace(ABOUT, subject="Euro € 😀")
    assert received("binary", of)[1].headers["ce-subject"] == "Euro%20%E2%82%AC%20%F0%9F%98%80"


def test_batched() -> None:
    _, taken = received("batched")
    (told,) = batch_of(taken.body)
    check(told)
    assert taken.headers["content-type"] == "application/cloudevents-batch+json"
    batch = formatter({"kind": "cloudevents"}, batch=True)
    made = batch.render_batch([ABOUT, IMAGE], now=NOW, random=counted, replay=False, request_id=EVENT_ID)
    several = Received(assemble(made, Timeouts()))
    first, second = batch_of(several.body)
    check(first)
    check(second, content_type="image/png")
    assert second.get_data() == b"\0\xff"


def test_xml() -> None:
    sent, taken = received("xml")
    told = from_structured(sent, XmlFormat(), CloudEvent)  # type: ignore[arg-type]  # it reads and does not write
    check(told)
    assert told.get_data() == '{"id":1.50,"t":"<&>"}'
    assert taken.headers["content-type"] == "application/cloudevents+xml"
    assert taken.body.decode().startswith(
        '<?xml version="1.0" encoding="UTF-8"?><event xmlns="http://cloudevents.io/xmlformat/V1"'
    )
    image = from_structured(received("xml", IMAGE)[0], XmlFormat(), CloudEvent)  # type: ignore[arg-type]
    check(image, content_type="image/png")
    assert image.get_data() == b"\0\xff"


def test_xml_in_xml() -> None:
    of = msgspec.structs.replace(
        ABOUT, payload=b'<o:a xmlns:o="urn:o"><!-- kept --><b/></o:a>', content_type="application/xml"
    )
    told = from_structured(received("xml", of)[0], XmlFormat(), CloudEvent)  # type: ignore[arg-type]
    check(told, content_type="application/xml")
    data: Any = told.get_data()
    assert data.tag == "{urn:o}a"
    assert data[0].text == " kept "
    assert data[1].tag == "b", "what has no namespace gets none"


@pytest.mark.parametrize(
    ("payload", "content_type"),
    [(b"<a>", "application/xml"), (b"\xff", "application/json"), ('"\ufffe"'.encode(), "application/json")],
)
def test_data_that_xml_cannot_hold_are_base64(payload: bytes, content_type: str) -> None:
    of = msgspec.structs.replace(ABOUT, payload=payload, content_type=content_type)
    told = from_structured(received("xml", of)[0], XmlFormat(), CloudEvent)  # type: ignore[arg-type]
    assert told.get_data() == payload


def test_a_batch_of_xml() -> None:
    batch = formatter({"kind": "cloudevents", "mode": "xml"}, batch=True)
    made = batch.render_batch([ABOUT, IMAGE], now=NOW, random=counted, replay=False, request_id=EVENT_ID)
    taken = Received(assemble(made, Timeouts()))
    assert taken.headers["content-type"] == "application/cloudevents-batch+xml"
    root = etree.fromstring(taken.body)
    assert root.tag == NAMESPACE + "batch"
    first, second = (XmlFormat().one(each) for each in root)
    check(first)
    check(second, content_type="image/png")


@pytest.mark.parametrize("mode", ["structured", "batched", "binary", "xml"])
def test_thin_and_another_source(mode: str) -> None:
    source = "https://platform.example/shops?a=b&c"
    sent, taken = received(mode, thin=True, source=source)
    match mode:
        case "structured":
            told = from_structured(sent, JSONFormat(), CloudEvent)
        case "batched":
            (told,) = batch_of(taken.body)
        case "binary":
            told = from_binary(sent, JSONFormat(), CloudEvent)
            assert taken.body == b""
        case _:
            told = from_structured(sent, XmlFormat(), CloudEvent)  # type: ignore[arg-type]
    check(told, source=source, content_type=None)
    assert not told.get_data()


def test_another_source_changes_nothing_else() -> None:
    made = json.loads(received("structured", IMAGE, source="/other")[1].body)
    assert made == json.loads(cloudevent(IMAGE)) | {"source": "/other"}
    assert list(made) == list(json.loads(cloudevent(IMAGE)))


def test_an_event_with_nothing_optional() -> None:
    told = from_structured(received("xml", event())[0], XmlFormat(), CloudEvent)  # type: ignore[arg-type]
    assert (told.get_subject(), told.get_extension("partitionkey")) == (None, None)
    assert "ce-subject" not in received("binary", event())[1].headers
