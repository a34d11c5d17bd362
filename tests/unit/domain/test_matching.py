"""Filters: their dialects against the specification's words, and what may be stored of them."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes import an_event

from posthouse.domain.configuration import read
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.expression import Expression, Failed, FailedBecause, Outcome, Use, Value
from posthouse.domain.filters import Dialect, Filters
from posthouse.domain.limits import FILTER_ATTRIBUTES_MAX, FILTER_DEPTH_MAX, FILTER_DIALECTS_MAX, FILTERS_MAX
from posthouse.domain.matching import Attributes, Condition, Verdict, check_filters, refused_by

FAILED = Failed(FailedBecause.ERROR, "no such field")
OUTCOMES: dict[str, Outcome] = {"yes": Value(True), "no": Value(False), "broken": FAILED, "number": Value(1)}

names = st.sampled_from(["type", "subject", "source", "key", "partitionkey", "region", "nothere"])
texts = st.sampled_from(["order.created", "order", "created", "eu", "e", "u", "shop:1", "/checkout"])
maps = st.dictionaries(names, texts, min_size=1, max_size=2)
leaves = st.one_of(
    maps.map(lambda m: Dialect(exact=m)), maps.map(lambda m: Dialect(prefix=m)), maps.map(lambda m: Dialect(suffix=m)),
    st.sampled_from(["yes", "no"]).map(lambda text: Dialect(cel=text)),
)  # fmt: skip
dialects = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda several: Dialect(all=tuple(several))),
        st.lists(inner, min_size=1, max_size=3).map(lambda several: Dialect(any=tuple(several))),
        inner.map(lambda one: Dialect(not_=one)),
    ),
    max_leaves=6,
)
events = st.builds(
    lambda subject, key, source, attributes: msgspec.structs.replace(
        an_event(1), subject=subject, key=key, source=source, attributes=attributes
    ),
    st.none() | st.just("shop:1"),
    st.none() | st.just("eu"),
    st.none() | st.just("/checkout"),
    st.none() | st.sampled_from([b'{"region":"eu"}', b'{"region":"order.created","subject":"eu"}']),
)


def attributes_of(event: Event) -> dict[str, str]:
    """The attributes of an event as the guide lists them."""
    found = {"type": event.type, "datacontenttype": event.content_type}
    found |= {n: v for n, v in (("subject", event.subject), ("source", event.source), ("key", event.key)) if v}
    if event.key:
        found["partitionkey"] = event.key
    return msgspec.json.decode(event.attributes or b"{}", type=dict[str, str]) | found


def plainly(dialect: Dialect, has: dict[str, str]) -> bool:
    """The specification, word for word."""
    if dialect.exact is not None:
        return all(name in has and has[name] == text for name, text in dialect.exact.items())
    if dialect.prefix is not None:
        return all(name in has and has[name].startswith(text) for name, text in dialect.prefix.items())
    if dialect.suffix is not None:
        return all(name in has and has[name].endswith(text) for name, text in dialect.suffix.items())
    if dialect.all is not None:
        return all(plainly(each, has) for each in dialect.all)
    if dialect.any is not None:
        return any(plainly(each, has) for each in dialect.any)
    if dialect.not_ is not None:
        return not plainly(dialect.not_, has)
    return dialect.cel == "yes"


def judge(event: Event, *filters: Dialect, filter: str = "", by_app: tuple[str, ...] = ()) -> Verdict:
    condition = Condition(EndpointConfig(url="", filter=filter, filters=filters, by_app=by_app))
    return condition.judge(Attributes(event), {e: OUTCOMES[e.text] for e in condition.expressions})


@given(st.lists(dialects, max_size=3), st.sampled_from(["", "yes", "no"]), events)
def test_the_dialects_mean_what_the_specification_says(filters: list[Dialect], filter: str, event: Event) -> None:
    has = attributes_of(event)
    passes = all(plainly(each, has) for each in filters) and filter != "no"
    assert judge(event, *filters, filter=filter) is passes
    config = EndpointConfig(url="", filter=filter, filters=tuple(filters))
    outcomes = {Expression(text, Use.FILTER): outcome for text, outcome in OUTCOMES.items()}
    assert (refused_by(config, Attributes(event), outcomes) is None) is passes


@given(st.lists(dialects, min_size=1, max_size=3))
def test_filters_are_stored_and_read_again(filters: list[Dialect]) -> None:
    written = msgspec.to_builtins(tuple(filters))
    assert read(written, Filters, "filters") == tuple(filters)


def test_what_has_no_value_decides_only_what_nothing_else_does() -> None:
    """Three values, as in SQL: each operator is what it would be for both values that the failed one might have had."""
    event = an_event(1)
    for left, right in product(["yes", "no", "broken"], repeat=2):
        pair = (Dialect(cel=left), Dialect(cel=right))
        both = judge(event, Dialect(all=pair))
        either = judge(event, Dialect(any=pair))
        assert both == (False if "no" in (left, right) else FAILED if "broken" in (left, right) else True)
        assert either == (True if "yes" in (left, right) else FAILED if "broken" in (left, right) else False)
    assert judge(event, Dialect(not_=Dialect(cel="broken"))) == FAILED
    assert isinstance(judge(event, filter="number"), Failed)
    assert judge(event, Dialect(exact={"type": "other"}), filter="broken") is False


def test_the_id_is_that_of_the_cloudevent() -> None:
    event = an_event(1)
    assert judge(event, Dialect(prefix={"id": "evt_"})) is True
    as_cloudevent = msgspec.structs.replace(event, attributes=b'{"id":"A-1","type":"shadow"}')
    assert judge(as_cloudevent, Dialect(exact={"id": "A-1"})) is True
    assert judge(as_cloudevent, Dialect(exact={"type": "shadow"})) is False, "its own type is not hidden"


def test_a_condition_says_what_its_expressions_are() -> None:
    filters = (Dialect(any=(Dialect(cel="yes"), Dialect(cel="no"))), Dialect(cel="yes"))
    condition = Condition(EndpointConfig(url="", filter="yes", filters=filters, by_app=("filters",)))
    assert condition.expressions == (
        Expression("yes", Use.FILTER, True), Expression("no", Use.FILTER, True), Expression("yes", Use.FILTER, False),
    )  # fmt: skip
    assert (condition.by_app, condition.personal, condition.mixed) == (True, False, True)
    assert Condition(EndpointConfig(url="", filter="endpoint.id == event.data.to")).personal
    assert not Condition(EndpointConfig(url="", filter="event.data.endpoints > 1")).personal


def nested(depth: int) -> Dialect:
    return Dialect(not_=nested(depth - 1)) if depth > 1 else Dialect(cel="yes")


@pytest.mark.parametrize(
    ("filters", "path", "says"),
    [
        ((Dialect(),), "filters[0]", "exactly one"),
        ((Dialect(cel="a"), Dialect(cel="a", exact={"type": "a"})), "filters[1]", "this one has exact, cel"),
        ((Dialect(not_=Dialect(cel="a"), cel="a"),), "filters[0]", "this one has not, cel"),
        ((Dialect(exact={}),), "filters[0].exact", "at least one attribute"),
        ((Dialect(all=()),), "filters[0].all", "at least one filter"),
        ((Dialect(any=(Dialect(not_=Dialect(suffix={"": "a"})),)),), "filters[0].any[0].not.suffix", "name"),
        ((Dialect(prefix={"type": ""}),), "filters[0].prefix.type", "1 to"),
        ((Dialect(prefix={"a\x00": "b"}),), "filters[0].prefix", "control"),
        ((Dialect(cel=""),), "filters[0].cel", "empty"),
        ((Dialect(exact={str(n): "a" for n in range(FILTER_ATTRIBUTES_MAX + 1)}),), "filters[0].exact", "no more than"),
        ((nested(FILTER_DEPTH_MAX + 1),), "filters[0]" + ".not" * FILTER_DEPTH_MAX, "deep"),
        ((Dialect(cel="a"),) * (FILTERS_MAX + 1), "filters", "at most"),
        (
            (Dialect(any=(Dialect(cel="a"),) * FILTER_DIALECTS_MAX),),
            f"filters[0].any[{FILTER_DIALECTS_MAX - 1}]",
            "more",
        ),
    ],
)
def test_what_may_not_be_stored(filters: Filters, path: str, says: str) -> None:
    with pytest.raises(Invalid) as raised:
        check_filters(filters)
    assert raised.value.path == path
    assert says in str(raised.value)


def test_the_largest_that_may_be_stored() -> None:
    check_filters(
        (nested(FILTER_DEPTH_MAX), Dialect(any=(Dialect(cel="a"),) * (FILTER_DIALECTS_MAX - FILTER_DEPTH_MAX - 1)))
    )
