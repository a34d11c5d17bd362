"""YAML, strictly, with the place of each error."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.cli.platform.declared import Declared, declared
from posthouse.cli.platform.documents import NODES_MAX, parse, read, shown, steps
from posthouse.domain.errors import Invalid


def of(text: str) -> Declared:
    documents, problems = parse(text, "p.yaml")
    assert problems == []
    return declared(documents)


def refusal(text: str) -> list[str]:
    """What is said about a text, line by line."""
    documents, problems = parse(text, "p.yaml")
    if problems:
        return [str(problem) for problem in problems]
    with pytest.raises(Invalid) as raised:
        declared(documents)
    return str(raised.value).splitlines()


def test_a_whole_file() -> None:
    found = of(
        """
event_types:
  - name: order.created
apps:
  - uid: acme
    name: Acme
    grants:
      - {uid: orders, types: [order.*], subjects: ["shop:*"]}
    endpoints:
      - uid: ledger
        url: https://example.com/hook
---
apps:
  - uid: beta
"""
    )
    assert [item.key for item in found.items] == [
        ("event type", "", "order.created"),
        ("app", "", "acme"),
        ("grant", "acme", "orders"),
        ("endpoint", "acme", "ledger"),
        ("app", "", "beta"),
    ]
    assert found.sections == {("event_types", ""), ("apps", ""), ("grants", "acme"), ("endpoints", "acme")}
    assert [str(item.place) for item in found.items][:2] == ["p.yaml:3:5", "p.yaml:5:5"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "p.yaml:1:5: not YAML: expected the node content, but found '<stream end>'"),
        ("a: 1\na: 2\n", "p.yaml:2:1: a is there twice"),
        (
            "apps: !!python/object:os.system []",
            "p.yaml:1:7: apps: the tag tag:yaml.org,2002:python",
        ),
        ("- 1\n", "p.yaml:1:1: should be a mapping with event_types and apps"),
        ("app: []\n", "p.yaml:1:1: app: this field is not known; did you mean apps?"),
        ("triggers: []\n", "p.yaml:1:1: triggers: triggers are no part of a file, since their settings hold secrets"),
        ("schedules: []\n", "p.yaml:1:1: schedules: schedules are no part of a file"),
        ("apps: {}\n", "p.yaml:1:1: apps: should be a list: each entry begins with a dash"),
        ("apps:\n  - acme\n", "p.yaml:2:5: apps[0]: should be a mapping"),
        ("apps:\n  - name: A\n", "p.yaml:2:5: apps[0]: has no uid; give it one, so that it can be found again"),
        ("apps:\n  - uid: 7\n", "p.yaml:2:5: apps[0].uid: should be text"),
        ("apps:\n  - {uid: a, nmae: A}\n", "p.yaml:2:14: apps[a].nmae: this field is not known; did you mean name?"),
        ("apps:\n  - uid: a\n  - uid: a\n", "p.yaml:3:5: apps[a]: is declared twice; the other one is at p.yaml:2:5"),
        ("apps:\n  - {uid: a, name: 3}\n", "p.yaml:2:14: apps[a].name: should be a valid string"),
        ("apps:\n  - {id: nonsense}\n", "p.yaml:2:6: apps[0].id: is no id of this kind"),
        ("apps:\n  - {uid: a b}\n", "p.yaml:2:6: apps[0].uid: a uid is 1 to"),
        (
            "apps:\n  - uid: a\n    endpoints:\n      - uid: e\n        url: https://x.example\n"
            "        retry: {schedule: [1, -5]}\n",
            "p.yaml:6:31: apps[a].endpoints[e].retry.schedule[1]: must be more than 0",
        ),
        (
            "apps:\n  - uid: a\n    endpoints:\n      - uid: e\n",
            "p.yaml:4:9: apps[a].endpoints[e].url: this field is missing",
        ),
        (
            "apps:\n  - uid: a\n    endpoints:\n      - {uid: e, url: 'https://x.example', secret: whsec_x}\n",
            "p.yaml:4:44: apps[a].endpoints[e]: a secret does not belong in a file",
        ),
        (
            "apps:\n  - uid: a\n    grants:\n      - {uid: g, types: order.*, subjects: ['*']}\n",
            "p.yaml:4:18: apps[a].grants[g].types: should be an array",
        ),
        ("event_types:\n  - name: a b\n", "p.yaml:2:5: event_types[0].name:"),
        ("event_types: &a\n  - *a\n", "p.yaml:1:14: event_types[0]: contains itself"),
        ("apps:\n  - {<<: {uid: a}}\n", "p.yaml:2:6: apps[0]: merge keys are not understood"),
        ("1: 2\n", "p.yaml:1:1: a name is text"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(text: str, told: str) -> None:
    found = refusal(text)
    assert any(line.startswith(told) for line in found), found


def test_everything_wrong_is_told_at_once() -> None:
    assert len(refusal("apps:\n  - {uid: a, nmae: A}\n  - {uid: b, metadata: 3}\n  - {}\n")) == 3


def test_a_bomb_is_refused() -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))
    [told] = refusal(f"l0: &l0 [x]\n{levels}\n")
    assert str(NODES_MAX) in told


def test_times_are_text() -> None:
    found = of("apps:\n  - uid: a\n    metadata: {since: 2027-01-01T00:00:00Z, day: 2027-01-01}\n")
    assert found.items[0].view["metadata"] == {"since": "2027-01-01T00:00:00Z", "day": "2027-01-01"}


def test_folders_and_missing_files(tmp_path: Path) -> None:
    (tmp_path / "b.yml").write_text("apps: [{uid: b}]")
    (tmp_path / "a.yaml").write_text("apps: [{uid: a}]")
    (tmp_path / "notes.txt").write_text("no")
    assert [item.reference for item in declared(read([str(tmp_path)])).items] == ["a", "b"]
    with pytest.raises(Invalid, match="cannot be read"):
        read([str(tmp_path / "none.yaml")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(Invalid, match=r"no \.yaml"):
        read([str(tmp_path / "empty")])


def test_what_two_files_declare_twice_is_told_with_both_places(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("apps: [{uid: same}]")
    with pytest.raises(Invalid) as raised:
        declared(read([str(tmp_path)]))
    assert "b.yaml:1:8" in str(raised.value)
    assert "a.yaml:1:8" in str(raised.value)


def test_paths_read_back() -> None:
    assert steps("retry.schedule[2]") == ("retry", "schedule", 2)
    assert shown(("retry", "schedule", 2)) == "retry.schedule[2]"
    assert steps("") == ()
