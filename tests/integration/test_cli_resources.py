"""The resource commands, as a person runs them, against a whole server."""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands import COMMAND, PATIENCE_SECONDS, Served, environment, on_terminal, rows, run, running, served

from posthouse.cli.client import Client
from posthouse.cli.resources import RESOURCES

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
FLOW = (
    "rate_limit",
    "ordering",
    "on_exhausted",
    "max_age",
    "fallback_urls",
    "equal_urls",
    "balance",
    "batch",
    "format",
)


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """With a platform that has something of everything."""
    with served("--dev") as found, running("listen", "--port", "0", "--secret", SECRET) as target:
        url = target.until(r"listening on (http://\S+)/;")[1]
        reach = found.reach
        rows(run("event-types", "create", "order.created", "--description", "An order was created", **reach))
        rows(run("event-types", "create", "user_register", **reach))
        rows(run("apps", "create", "--uid", "acme", "--name", "Acme", "--metadata", '{"tier": 1}', **reach))
        rows(run("apps", "create", "--uid", "beta", **reach))
        made = run("endpoints", "create", f"{url}/hook", "--app", "acme", "--uid", "ledger", "--event", "order.*",
                   "--header", "X-Shop=42", "--secret", SECRET, **reach)  # fmt: skip
        assert rows(made)[0]["headers"] == {"X-Shop": "42"}
        rows(
            run(
                "grants", "add", "--app", "acme", "--type", "order.*", "--subject", "shop:*", "--uid", "orders", **reach
            )
        )
        inlet = ("--kind", "inbound", "--type", "user_register", "--settings", '{"verify": false}')
        rows(run("triggers", "create", "--uid", "inlet", *inlet, **reach))
        rows(run("schedules", "create", "--uid", "nightly", "--cron", "0 3 * * *", "--type", "user_register", **reach))
        yield found


@pytest.fixture
def client(server: Served) -> Client:
    return Client(server.reach["POSTHOUSE_URL"], server.reach["POSTHOUSE_KEY"])


def uncoloured(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", shown)


def until(found: Callable[[], Any], what: str) -> Any:
    """What `found` finds, once it is something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (value := found()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)
    return value


def test_an_event_addressed_by_grants_is_seen_everywhere(server: Served) -> None:
    reach = server.reach
    [accepted] = rows(
        run("trigger", "order.created", "--subject", "shop:42", "--data", "-", given='{"total": 9.50}', **reach)
    )
    assert accepted["apps"] == 1
    event = accepted["id"]
    [attempt] = until(lambda: rows(run("events", "attempts", event, **reach)), "the attempt")
    assert attempt["outcome"] == "delivered"
    [shown] = rows(run("events", "get", event, **reach))
    assert shown["data"] == {"total": 9.5}
    assert [route["state"] for route in shown["routes"]] == ["delivered"]
    assert event in [row["id"] for row in rows(run("events", "list", "--subject", "shop:42", **reach))]
    [of_app] = rows(
        run("attempts", "list", "--app", "acme", "--endpoint", "ledger", "--since", "1h", "--limit", "1", **reach)
    )
    assert of_app["id"] == attempt["id"]
    [detail] = rows(run("attempts", "get", attempt["id"], **reach))
    assert detail["request"]["method"] == "POST"
    resent = run("deliveries", "resend", event, "--app", "acme", "--endpoint", "ledger", **reach)
    assert resent.returncode == 0, resent.stderr
    assert "will be sent again" in resent.stderr
    until(lambda: len(rows(run("events", "attempts", event, **reach))) == 2, "the second attempt")
    [stats] = rows(run("endpoints", "stats", "ledger", "--app", "acme", **reach))
    assert stats["owed"] == 0


def test_what_was_sent_is_sent_again_as_a_job(server: Served) -> None:
    reach = server.reach
    words = ("replay", "ledger", "--app", "acme", "--since", "1h", "--select", "all", "--type", "order.*")
    dry = run(*words, "--dry-run", **reach)
    [counted] = rows(dry)
    assert counted["dry_run"]
    assert counted["selected"] >= 1
    assert re.search(rf"^{counted['selected']} events? would be sent again", dry.stderr, re.MULTILINE)
    watched = run(*words, **reach)
    [ended] = rows(watched)
    assert (ended["state"], ended["progress"]["sent"]) == ("finished", counted["selected"])
    assert f"{ended['id']}  finished  {counted['selected']} of {counted['selected']} sent" in watched.stderr
    code, shown = on_terminal(words, reach, width=120)
    assert code == 0, shown
    assert "finished" in shown
    assert f"{counted['selected']}/{counted['selected']}" in shown
    silent = run(*words, "--json", **reach)
    assert (silent.returncode, silent.stderr) == (0, "")
    app = ("--app", "acme")
    made = run(
        "replays", "create", "ledger", *app, "--since", "1h", "--select", "missing", "--type", "order.*", **reach
    )
    [started] = rows(made)
    assert "is under way" in made.stderr
    assert started["types"] == ["order.*"]
    until(lambda: rows(run("replays", "get", started["id"], *app, **reach))[0]["state"] == "finished", "the end")
    assert [row["id"] for row in rows(run("replays", "list", *app, "--limit", "1", **reach))] == [started["id"]]
    for verb in ("pause", "resume", "cancel"):
        told = run("replays", verb, started["id"], *app, **reach)
        assert told.returncode == 5
        assert "posthouse replays list --app acme" in told.stderr


def test_a_replay_that_does_not_get_on_is_told(server: Served) -> None:
    reach, app = server.reach, ("--app", "acme")
    url = rows(run("endpoints", "get", "ledger", *app, **reach))[0]["url"]
    rows(run("endpoints", "create", url, *app, "--uid", "shut", **reach))
    assert run("endpoints", "pause", "shut", *app, **reach).returncode == 0
    words = ("replay", "shut", *app, "--since", "1h", "--select", "missing")
    with running(*words, **reach) as watching:
        replay = watching.until(r"(rpl_\S+)  running  0 of 1 sent")[1]
        assert run("replays", "pause", replay, *app, **reach).returncode == 0
        watching.until("replays resume")
        assert watching.process.wait(PATIENCE_SECONDS) == 6
    assert rows(run("replays", "resume", replay, *app, **reach))[0]["state"] == "pending"
    assert rows(run("replays", "cancel", replay, *app, **reach))[0]["state"] == "cancelled"
    assert run("endpoints", "update", "shut", *app, "--no-enabled", **reach).returncode == 0
    refused = run(*words, **reach)
    assert refused.returncode == 5
    assert "endpoints update shut" in refused.stderr
    assert run("replay", "nobody", *app, "--since", "1h", **reach).returncode == 4
    assert run("replay", "ledger", *app, "--since", "yesterday", **reach).returncode == 2
    wrong = run("replay", "ledger", *app, "--since", "1h", "--until", "2h", **reach)
    assert wrong.returncode == 2
    assert "until" in wrong.stderr
    assert run("endpoints", "delete", "shut", *app, **reach).returncode == 0


def test_whom_an_event_would_reach_is_explained(server: Served) -> None:
    words = ("trigger", "order.created", "--subject", "shop:42", "--data", "{}", "--dry-run")
    before = rows(run("events", "list", "--all", **server.reach))
    [routing] = rows(run(*words, **server.reach))
    assert [one["uid"] for one in routing["reached"]] == ["acme"]
    code, shown = on_terminal(words, server.reach, width=100)
    assert code == 0
    assert "order.created about shop:42 would reach 1 endpoint of 1 app" in uncoloured(shown)
    assert "✓ ledger (ep_" in uncoloured(shown)
    _, shown = on_terminal(("trigger", "user_register", "--app", "acme", "--data", "{}", "--dry-run"), server.reach)
    assert "✗" in shown
    assert "order.*" in shown, "why not"
    assert rows(run("events", "list", "--all", **server.reach)) == before


def test_an_event_that_nobody_hears_of_says_what_to_do(server: Served) -> None:
    told = run("trigger", "user_register", "--data", "{}", **server.reach)
    assert rows(told)[0]["apps"] == 0
    assert "grants add" in told.stderr


def test_endpoints_are_looked_after(server: Served) -> None:
    reach = server.reach
    at = ("ledger", "--app", "acme")
    assert rows(run("endpoints", "pause", *at, **reach))[0]["paused"] is True
    assert rows(run("endpoints", "resume", *at, **reach))[0]["paused"] is False
    assert run("endpoints", "secret", *at, **reach).stdout == f"{SECRET}\n"
    assert rows(run("endpoints", "secret", *at, "--json", **reach))[0]["secret"] == SECRET
    told = run(
        "endpoints", "rotate-secret", *at, "--secret", SECRET.replace("Mf", "Xf"), "--overlap-seconds", "60", **reach
    )
    assert told.stdout.startswith("whsec_Xf")
    assert "sign until" in told.stderr
    run("endpoints", "rotate-secret", *at, "--secret", SECRET, "--overlap-seconds", "0", **reach)
    assert rows(run("endpoints", "update", *at, "--description", "books", **reach))[0]["description"] == "books"
    assert rows(run("endpoints", "update", *at, "--no-enabled", **reach))[0]["enabled"] is False
    assert rows(run("endpoints", "update", *at, "--enabled", **reach))[0]["enabled"] is True
    words = ("--rate-limit", '{"per_second": 5}', "--ordering", "key", "--on-exhausted", "block", "--max-age", "60")
    others = ("--fallback-url", "http://127.0.0.1:9/b", "--fallback-url", "http://127.0.0.1:9/c", "--format", "json")
    equal = ("--equal-urls", '[{"url": "http://127.0.0.1:9/d"}]', "--balance", "sticky", "--batch", '{"max_events": 9}')
    (flow,) = rows(run("endpoints", "update", *at, *words, *others, *equal, **reach))
    assert flow["rate_limit"] == {"per_second": 5.0, "burst": 5}
    assert (flow["ordering"], flow["on_exhausted"], flow["max_age"], flow["balance"]) == (
        "key",
        "block",
        60.0,
        "sticky",
    )
    assert flow["fallback_urls"] == ["http://127.0.0.1:9/b", "http://127.0.0.1:9/c"]
    assert (flow["equal_urls"][0]["weight"], flow["batch"]["max_events"]) == (1, 9)
    refused = run("endpoints", "update", *at, "--ordering", "none", **reach)
    assert (refused.returncode, "ordering" in refused.stderr) == (2, True)
    assert rows(run("endpoints", "update", *at, "--data", json.dumps(dict.fromkeys(FLOW)), **reach))[0]["batch"] is None
    revisions = rows(run("endpoints", "revisions", *at, **reach))
    assert [row["revision"] for row in revisions] == [4, 3, 2, 1]
    assert [row["uid"] for row in rows(run("endpoints", "list", "--enabled", "true", **reach))] == ["ledger"]
    told = run("endpoints", "verify", *at, **reach)
    assert (told.returncode, "handshake" in told.stderr) == (5, True)
    consent = {"handshake": {"steps": [{"kind": "options", "origin": "events.example.com"}]}}
    run("endpoints", "update", *at, "--data", json.dumps(consent), **reach)
    assert rows(run("endpoints", "verify", *at, **reach), 1)[0]["state"] == "unverified"
    gone = rows(run("endpoints", "update", *at, "--data", '{"handshake": null}', **reach))
    assert gone[0]["verification"] is None


def test_keys_of_endpoints(server: Served, tmp_path: Path) -> None:
    reach, at = server.reach, ("--app", "acme", "--endpoint", "ledger")
    (file := tmp_path / "key").write_text("from a file\n")
    for given in (("--value", f"@{file}"), ("--value", "from here", "--overlap-seconds", "60")):
        told = run("endpoints", "keys", "put", "legacy", *at, *given, **reach)
        assert "put legacy" in told.stderr
        assert "from" not in told.stdout + told.stderr
    (key,) = rows(run("endpoints", "keys", "list", *at, **reach))
    assert (key["name"], [one["version"] for one in key["versions"]]) == ("legacy", [2, 1])
    assert rows(run("endpoints", "get", "ledger", "--app", "acme", **reach))[0]["keys"] == ["legacy"]
    assert "deleted legacy" in run("endpoints", "keys", "delete", "legacy", *at, **reach).stderr
    told = run("endpoints", "keys", "delete", "legacy", *at, **reach)
    assert told.returncode == 4
    assert "posthouse endpoints keys list --app acme --endpoint ledger" in told.stderr


def test_every_change_is_in_the_audit(server: Served) -> None:
    made = run("keys", "create", "--name", "audited", "--app", "beta", **server.reach)
    assert re.fullmatch(r"ph_\w+\n", made.stdout), "the key alone, for $(…)"
    entries = rows(run("audit", "list", "--action", "key.", **server.reach))
    assert entries[0]["detail"].get("name", "audited") == "audited"
    key = rows(run("keys", "list", **server.reach))[0]
    assert key["name"] == "audited"
    assert key["scope"] == "app"
    assert run("keys", "revoke", key["id"], **server.reach).returncode == 0


def test_a_key_that_may_only_publish(server: Served) -> None:
    for more, reached, elsewhere in (((), 0, 0), (("--app", "acme"), 3, 4)):
        made = run("keys", "create", "--name", "orders", "--scope", "publish", *more, **server.reach)
        key = rows(run("keys", "list", **server.reach))[0]
        assert (key["scope"], key["app"] is not None) == ("publish", bool(more))
        own = server.reach | {"POSTHOUSE_KEY": made.stdout.strip()}
        event = ("trigger", "order.created", "--data", "{}")
        assert run(*event, "--app", "acme", **own).returncode == 0
        assert run(*event, **own).returncode == reached
        assert run(*event, "--app", "beta", **own).returncode == elsewhere
        for words in ((*event, "--app", "acme", "--dry-run"), ("apps", "list"), ("open",)):
            told = run(*words, **own)
            assert (told.returncode, told.stdout) == (3, "")
            assert "may publish events" in told.stderr
    told = run("keys", "create", "--scope", "root", **server.reach)
    assert (told.returncode, "publish" in told.stderr) == (2, True)


def test_lists_follow_cursors(server: Served, client: Client) -> None:
    for number in range(60):
        client.post("apps", body={"uid": f"many-{number}"})
    first = run("apps", "list", **server.reach)
    assert len(rows(first)) == 50
    assert "--all" in first.stderr
    every = run("apps", "list", "--all", **server.reach)
    assert len(rows(every)) == 64
    assert every.stderr == ""
    assert len(rows(run("apps", "list", "--limit", "55", **server.reach))) == 55
    assert len({row["id"] for row in client.rows("apps")}) == 64
    for number in range(60):
        client.delete("apps", f"many-{number}")


@pytest.mark.parametrize(
    ("words", "code", "next_step"),
    [
        (("apps", "get", "nobody"), 4, "posthouse apps list"),
        (("endpoints", "get", "none", "--app", "acme"), 4, "posthouse endpoints list --app acme"),
        (("endpoints", "get", "none", "--app", "nobody"), 4, "posthouse apps list"),
        (("apps", "create", "--uid", "acme"), 5, "posthouse apps list"),
        (("schedules", "create", "--every", "60", "--type", "none.such"), 4, "posthouse event-types list"),
        (("apps", "create", "--uid", "a b"), 2, "--help"),
        (("apps", "create", "--data", "{"), 2, "--data"),
        (("apps", "create", "--data", "[]"), 2, '{"name": "value"}'),
        (("apps", "list", "--limit", "many"), 2, "--limit"),
        (("apps", "get"), 2, "APP"),
        (("apps", "fetch"), 2, "get"),
        (("endpoints", "create", "http://10.0.0.1/x", "--app", "acme"), 2, "--allow-network"),
        (("events", "list", "--since", "yesterday"), 2, "2h"),
        (("trigger", "no.such.type", "--app", "acme", "--data", "{}"), 4, "posthouse event-types create"),
        (("trigger", "order.created", "--app", "nobody", "--data", "{}"), 4, "posthouse apps list"),
    ],
)
def test_every_error_names_the_next_step(server: Served, words: tuple[str, ...], code: int, next_step: str) -> None:
    told = run(*words, **server.reach)
    assert told.returncode == code, told.stderr
    assert next_step in told.stderr
    assert told.stdout == ""
    assert "Traceback" not in told.stderr


def test_the_server_refuses_in_the_language_of_the_reader(server: Served) -> None:
    told = run("apps", "get", "nobody", LC_ALL="zh_CN.UTF-8", **server.reach)
    assert told.returncode == 4
    assert told.stderr.splitlines() == [
        "posthouse: 没有应用 'nobody'",
        "  `posthouse apps list` shows those that there are",
    ]
    assert run("apps", "get", "nobody", **server.reach).stderr.startswith("posthouse: there is no app 'nobody'")


def test_keys_decide_what_may_be_done(server: Served) -> None:
    key = run("keys", "create", "--app", "acme", **server.reach).stdout.strip()
    own = server.reach | {"POSTHOUSE_KEY": key}
    assert [row["uid"] for row in rows(run("endpoints", "list", "--app", "acme", **own))] == ["ledger"]
    assert run("endpoints", "list", "--app", "beta", **own).returncode == 4, "another app is not there"
    refused = run("apps", "create", "--uid", "mine", **own)
    assert refused.returncode == 3
    assert "needs a key of scope admin" in refused.stderr
    assert "posthouse keys create" in refused.stderr
    unknown = run("apps", "list", **server.reach | {"POSTHOUSE_KEY": "ph_unknown_unknown_unknown"})
    assert unknown.returncode == 3
    assert "POSTHOUSE_KEY" in unknown.stderr
    by_flags = run("apps", "list", "--url", server.reach["POSTHOUSE_URL"], "--key", server.reach["POSTHOUSE_KEY"])
    assert by_flags.returncode == 0
    other_name = {"POSTHOUSE_URL": server.reach["POSTHOUSE_URL"], "POSTHOUSE_API_KEY": server.reach["POSTHOUSE_KEY"]}
    assert run("apps", "list", **other_name).returncode == 0


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize(
    "words",
    [
        ("apps", "list"),
        ("endpoints", "list"),
        ("event-types", "list"),
        ("grants", "list"),
        ("events", "list"),
        ("attempts", "list"),
        ("keys", "list"),
        ("audit", "list"),
        ("replays", "list", "--app", "acme"),
        ("apps", "get", "acme"),
        ("endpoints", "get", "ledger", "--app", "acme"),
    ],
)
def test_tables_fit_the_terminal_and_ids_stay_whole(server: Served, words: tuple[str, ...], width: int) -> None:
    code, shown = on_terminal(words, server.reach, width=width)
    assert code == 0, shown
    plain = uncoloured(shown)
    assert all(len(line) <= width for line in plain.splitlines() if "left out for want of room" not in line), plain
    assert "…" not in plain
    ids = {row["id"] for row in rows(run(*words, **server.reach)) if isinstance(row.get("id"), str)}
    assert all(found in plain for found in ids), plain


def test_colours_and_their_absence(server: Served) -> None:
    words = ("attempts", "list", "--outcome", "delivered", "--limit", "1")
    _, without = on_terminal(words, server.reach)
    _, coloured = on_terminal(words, server.reach | {"NO_COLOR": ""})
    assert "\x1b[32mdelivered" in coloured
    assert "\x1b[32m" not in without
    _, lines = on_terminal((*words, "--json"), server.reach)
    assert json.loads(lines.splitlines()[0])["outcome"] == "delivered"


def test_names_that_drive_a_terminal_are_made_harmless(server: Served, client: Client) -> None:
    client.post("apps", body={"uid": "evil", "name": "\x1b]0;owned\x07"})
    _, shown = on_terminal(("apps", "get", "evil"), server.reach)
    assert "\x1b]0;" not in shown
    client.delete("apps", "evil")


def test_a_reader_that_leaves_early_is_no_error(server: Served) -> None:
    command = " ".join([*COMMAND, "audit", "list", "--all"])
    told = subprocess.run(
        ["/bin/bash", "-c", f"{command} | head -n 1 >/dev/null"],
        env=environment(**server.reach),
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert "Traceback" not in told.stderr
    assert "Exception" not in told.stderr


@pytest.fixture(scope="module")
def found(server: Served) -> dict[str, str]:
    """One of everything that a command can be asked for."""

    def first(*words: str) -> str:
        return str(next(iter(rows(run(*words, "--limit", "1", **server.reach))))["id"])

    return {
        "app": "acme",
        "endpoint": "ledger",
        "event_type": "order.created",
        "grant": "orders",
        "event": first("events", "list", "--subject", "shop:42"),
        "attempt": first("attempts", "list"),
        "replay": first("replays", "list", "--app", "acme"),
        "schedule": "nightly",
        "trigger": "inlet",
        "profile": "meta",
    }


@pytest.mark.parametrize(
    ("resource", "verb"),
    [(resource.name, verb.name) for resource in RESOURCES for verb in resource.verbs if verb.method == "GET"],
)
def test_every_command_that_reads_is_answered(server: Served, found: dict[str, str], resource: str, verb: str) -> None:
    """Each route of the table is one of the server's: nothing is declared that does not exist."""
    declared = {(r.name, v.name): (r, v) for r in RESOURCES for v in r.verbs}[(resource, verb)]
    own = [found[place] for place in declared[1].places if place == declared[0].own]
    around = [word for place in declared[1].places if place != declared[0].own for word in (f"--{place}", found[place])]
    told = run(*resource.split(), verb, *own, *around, **server.reach)
    assert told.returncode == 0, told.stderr
    if declared[1].everywhere:
        assert run(*resource.split(), verb, *own, **server.reach).returncode == 0
