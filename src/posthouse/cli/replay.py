"""`posthouse replay`: send past events again, and watch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Annotated, Any, Final

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.main import PARTIAL
from posthouse.cli.output import note, plural, show_record
from posthouse.cli.progress import bar, wanted
from posthouse.cli.verbs import Json, Key, Url, instant
from posthouse.domain.errors import Conflict, NotFound

POLL_SECONDS: Final = 0.5
FAILED: Final = 1


def replay(
    endpoint: str,
    /,
    *,
    app: str,
    since: str,
    until: str | None = None,
    select: str = "failed",
    event_type: Annotated[list[str] | None, Parameter(name="--type", negative="")] = None,
    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    url: Url = None,
    api_key: Key = None,
    json_wanted: Json = False,
) -> int:
    """Send past events to an endpoint again, and show how far it is until everything was tried.

    It runs on the server: Ctrl-C ends the watching, not the replay. On a terminal a bar shows how far it is, else lines on
    standard error do; with --json nothing. Exit code 0: everything was tried; 1: it failed or was
    cancelled; 6: it was paused.

    Parameters
    ----------
    endpoint
        To this endpoint: id or uid.
    app
        The endpoint's app: id or uid.
    since
        Events from this time on: 2026-11-24T22:00:00Z, or as long ago: 30m, 2h, 7d.
    until
        Events before this time, given likewise (default: now).
    select
        failed (the last attempt gave up), missing (never tried) or all.
    event_type
        Only of these event types: order.created, order.*; may be repeated.
    dry_run
        Change nothing; say how many events it would be.
    """
    now = time.time()
    body: dict[str, Any] = {"endpoint": endpoint, "since": instant(since, "--since", now=now), "select": select}
    if until is not None:
        body["until"] = instant(until, "--until", now=now)
    if event_type:
        body["types"] = event_type
    client = Client(url, api_key)
    try:
        query = {"dry_run": "true"} if dry_run else None
        made = client.ask("POST", ("apps", app, "replays"), body=body, query=query).body
    except NotFound as error:
        listed = "apps" if error.code == "app_not_found" else f"endpoints list --app {app}"
        error.add_note(f"`posthouse {listed}{' list' if listed == 'apps' else ''}` shows those that there are")
        raise
    except Conflict as error:
        error.add_note(
            f"`posthouse endpoints update {endpoint} --app {app} --enabled` enables it"
            if error.code == "endpoint_disabled"
            else f"`posthouse replays list --app {app}` shows those that there are"
        )
        raise
    if dry_run:
        least = "" if made["exact"] else "at least "
        note(f"{least}{plural(made['selected'], 'event')} would be sent again; nothing was changed")
        show_record(made, json_wanted=json_wanted)
        return 0
    ended = watch(lambda: client.get("apps", app, "replays", made["id"]), made, json_wanted=json_wanted)
    show_record(ended, json_wanted=json_wanted)
    match ended["state"]:
        case "finished":
            return 0
        case "paused":
            note(f"it is paused; `posthouse replays resume {ended['id']} --app {app}` lets it go on")
            return PARTIAL
        case _:
            return FAILED


def watch(look: Callable[[], dict[str, Any]], found: dict[str, Any], *, json_wanted: bool = False) -> dict[str, Any]:
    """Look again and again, with a bar or with lines on stderr, until it ends or is paused; as it is then."""
    in_lines = not json_wanted and not wanted(json_wanted=json_wanted)
    told = ""
    try:
        with bar(bar_text(found), json_wanted=json_wanted) as shown:
            while True:
                progress = found["progress"]
                total = progress["selected"] if found["state"] == "finished" else progress["total"]
                shown.at(progress["sent"], total, told=bar_text(found), eta_seconds=found["eta_seconds"])
                line = progress_line(found)
                if in_lines and line != told:
                    note(line)
                    told = line
                if found["state"] not in ("pending", "running"):
                    return found
                time.sleep(POLL_SECONDS)
                found = look()
    except KeyboardInterrupt:
        note(f"{found['id']} goes on; `posthouse replays cancel {found['id']} --app {found['app']}` ends it")
        raise


def bar_text(found: dict[str, Any]) -> str:
    """`rpl_…  running (behind_another)`."""
    return f"{found['id']}  {found['state']}" + (f" ({found['reason']})" if found["reason"] else "")


def progress_line(found: dict[str, Any]) -> str:
    """How far a replay is, in a line: `rpl_…  running  120 of about 480 sent, 12 s left`."""
    progress, eta = found["progress"], found["eta_seconds"]
    total = progress["total"]
    known = found["state"] == "finished" or total == progress["selected"]
    of = "" if total is None else f" of {'' if known else 'about '}{total}"
    left = f", {eta:.0f} s left" if eta and found["state"] == "running" else ""
    return f"{bar_text(found)}  {progress['sent']}{of} sent{left}"
