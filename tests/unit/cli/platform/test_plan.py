"""The difference between files and a server."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.cli.platform.declared import Declared, declared
from posthouse.cli.platform.documents import parse
from posthouse.cli.platform.kinds import APP, ENDPOINT_KIND, EVENT_TYPE, GRANT, Kind
from posthouse.cli.platform.plan import Plan, There, counted, plan
from posthouse.domain.ids import format_id, uuid7

URL = "https://example.com/hook"
EP_ID = format_id("ep", uuid7(1, 1))
APP_ID = format_id("app", uuid7(1, 2))


def of(text: str) -> Declared:
    documents, problems = parse(text, "p.yaml")
    assert problems == []
    return declared(documents)


def there(kind: Kind, app: str, **body: Any) -> There:
    """As a server shows it: what is not given has its default."""
    required: dict[str, Any] = {name: body[name] for name in ("url", "types", "subjects") if name in body}
    return There(kind, app, kind.view(required) | {"id": "id", "uid": None} | body)


def planned(text: str, *things: There, prune: bool = False) -> list[str]:
    return told(plan(of(text), {thing.key: thing for thing in things}, prune=prune))


def told(made: Plan) -> list[str]:
    signs = {"create": "+", "update": "~", "delete": "-"}
    return [
        f"{signs[change.action]} {change}"
        + "".join(f" {field.path}:{field.old!r}>{field.new!r}" for field in change.fields if change.action == "update")
        for change in made.changes
    ]


ACME = """
apps:
  - uid: acme
    name: Acme
    endpoints:
      - {uid: ledger, url: "https://example.com/hook", retry: {schedule: [5, 300]}}
"""


def test_what_is_not_there_is_made_in_the_order_in_which_it_depends() -> None:
    text = ACME + "    grants: [{uid: g, types: ['*'], subjects: ['*']}]\nevent_types: [{name: a.b}]\n"
    assert planned(text) == ["+ event type a.b", "+ app acme", "+ grant acme/g", "+ endpoint acme/ledger"]


def test_what_is_as_declared_is_left_alone() -> None:
    app = there(APP, "", uid="acme", name="Acme")
    retry: dict[str, Any] = {"schedule": [5.0, 300.0], "exponential": None, "jitter": 0.1, "by_type": {}}
    assert planned(ACME, app, there(ENDPOINT_KIND, "acme", uid="ledger", url=URL, retry=retry)) == []


def test_a_change_is_told_value_by_value() -> None:
    app = there(APP, "", uid="acme", name="Old", metadata={"tier": 1})
    endpoint = there(ENDPOINT_KIND, "acme", uid="ledger", url=URL, concurrency=3)
    assert planned(ACME, app, endpoint) == [
        "~ app acme metadata.tier:1>None name:'Old'>'Acme'",
        "~ endpoint acme/ledger concurrency:3>16 retry.schedule:[5.0, 300.0, 1800.0, 7200.0, 18000.0, 36000.0, 50400.0, "
        "72000.0, 86400.0]>[5.0, 300.0]",
    ]


def test_an_endpoint_that_the_server_disabled_is_not_woken() -> None:
    gone = there(ENDPOINT_KIND, "acme", uid="ledger", url=URL, enabled=False, disabled_reason="gone")
    text = "apps: [{uid: acme, endpoints: [{uid: ledger, url: 'https://example.com/hook'%s}]}]"
    app = there(APP, "", uid="acme")
    assert planned(text % "", app, gone) == []
    assert planned(text % ", enabled: true", app, gone) == ["~ endpoint acme/ledger enabled:False>True"]


def test_times_and_numbers_are_compared_by_what_they_mean() -> None:
    text = "apps: [{uid: a, grants: [{uid: g, types: ['*'], subjects: ['*'], expires_at: 2027-01-01T01:00:00+01:00}]}]"
    grant = there(GRANT, "a", uid="g", types=["*"], subjects=["*"], expires_at="2027-01-01T00:00:00.000Z")
    assert planned(text, there(APP, "", uid="a"), grant) == []


PRUNABLE = (
    there(EVENT_TYPE, "", name="old.type"),
    there(EVENT_TYPE, "", name="older.type", archived=True),
    there(APP, "", uid="acme"),
    there(APP, "", uid="other"),
    there(APP, "", uid=None, id=APP_ID),
    there(ENDPOINT_KIND, "acme", uid="old", url=URL),
    there(ENDPOINT_KIND, "acme", uid=None, id=EP_ID, url=URL),
    there(GRANT, "acme", uid="old", types=["*"], subjects=["*"]),
)


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        (
            "event_types: []\napps: [{uid: acme, grants: [], endpoints: []}]",
            ["- endpoint acme/old", "- grant acme/old", "- app other", "- event type old.type"],
        ),
        ("apps: [{uid: acme, endpoints: []}]", ["- endpoint acme/old", "- app other"]),
        ("apps: [{uid: acme}]", ["- app other"]),
        ("event_types: []", ["- event type old.type"]),
    ],
)
def test_pruning_deletes_what_has_a_uid_out_of_the_lists_that_are_declared(text: str, gone: list[str]) -> None:
    assert planned(text, *PRUNABLE, prune=True) == gone
    assert planned(text, *PRUNABLE) == []


def test_what_has_an_id_only_is_changed_and_never_made() -> None:
    text = f"apps: [{{uid: acme, endpoints: [{{id: {EP_ID}, url: '{URL}', concurrency: 2}}]}}]"
    app = there(APP, "", uid="acme")
    assert planned(text, app, there(ENDPOINT_KIND, "acme", id=EP_ID, url=URL)) == [
        f"~ endpoint acme/{EP_ID} concurrency:16>2"
    ]
    made = plan(of(text), {app.key: app})
    assert told(made) == []
    assert [item.reference for item, _ in made.impossible] == [EP_ID]


def test_an_archived_event_type_that_is_declared_comes_back() -> None:
    assert planned("event_types: [{name: a}]", there(EVENT_TYPE, "", name="a", archived=True)) == [
        "~ event type a archived:True>False"
    ]


def test_the_plan_is_counted() -> None:
    made = plan(of(ACME), {})
    assert counted(made.changes) == "2 to create"
    assert counted([]) == "nothing to change"
