"""A CloudEvent in Posthouse's own words."""

from __future__ import annotations

import json
from contextlib import suppress
from datetime import UTC, datetime
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.domain.cloudevent import (
    CloudEvent,
    check,
    draft_fields,
    idempotency_of,
    is_traceparent,
    seconds_of,
)
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Draft
from posthouse.domain.ids import AppId, EventId
from posthouse.domain.limits import IDEMPOTENCY_KEY_LENGTH_MAX, URL_LENGTH_MAX
from posthouse.intake.parse import check_idempotency_key

TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def event(**extensions: str) -> CloudEvent:
    return CloudEvent(type="a.b", source="/s", id="1", payload=b"{}", extensions=extensions)


def test_every_part_has_its_place() -> None:
    whole = CloudEvent(
        type="a.b",
        source="/s",
        id="1",
        subject="shop:42",
        time="2018-04-05T17:31:00Z",
        datacontenttype="text/plain",
        dataschema="https://example.com/s",
        payload=b"text",
        content_type="text/plain",
        extensions={
            "partitionkey": "k",
            "expirytime": "2026-01-02T03:04:05.5+08:00",
            "traceparent": TRACEPARENT,
            "tracestate": "a=b",
            "other": "5",
        },
    )
    draft = Draft(id=EventId(bytes(16)), app_id=AppId(bytes(16)), **draft_fields(whole))
    assert (draft.type, draft.source, draft.subject, draft.key) == ("a.b", "/s", "shop:42", "k")
    assert (draft.payload, draft.content_type, draft.traceparent) == (b"text", "text/plain", TRACEPARENT)
    assert draft.expires_at == datetime(2026, 1, 1, 19, 4, 5, 500_000, UTC).timestamp()
    assert json.loads(draft.attributes or b"") == {
        "id": "1",
        "time": "2018-04-05T17:31:00Z",
        "dataschema": "https://example.com/s",
        "tracestate": "a=b",
        "other": "5",
    }


def test_what_is_not_there_stays_away() -> None:
    fields = draft_fields(event())
    assert (fields["subject"], fields["key"], fields["expires_at"], fields["traceparent"]) == (None,) * 4
    assert json.loads(fields["attributes"] or b"") == {"id": "1"}


def test_a_traceparent_that_is_none_is_an_attribute_like_any_other() -> None:
    fields = draft_fields(event(traceparent="nonsense"))
    assert fields["traceparent"] is None
    assert json.loads(fields["attributes"] or b"") == {"id": "1", "traceparent": "nonsense"}


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        (TRACEPARENT, True),
        (TRACEPARENT.upper(), False),
        (TRACEPARENT + "-x", False),
        ("01" + TRACEPARENT[2:] + "-x", True),
        ("ff" + TRACEPARENT[2:], False),
        ("00-" + "0" * 32 + "-00f067aa0ba902b7-01", False),
        ("00-4bf92f3577b34da6a3ce929d0e0e4736-" + "0" * 16 + "-01", False),
        ("", False),
    ],
)
def test_traceparents(text: str, valid: bool) -> None:
    assert is_traceparent(text) is valid


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-01T00:00:00Z", 0.0),
        ("1970-01-01t00:00:00.25z", 0.25),
        ("1970-01-01T08:00:00+08:00", 0.0),
        ("1969-12-31T23:30:00-00:30", 0.0),
        ("2016-12-31T23:59:60Z", 1483228800.0),
        ("0001-01-01T00:00:00+23:59", -62135683140.0),
        ("9999-12-31T23:59:60-23:59", 253402387140.0),
        ("0000-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:61Z", None),
        ("1970-01-01T00:00:00+24:00", None),
        ("1970-01-01T00:00:00.Z", None),
        ("1970-1-1T00:00:00Z", None),
        ("１970-01-01T00:00:00Z", None),
        ("1970-01-01T00:00:00Z\n", None),
    ],
)
def test_timestamps_are_those_of_rfc_3339(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == seconds


@given(st.datetimes(min_value=datetime(1970, 1, 2)))
def test_a_time_is_read_as_it_was_written(time: datetime) -> None:
    aware = time.replace(tzinfo=UTC)
    assert seconds_of(aware.isoformat()) == pytest.approx(aware.timestamp(), abs=1e-5)


identifiers = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=300)
sources = st.from_regex(r"[a-z:/%0-9]{1,300}", fullmatch=True)


@given(sources, identifiers, sources, identifiers)
def test_an_idempotency_key_stands_for_one_event(source: str, event_id: str, source_2: str, event_id_2: str) -> None:
    key = idempotency_of(source, event_id)
    check_idempotency_key(key)
    assert len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX
    assert key == idempotency_of(source, event_id)
    assert (key == idempotency_of(source_2, event_id_2)) is ((source, event_id) == (source_2, event_id_2))


def test_source_and_id_do_not_run_into_each_other() -> None:
    assert idempotency_of("a", "b c") != idempotency_of("a%20b", "c")
    assert idempotency_of("sha256:" + "0" * 64, "x") != idempotency_of("s" * 300, "x")
    assert len({idempotency_of("s" * 300, "x"), idempotency_of("s" * 301, "x"), idempotency_of("s" * 300, "y")}) == 3


@pytest.mark.parametrize(
    "text", ["a:" * 1_024, "//" + "[" * 2_000 + "{", "%41" * 600 + "%", "a?" * 1_000 + "{", "#" * 2_000]
)
def test_no_source_takes_long_to_look_at(text: str) -> None:
    started = perf_counter()
    with suppress(Invalid):
        check(CloudEvent(type="a", source=text[:URL_LENGTH_MAX], id="1", payload=b""), prefix="")
    assert perf_counter() - started < 0.5
