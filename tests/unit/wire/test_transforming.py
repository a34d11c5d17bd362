"""What a transformation makes of an event, given what its expressions came to; and when it makes nothing."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from tests.fakes import an_endpoint, an_event

from posthouse.domain.errors import Invalid
from posthouse.domain.expression import Failed, FailedBecause, Outcome, Value
from posthouse.domain.limits import HEADER_BYTES_MAX, TRANSFORM_BYTES_MAX, TRANSFORM_SCHEMA_STEPS_MAX
from posthouse.domain.transformation import DynamicUrl, Transform, WithoutUrl
from posthouse.wire.data_schema import DataSchema
from posthouse.wire.transforming import NotEvaluated, NotTransformed, Transformation, Transformed, transformation_of

AMONG = {"eu": "https://eu.example.com/hook", "us": "https://us.example.com/hook"}


def applied(*values: Any, event: Any = None, **fields: Any) -> Transformed | NotTransformed:
    outcomes: list[Outcome] = [each if isinstance(each, Failed) else Value(each) for each in values]
    return Transformation(an_endpoint(**fields)).applied(event or an_event(payload=b'{"a": 1}'), outcomes)


def refused(*values: Any, **fields: Any) -> str:
    made = applied(*values, **fields)
    assert isinstance(made, NotTransformed)
    return f"{made.reason}: {made.words}"


def sent(*values: Any, **fields: Any) -> Transformed:
    made = applied(*values, **fields)
    assert isinstance(made, Transformed), made
    return made


def test_an_endpoint_that_asks_for_nothing_has_none() -> None:
    assert transformation_of(an_endpoint()) is None


def test_data_headers_and_query() -> None:
    transform = Transform(data="d", headers={"X-A.b": "h"}, query={"q.r": "p"})
    assert [each.text for each in Transformation(an_endpoint(transform=transform)).expressions] == ["d", "h", "p"]
    made = sent({"n": [1, 2.5, None]}, " é50%\r\nX: 1 ", True, transform=transform)
    assert made.event.payload == b'{"n":[1,2.5,null]}'
    assert made.additions.headers == (("X-A.b", "%20%C3%A950%25%0D%0AX: 1%20"),)
    assert made.additions.query == (("q.r", "true"),)
    assert (made.url, made.additions.target) == (None, None)


def test_other_content_becomes_json() -> None:
    event = an_event(payload=b"\x00\x01", content_type="image/png")
    made = sent("a text", event=event, transform=Transform(data="d"))
    assert (made.event.payload, made.event.content_type) == (b'"a text"', "application/json")


def test_the_data_themselves_are_sent_as_they_came() -> None:
    transform = Transform(data=" event.data ", headers={"X-A": "h"})
    assert [each.text for each in Transformation(an_endpoint(transform=transform)).expressions] == ["h"]
    assert sent(1, transform=transform).event.payload == b'{"a": 1}'
    assert sent(transform=Transform(data="event.data")).event.payload == b'{"a": 1}'


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((Failed(FailedBecause.ERROR, "no such field"), "", ""), "transform_failed: transform.data: no such field"),
        (({}, Failed(FailedBecause.WRONG_TYPE, "a map"), ""), "transform_failed: transform.headers.X-A: a map"),
        (({}, "", Failed(FailedBecause.TOO_LONG, "late")), "transform_failed: transform.query.q: late"),
        ((math.nan, "", ""), "transform_failed: transform.data: it came to something that JSON cannot hold"),
        (
            ([None, {"x": math.inf}], "", ""),
            "transform_failed: transform.data: it came to something that JSON cannot hold",
        ),
        ((object(), "", ""), "transform_failed: transform.data: it came to something that JSON cannot hold"),
        (({}, math.nan, ""), "transform_failed: transform.headers.X-A: it came to something that JSON cannot hold"),
        (({}, "", "x" * 1_025), "transform_failed: transform.query.q: it came to 1025 characters, more than 1024"),
        (
            ({}, "x" * (HEADER_BYTES_MAX + 1), ""),
            "transform_failed: transform.headers.X-A: it came to 4097 characters, more than 4096",
        ),
    ],
)
def test_what_it_says_where_it_fails(values: tuple[Any, ...], words: str) -> None:
    transform = Transform(data="d", headers={"X-A": "h"}, query={"q": "p"})
    assert refused(*values, transform=transform) == words


def test_what_could_not_be_evaluated_is_no_failure_of_the_event() -> None:
    for dynamic in (None, DynamicUrl(choose="c", among=AMONG, otherwise=WithoutUrl.URL)):
        values: list[Any] = ["x", Failed(FailedBecause.UNAVAILABLE, "it rests")][dynamic is not None :]
        values += [Failed(FailedBecause.UNAVAILABLE, "it rests")] if dynamic is not None else []
        with pytest.raises(NotEvaluated, match="it rests"):
            applied(
                *values, transform=Transform(headers={"A": "a"} | ({} if dynamic else {"B": "b"})), dynamic_url=dynamic
            )


def test_the_new_data_may_be_as_large_as_the_old_ones() -> None:
    transform = Transform(data="d")
    large = "x" * TRANSFORM_BYTES_MAX
    assert "more than the event's own" in refused(large, transform=transform)
    assert sent(large, transform=transform, event=an_event(payload=msgspec.json.encode(large)))
    assert sent(large[2:], transform=transform)


def test_the_new_data_satisfy_the_schema() -> None:
    schema = {
        "type": "object",
        "required": ["id"],
        "properties": {"id": {"type": "integer"}, "in": {"items": {"pattern": "^a"}}},
    }
    transform = Transform(data="d", schema=schema)
    assert sent({"id": 1}, transform=transform)
    for made, words in (
        ({}, "transform.schema: data: "),
        ({"id": "secret"}, "transform.schema: data.id: the value is not of type"),
        ({"id": 1, "in": ["a", "secret"]}, "transform.schema: data.in[1]: the value does not match"),
    ):
        told = refused(made, transform=transform)
        assert words in told
        assert "secret" not in told


def test_a_schema_alone_judges_the_events_own_data() -> None:
    transform = Transform(schema={"type": "object", "required": ["a"]})
    assert sent(transform=transform).event.payload == b'{"a": 1}'
    assert "data" in refused(transform=transform, event=an_event(payload=b"{}"))
    assert "no JSON" in refused(transform=transform, event=an_event(payload=b"x", content_type="text/plain"))


def many(count: int) -> dict[str, Any]:
    return {"anyOf": [{"const": place} for place in range(count // 2)]}


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "nothing"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/none"},
        {"$defs": {"a": {"properties": {"b": {"$ref": "#/$defs/a"}}}}, "$ref": "#/$defs/a"},
        {
            "$defs": {str(n): {"allOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)} | {"40": {}},
            "$ref": "#/$defs/0",
        },
        {"unevaluatedProperties": False},
        {"properties": {"a": {"$id": "other"}}},
        {"$dynamicRef": "#x"},
        {"pattern": "(?=a)b"},
        {"pattern": "((a{1,100}){1,100}){1,100}"},
        {"description": "x" * 20_000},
        many(TRANSFORM_SCHEMA_STEPS_MAX + 300),
    ],
)
def test_schemas_that_are_none_or_could_cost_too_much(schema: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as caught:
        DataSchema(schema, path="transform.schema")
    assert (caught.value.path, caught.value.code) == ("transform.schema", "invalid_schema")


def test_a_schema_may_refer_to_itself_where_that_ends() -> None:
    schema = DataSchema(
        {"$id": "https://example.com/s", "$defs": {"a/b": {"type": "integer"}}, "items": {"$ref": "#/$defs/a~1b"}},
        path="",
    )
    assert schema.fault_of([1, 2], 5) is None
    assert schema.fault_of([1, "x"], 7) == 'data[1]: the value is not of type "integer"'


def test_large_data_are_not_judged_by_a_large_schema() -> None:
    schema = DataSchema({"items": many(900)}, path="")
    fault = schema.fault_of([10_000] * 200_000, 1_000_000)
    assert fault is not None
    assert "too many" in fault


def test_a_url_that_is_chosen() -> None:
    dynamic = DynamicUrl(choose="c", among=AMONG)
    made = sent("eu", dynamic_url=dynamic)
    assert made.url == AMONG["eu"]
    assert made.additions.target is not None
    assert made.additions.target.host == "eu.example.com"
    assert refused("asia", dynamic_url=dynamic) == (
        "no_url: dynamic_url.choose: it came to a name that is not among the declared ones"
    )
    assert refused(Failed(FailedBecause.ERROR, "no such field"), dynamic_url=dynamic) == (
        "no_url: dynamic_url.choose: no such field"
    )


def test_the_endpoints_own_url_stands_where_it_was_said() -> None:
    for dynamic, values in (
        (DynamicUrl(choose="c", among=AMONG, otherwise=WithoutUrl.URL), ["asia"]),
        (DynamicUrl(template="https://{event.key}/", hosts=("*.example.com",), otherwise=WithoutUrl.URL), []),
    ):
        made = sent(*values, dynamic_url=dynamic)
        assert (made.url, made.additions.target) == (None, None)


def test_a_url_made_of_the_event_is_of_what_was_published() -> None:
    dynamic = DynamicUrl(template="https://example.com/{event.data.a}")
    made = sent({"a": 2}, dynamic_url=dynamic, transform=Transform(data="d"))
    assert (made.url, made.event.payload) == ("https://example.com/1", b'{"a":2}')
