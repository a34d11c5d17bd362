"""`posthouse apply` and `export` against a whole server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.commands import Served, on_terminal, rows, run, served

from posthouse.cli.client import Client
from posthouse.cli.platform.declared import declared
from posthouse.cli.platform.documents import parse
from posthouse.cli.platform.plan import plan
from posthouse.cli.platform.remote import state_for
from posthouse.cli.platform.run import run as make_true
from posthouse.domain.errors import NotFound

PLATFORM = """
event_types:
  - name: order.created
    description: An order was created
    schema: {type: object, properties: {total: {type: string}}}
    examples: [{total: "9.00"}]
  - name: user_register
apps:
  - uid: acme
    name: Acme 阿克梅
    metadata: {tier: 1}
    quotas: {endpoints_max: 5}
    grants:
      - {uid: orders, types: [order.*], subjects: ["shop:*"], expires_at: 2090-01-01T00:00:00Z}
    endpoints:
      - uid: ledger
        url: https://93.184.215.14/ledger
        events: [order.*]
        headers: {X-Shop: "42"}
        retry: {schedule: [5, 300]}
      - uid: mailer
        url: https://93.184.215.14/mailer
        retry: {exponential: {base: 5, factor: 2, max: 3600, attempts: 10}}
        timeouts: {total: 30}
  - uid: beta
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        yield found


@pytest.fixture
def client(server: Served) -> Iterator[Client]:
    """A client of a server without configuration."""
    found = Client(server.reach["POSTHOUSE_URL"], server.reach["POSTHOUSE_KEY"])
    yield found
    for app in apps_of(found):
        found.delete("apps", app["id"])
    for event_type in list(found.rows("event-types")):
        found.delete("event-types", event_type["name"])


def apps_of(client: Client) -> list[dict[str, Any]]:
    """All but the operators' own."""
    return [app for app in client.rows("apps") if app["uid"] not in ("operations", "platform")]


def signs(text: str) -> list[str]:
    """The lines of a plan that name a thing."""
    return [line for line in text.splitlines() if re.match(r"[+~-] ", line)]


def put(folder: Path, text: str, name: str = "platform.yaml") -> str:
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def applied(server: Served, *words: str, given: str | None = None, code: int = 0) -> tuple[list[str], str]:
    """What apply planned, and what it said beside."""
    told = run("apply", *words, given=given, **server.reach)
    assert told.returncode == code, told.stdout + told.stderr
    assert "Traceback" not in told.stderr
    return signs(told.stdout), told.stderr


def test_a_file_becomes_a_configuration_and_a_second_time_nothing(
    server: Served, client: Client, tmp_path: Path
) -> None:
    file = put(tmp_path, PLATFORM)
    whole = [
        "+ event type order.created",
        "+ event type user_register",
        "+ app acme",
        "+ app beta",
        "+ grant acme/orders",
        "+ endpoint acme/ledger",
        "+ endpoint acme/mailer",
    ]
    # Event types of an earlier test are archived; those come back rather than are made.
    planned, _ = applied(server, "-f", file, "--dry-run")
    assert [line.replace("~ event", "+ event") for line in planned] == whole
    assert apps_of(client) == [], "a dry run changes nothing"

    planned, told = applied(server, "-f", file)
    assert [line.replace("~ event", "+ event") for line in planned] == whole
    assert "✓ created endpoint acme/ledger" in told
    assert client.get("apps", "acme")["quotas"]["endpoints_max"] == 5
    assert client.get("apps", "acme", "grants", "orders")["expires_at"] == "2090-01-01T00:00:00.000Z"
    ledger = client.get("apps", "acme", "endpoints", "ledger")
    assert ledger["retry"]["schedule"] == [5, 300]
    assert ledger["headers"] == {"X-Shop": "42"}
    assert client.get("event-types", "order.created")["schema"]["properties"] == {"total": {"type": "string"}}

    planned, told = applied(server, "-f", file)
    assert planned == []
    assert "nothing to change" in told
    assert client.get("apps", "acme", "endpoints", "ledger")["revision"] == ledger["revision"]


def test_changes_are_told_value_by_value_and_secrets_stay(server: Served, client: Client, tmp_path: Path) -> None:
    applied(server, "-f", put(tmp_path, PLATFORM))
    secret = client.get("apps", "acme", "endpoints", "ledger", "secret")["secret"]
    changed = PLATFORM.replace("schedule: [5, 300]", "schedule: [1, 2, 3]").replace(
        '        headers: {X-Shop: "42"}\n', ""
    )
    file = put(tmp_path, changed.replace("total: {type: string}", "total: {type: number}").replace('"9.00"', "9"))
    told = run("apply", "-f", file, **server.reach)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [
        "~ event type order.created",
        '    examples: [{"total": "9.00"}] → [{"total": 9}]',
        "    schema.properties.total.type: string → number",
        "~ endpoint acme/ledger",
        "    headers.X-Shop: 42 → (none)",
        "    retry.schedule: [5, 300] → [1, 2, 3]",
    ]
    ledger = client.get("apps", "acme", "endpoints", "ledger")
    assert ledger["headers"] == {}, "what a file leaves out has its default"
    assert ledger["retry"]["schedule"] == [1, 2, 3]
    assert client.get("apps", "acme", "endpoints", "ledger", "secret")["secret"] == secret
    assert applied(server, "-f", file)[0] == []


def test_an_endpoint_disabled_by_hand_stays_so_unless_the_file_says_otherwise(
    server: Served, client: Client, tmp_path: Path
) -> None:
    applied(server, "-f", put(tmp_path, PLATFORM))
    client.ask("PATCH", ("apps", "acme", "endpoints", "mailer"), body={"enabled": False})
    applied(server, "-f", put(tmp_path, PLATFORM.replace("total: 30", "total: 20")))
    assert client.get("apps", "acme", "endpoints", "mailer")["enabled"] is False
    applied(server, "-f", put(tmp_path, PLATFORM.replace("- uid: mailer", "- uid: mailer\n        enabled: true")))
    assert client.get("apps", "acme", "endpoints", "mailer")["enabled"] is True


def test_what_is_exported_changes_nothing_and_makes_it_anew(server: Served, client: Client, tmp_path: Path) -> None:
    applied(server, "-f", put(tmp_path, PLATFORM))
    # Things without a uid, and one of every doubtful kind.
    client.post("apps", body={"name": "no uid"})
    client.post(
        "apps", "beta", "endpoints", body={"url": "https://93.184.215.14/x", "metadata": {"a": None, "b": [1.5]}}
    )
    client.post("apps", "beta", "grants", body={"types": ["*"], "subjects": ["*"]})
    client.ask("PATCH", ("apps", "acme", "endpoints", "mailer"), body={"enabled": False, "retry": {"jitter": 0.3}})
    flow = {
        "rate_limit": {"per_second": 2.5, "burst": 3},  # which is the default of the burst
        "ordering": "key",
        "on_exhausted": "block",
        "batch": {"max_events": 10, "max_wait_ms": 200},
        "equal_urls": [{"url": "https://93.184.215.14/second", "weight": 2}],
        "balance": "sticky",
        "fallback_urls": ["https://93.184.215.14/third"],
        "max_age": 3600,
        "format": "cloudevents",
    }
    client.ask("PATCH", ("apps", "acme", "endpoints", "ledger"), body=flow)
    out = tmp_path / "exported.yaml"
    told = run("export", "-o", str(out), **server.reach)
    assert told.returncode == 0, told.stderr
    text = out.read_text("utf-8")
    assert "whsec_" not in text
    assert "secret" not in text
    assert "阿克梅" in text, "text stays legible"
    assert "per_second: 2.5" in text
    assert "burst" not in text, "it is the default"
    assert applied(server, "-f", str(out), "--prune")[0] == []
    assert run("export", **server.reach).stdout == text, "the same each time"

    one = run("export", "--app", "acme", **server.reach).stdout
    assert "event_types" not in one
    for app in apps_of(client):
        client.delete("apps", app["id"])
    planned, _ = applied(server, "-f", "-", given=one)
    assert planned == ["+ app acme", "+ grant acme/orders", "+ endpoint acme/ledger", "+ endpoint acme/mailer"]
    assert run("export", "--app", "acme", **server.reach).stdout == one
    assert client.get("apps", "acme", "endpoints", "mailer")["enabled"] is False
    made = client.get("apps", "acme", "endpoints", "ledger")
    assert {name: made[name] for name in flow} == flow | {"batch": made["batch"]}
    assert made["batch"] == {"max_events": 10, "max_bytes": 262_144, "max_wait_ms": 200}


def test_pruning_deletes_what_the_files_do_not_hold(server: Served, client: Client, tmp_path: Path) -> None:
    applied(server, "-f", put(tmp_path, PLATFORM))
    nameless = client.post("apps", "acme", "endpoints", body={"url": "https://93.184.215.14/x"})
    less = """
event_types: [{name: order.created}]
apps:
  - uid: acme
    endpoints: [{uid: ledger, url: "https://93.184.215.14/ledger"}]
"""
    file = put(tmp_path, less)
    assert not [line for line in applied(server, "-f", file, "--dry-run")[0] if line.startswith("-")]
    planned, _ = applied(server, "-f", file, "--prune")
    gone = ["- endpoint acme/mailer", "- app beta", "- event type user_register"]
    assert [line for line in planned if line.startswith("-")] == gone
    assert planned[-3:] == gone, "deletions come last"
    assert [app["uid"] for app in apps_of(client)] == ["acme"]
    assert client.get("apps", "acme", "grants", "orders")["types"] == ["order.*"], "grants are not spoken of"
    assert client.get("apps", "acme", "endpoints", nameless["id"])["uid"] is None, (
        "what has no uid is nobody's to prune"
    )
    assert client.get("event-types", "user_register")["archived"] is True
    assert applied(server, "-f", file, "--prune")[0] == []

    planned, _ = applied(server, "-f", put(tmp_path, PLATFORM))
    assert "~ event type user_register" in planned, "archived, it comes back"
    assert client.get("event-types", "user_register")["archived"] is False


def test_several_files_folders_and_documents(server: Served, client: Client, tmp_path: Path) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    put(folder, "event_types: [{name: a.b}]\n---\napps: [{uid: one}]\n", "1.yaml")
    put(folder, "apps: [{uid: two}]", "2.yml")
    other = put(tmp_path, "apps: [{uid: three}]", "other.yaml")
    planned, _ = applied(server, "-f", str(folder), "-f", other)
    assert [line for line in planned if "app" in line] == ["+ app one", "+ app two", "+ app three"]


def test_what_is_wrong_is_told_with_its_place_and_nothing_is_done(
    server: Served, client: Client, tmp_path: Path
) -> None:
    file = put(tmp_path, "apps:\n  - uid: fine\n  - uid: bad\n    endpoints:\n      - {uid: e, url: ftp://x.example}\n")
    told = run("apply", "-f", file, **server.reach)
    assert told.returncode == 2
    assert f"{file}:5:18: apps[bad].endpoints[e].url: " in told.stderr
    assert apps_of(client) == []


def test_partial_failure_says_what_was_done(server: Served, client: Client, tmp_path: Path) -> None:
    """A target that the server's guard refuses, which no file can show by itself."""
    text = """
apps:
  - uid: acme
    endpoints:
      - {uid: inside, url: "http://10.0.0.1/hook"}
      - {uid: outside, url: "https://93.184.215.14/hook"}
"""
    file = put(tmp_path, text)
    told = run("apply", "-f", file, **server.reach)
    assert told.returncode == 6, told.stderr
    assert "✗ endpoint acme/inside: url: " in told.stderr
    assert f"({file}:5:9)" in told.stderr
    assert "✓ created endpoint acme/outside" in told.stderr
    assert "2 done, 1 failed, 0 skipped" in told.stderr
    again = run("apply", "-f", file, "--json", **server.reach)
    assert again.returncode == 2, "nothing was done, so the exit code is that of the failure"
    assert [(row["reference"], row["result"]) for row in map(_decoded, again.stdout.splitlines())] == [
        ("inside", "failed")
    ]


def test_what_belongs_to_an_app_that_failed_is_skipped(server: Served, client: Client, tmp_path: Path) -> None:
    text = """
apps:
  - uid: greedy
    quotas: {endpoints_max: -1}
    endpoints: [{uid: e, url: "https://93.184.215.14/hook"}]
  - uid: modest
"""
    told = run("apply", "-f", put(tmp_path, text), **server.reach)
    assert told.returncode == 6, told.stderr
    assert "- skipped endpoint greedy/e" in told.stderr
    assert "1 done, 1 failed, 1 skipped" in told.stderr


def test_whoever_changed_it_meanwhile_is_not_overwritten(server: Served, client: Client) -> None:
    """Between the plan and its execution, and between two readings."""

    def planned(text: str) -> Any:
        documents, problems = parse(text, "p.yaml")
        assert problems == []
        files = declared(documents)
        return plan(files, state_for(client, files, prune=False)).changes

    assert [result.became for result in make_true(client, planned("apps: [{uid: a, name: first}]"))] == ["done"]
    late = planned("apps: [{uid: a, name: second}, {uid: b}]")
    client.ask("PATCH", ("apps", "a"), body={"name": "somebody's"})
    client.post("apps", body={"uid": "b", "name": "somebody's too"})
    results = list(make_true(client, late))
    assert [result.became for result in results] == ["failed", "failed"]
    assert [type(result.error).__name__ for result in results] == ["Conflict", "Conflict"]
    assert {app["name"] for app in apps_of(client)} == {"somebody's", "somebody's too"}


def test_a_change_between_reading_and_writing_is_caught_by_the_etag(server: Served, client: Client) -> None:
    client.post("apps", body={"uid": "a", "name": "first"})
    documents, _ = parse("apps: [{uid: a, name: second}]", "p.yaml")
    files = declared(documents)
    changes = plan(files, state_for(client, files, prune=False)).changes

    class Racing(Client):
        """Somebody else is faster once: after the last look, before the change."""

        def ask(self, method: str, path: tuple[str, ...], **more: Any) -> Any:
            if method == "PUT":
                client.ask("PATCH", ("apps", "a"), body={"name": "somebody's"})
            return super().ask(method, path, **more)

    racing = Racing(server.reach["POSTHOUSE_URL"], server.reach["POSTHOUSE_KEY"])
    [result] = make_true(racing, changes)
    assert result.became == "failed"
    assert client.get("apps", "a")["name"] == "somebody's"


def test_what_has_an_id_only_is_changed_by_it(server: Served, client: Client, tmp_path: Path) -> None:
    app = client.post("apps", body={"name": "old"})
    endpoint = client.post("apps", app["id"], "endpoints", body={"url": "https://93.184.215.14/x", "concurrency": 3})
    text = f"""
apps:
  - id: {app["id"]}
    name: new
    endpoints:
      - {{id: {endpoint["id"]}, url: "https://93.184.215.14/y"}}
"""
    planned, _ = applied(server, "-f", put(tmp_path, text))
    assert planned == [f"~ app {app['id']}", f"~ endpoint {app['id']}/{endpoint['id']}"]
    found = client.get("apps", app["id"], "endpoints", endpoint["id"])
    assert (found["url"], found["concurrency"]) == ("https://93.184.215.14/y", 16)
    client.delete("apps", app["id"])
    _, told = applied(server, "-f", put(tmp_path, text), code=1)
    assert "there is none with this id here" in told
    with pytest.raises(NotFound):
        client.get("apps", app["id"])


def test_without_a_server_or_a_key(tmp_path: Path) -> None:
    file = put(tmp_path, PLATFORM)
    assert run("apply", "-f", file, POSTHOUSE_URL="http://127.0.0.1:9", POSTHOUSE_KEY="ph_x").returncode == 7
    assert run("apply", "-f", file, POSTHOUSE_URL="http://127.0.0.1:9").returncode == 3
    assert run("apply").returncode == 2


def test_the_plan_on_a_terminal_is_coloured_and_piped_it_is_not(server: Served, client: Client, tmp_path: Path) -> None:
    file = put(tmp_path, PLATFORM)
    plain = run("apply", "-f", file, "--dry-run", **server.reach)
    assert "\x1b" not in plain.stdout
    code, shown = on_terminal(["apply", "-f", file, "--dry-run"], server.reach)
    assert code == 0
    assert "\x1b[32m" not in shown, "NO_COLOR is set"
    code, shown = on_terminal(["apply", "-f", file, "--dry-run"], server.reach | {"NO_COLOR": ""})
    assert "\x1b[1;32m+ app acme" in shown
    assert rows(run("apply", "-f", file, "--dry-run", "--json", **server.reach))[2]["action"] == "create"


def _decoded(line: str) -> dict[str, Any]:
    import json

    found: dict[str, Any] = json.loads(line)
    return found


def test_an_endpoint_of_a_profile_is_declared_by_its_name_and_what_differs(
    server: Served, client: Client, tmp_path: Path
) -> None:
    text = """
apps:
  - uid: isv
    endpoints:
      - {uid: e, url: "https://93.184.215.14/hook", profile: wecom, profile_settings: {corp_id: ww1}, headers: {X: "1"}}
"""
    told = run("apply", "-f", put(tmp_path, text), **server.reach)
    assert told.returncode == 0, told.stderr
    assert re.search(r'isv/e \(its profile.s keys, which are not shown again: {"token": "', told.stderr)
    there = client.get("apps", "isv", "endpoints", "e")
    assert there["encryption"]["frame"] == {"owner": "ww1"}
    assert there["headers"] == {"X": "1"}
    again = run("apply", "-f", put(tmp_path, text), **server.reach)
    assert "nothing" in again.stderr, again.stderr
    exported = yaml.safe_load(run("export", **server.reach).stdout)
    (endpoint,) = exported["apps"][0]["endpoints"]
    assert endpoint == {
        "uid": "e",
        "url": "https://93.184.215.14/hook",
        "profile": "wecom",
        "profile_settings": {"corp_id": "ww1"},
        "headers": {"X": "1"},
    }
    wrong = run("apply", "-f", put(tmp_path, text.replace("wecom", "wecon")), **server.reach)
    assert wrong.returncode != 0
    assert "there is no profile 'wecon'" in wrong.stderr
