"""`posthouse tail`: events and attempts as they come, a line each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import Parameter

from posthouse.cli.verbs import Json, Key, Url
from posthouse.domain.errors import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from rich.text import Text

    from posthouse.cli.client import Client
    from posthouse.cli.sse import Block

OUTCOMES: Final = ("delivered", "failed", "gave_up")
KINDS: Final = ("events", "attempts")
APPS_NAMED_MAX: Final = 1_000
REMEMBERED_MAX: Final = 100  # messages: a stream that is taken up tells a few again
ENDPOINT_LENGTH_MAX: Final = 48


def tail(
    *,
    app: str | None = None,
    type: Annotated[list[str] | None, Parameter(negative="")] = None,
    outcome: Annotated[list[str] | None, Parameter(negative="")] = None,
    kinds: str | None = None,
    url: Url = None,
    key: Key = None,
    json_output: Json = False,
) -> None:
    """Show events and attempts as they come, a line each, until Ctrl-C.

    A line has the time, what happened, the app, the event type, and of an attempt its endpoint, status and milliseconds.
    Piped, or with --json, a line is what the API tells, with `kind` in front: event or attempt.

    Where the connection breaks off, it is taken up again where it was; standard error says so.

    Parameters
    ----------
    app
        Only of this app: id or uid.
    type
        Only of these event types, such as order.*; may be repeated.
    outcome
        Only attempts that ended so: delivered, failed or gave_up; may be repeated.
    kinds
        What to show: events, attempts, or both, separated by a comma (default: both; with --outcome, attempts).
    """
    import signal

    from posthouse.cli.client import Client
    from posthouse.cli.follow import Follower
    from posthouse.cli.output import note, plural

    for one in outcome or ():
        if one not in OUTCOMES:
            raise Invalid(f"--outcome is one of {', '.join(OUTCOMES)}, and not {one[:80]!r}")
    asked = (("attempts" if outcome else "events,attempts") if kinds is None else kinds).split(",")
    if not set(asked) <= set(KINDS):
        raise Invalid("--kinds is events, attempts, or both, separated by a comma")
    if outcome and "attempts" not in asked:
        raise Invalid("--outcome is of attempts, which --kinds leaves out")

    client = Client(url, key)
    query = {"kinds": ",".join(asked)}
    if app is not None:
        query["app"] = app
    if type:
        query["types"] = ",".join(type)
    shown = Tail(printer(client, json_wanted=json_output), outcomes=frozenset(outcome or OUTCOMES))
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # even where the shell had it ignored
    try:
        Follower(client, query, shown.take, lost="is not shown").run()
    except KeyboardInterrupt:
        note(f"\n{plural(shown.events, 'event')}, {plural(shown.attempts, 'attempt')}")


class Head(msgspec.Struct):
    """What is looked at of every message."""

    id: str
    outcome: str = ""


_head: Final = msgspec.json.Decoder(Head)


class Tail:
    """Prints the messages of a stream, each once."""

    def __init__(self, show: Callable[[str, bytes], None], *, outcomes: frozenset[str]) -> None:
        self._show = show
        self._outcomes = outcomes
        self._seen = dict[str, None]()
        self.events = 0
        self.attempts = 0

    def take(self, block: Block) -> None:
        if block.event not in ("event", "attempt") or block.data is None:
            return
        found = _head.decode(block.data)
        if found.id in self._seen:
            return
        self._seen[found.id] = None
        if len(self._seen) > REMEMBERED_MAX:
            del self._seen[next(iter(self._seen))]
        if block.event == "attempt":
            if found.outcome not in self._outcomes:
                return
            self.attempts += 1
        else:
            self.events += 1
        self._show(block.event, block.data)


def printer(client: Client, *, json_wanted: bool) -> Callable[[str, bytes], None]:
    """What prints a message: as JSON as it came, every digit kept, or as a line for people."""
    from posthouse.cli.output import as_json, terminal

    if as_json(json_wanted):

        def print_json(kind: str, data: bytes) -> None:
            print(f'{{"kind":"{kind}",{data.decode()[1:]}', flush=True)

        return print_json

    import json

    console, names = terminal(), Names(client)

    def print_line(kind: str, data: bytes) -> None:
        row = json.loads(data)
        console.print(line(kind, row, names.of(row.get("app"))), soft_wrap=True)

    return print_line


class Names:
    """What apps are called: their uid, else their id. Asked for once each; where there is no answer, the id does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known = dict[str, str]()

    def of(self, app: str | None) -> str:
        from posthouse.domain.errors import PosthouseError

        if app is None:
            return "-"
        name = self._known.get(app)
        if name is None:
            if len(self._known) >= APPS_NAMED_MAX:
                self._known.clear()
            try:
                name = str(self._client.get("apps", app).get("uid") or app)
            except PosthouseError:
                name = app
            self._known[app] = name
        return name


def line(kind: str, row: dict[str, Any], app: str) -> Text:
    """An event or an attempt, for people. What strangers wrote does not drive the terminal."""
    from datetime import datetime

    from rich.text import Text

    from posthouse.cli.output import COLOURS, printable

    def said(value: object) -> str:
        return printable(str(value)).replace("\n", " ")

    at = datetime.fromisoformat(row["created_at" if kind == "event" else "started_at"]).astimezone()
    text = Text()
    text.append(f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}", style="dim")
    if kind == "event":
        text.append("  published ", style="cyan")
        text.append(f"  {said(app):<16}  {said(row['type']):<24}  {said(row['id'])}")
        if row.get("subject"):
            text.append(f"  {said(row['subject'])}", style="dim")
        return text
    outcome = str(row["outcome"])
    shown = "gave up" if outcome == "gave_up" else outcome
    text.append(f"  {said(shown):<10}", style=COLOURS.get(outcome, ""))
    text.append(f"  {said(app):<16}  {said(row['type'] or '-'):<24}  {_endpoint(said(row['url']))}")
    status = str(row["status"]) if row["status"] is not None else said(row["reason"])
    text.append(f"  {status}", style=COLOURS.get(outcome, ""))
    if row["sent"]:
        text.append(f"  {row['timings']['total_ms']:.0f} ms")
    if row["attempt"] > 1:
        text.append(f"  try {row['attempt']}", style="dim")
    if row["status"] is not None and outcome != "delivered":
        text.append(f"  {said(row['reason'])}", style="dim")
    return text


def _endpoint(url: str) -> str:
    """Without the scheme and the query, and not too long."""
    text = url.partition("://")[2].partition("?")[0] or url
    return text if len(text) <= ENDPOINT_LENGTH_MAX else f"{text[: ENDPOINT_LENGTH_MAX - 1]}…"
