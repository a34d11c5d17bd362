"""`posthouse apply`: make the server's configuration what files say."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import note, printable, terminal
from posthouse.cli.progress import bar
from posthouse.cli.verbs import Json, Key, Url

if TYPE_CHECKING:
    from posthouse.cli.platform.declared import Item
    from posthouse.cli.platform.plan import Change
    from posthouse.cli.platform.run import Result

SIGNS: Final = {"create": ("+", "green"), "update": ("~", "yellow"), "delete": ("-", "red")}
DONE: Final = {"create": "created", "update": "changed", "delete": "deleted"}
VALUE_LENGTH_MAX: Final = 120


def apply(
    *,
    file: Annotated[list[str], Parameter(name=["--file", "-f"], negative="", allow_leading_hyphen=True)],
    dry_run: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    prune: Annotated[bool, Parameter(negative="", show_default=False)] = False,
    url: Url = None,
    api_key: Key = None,
    json_wanted: Json = False,
) -> int:
    """Make the server's configuration what YAML files say: event types, apps, their grants and endpoints.

    The plan goes to standard output: + is made, ~ is changed, - is deleted. Applying the same files again changes nothing.
    What a file leaves out of an entry has its default; whole lists that it leaves out are left alone. Exit code 6: some of
    the changes were made, and others were not.

    Parameters
    ----------
    file
        A file, a folder of .yaml files, or - for standard input; may be repeated.
    dry_run
        Show the plan and change nothing.
    prune
        Delete what the files do not hold, out of the lists that they do hold; never what has no uid.
    """
    from posthouse.cli.platform.declared import declared
    from posthouse.cli.platform.documents import read
    from posthouse.cli.platform.plan import counted, plan
    from posthouse.cli.platform.remote import profiles_of, state_for

    documents = read(file)
    client = Client(url, api_key)
    files = declared(documents, profiles_of(client))
    if not files.sections:
        note("there is nothing in these files; `posthouse export` shows how they look")
    made = plan(files, state_for(client, files, prune=prune), prune=prune)
    if not json_wanted:
        show_plan(made.changes)
    for item, why in made.impossible:
        note(f"✗ {item}: {why} ({item.place})")
    note(counted(made.changes))
    if dry_run or not made.changes:
        if json_wanted:
            for change in made.changes:
                print(json.dumps(change_row(change), ensure_ascii=False))
        return 1 if made.impossible else 0
    return carry_out(client, made.changes, made.impossible, json_wanted=json_wanted)


def carry_out(
    client: Client, changes: Sequence[Change], impossible: Sequence[tuple[Item, str]], *, json_wanted: bool
) -> int:
    """Make the changes, and tell of each; the exit code."""
    from posthouse.cli.main import PARTIAL, exit_code
    from posthouse.cli.platform.run import run

    results = []
    with bar("applying", len(changes), json_wanted=json_wanted) as shown:
        for result in run(client, changes):
            results.append(result)
            _tell(result, shown.line)
            shown.at(len(results), len(changes))
            if json_wanted:
                row = change_row(result.change) | {"result": result.became}
                print(json.dumps(row | ({"told": result.told} if result.told else {}), ensure_ascii=False), flush=True)
    counts = {became: sum(result.became == became for result in results) for became in ("done", "failed", "skipped")}
    bad = counts["failed"] + len(impossible)
    if not bad:
        return 0
    note(f"{counts['done']} done, {bad} failed, {counts['skipped']} skipped")
    note("put right what failed and run it again: what is done already will not be done twice")
    if counts["done"]:
        return PARTIAL
    first = next((result.error for result in results if result.error), None)
    return exit_code(first)


def _tell(result: Result, say: Callable[[str], None]) -> None:
    change = result.change
    match result.became:
        case "done":
            say(f"✓ {DONE[change.action]} {change}" + (f" ({result.told})" if result.told else ""))
        case "failed":
            at = f" ({change.item.place})" if change.item else ""
            say(f"✗ {change}: {result.told}{at}")
            for step in getattr(result.error, "__notes__", ()):
                say(f"  {step}")
        case _:
            say(f"- skipped {change}: {result.told}")


def show_plan(changes: Sequence[Change]) -> None:
    """The plan as a patch is shown; in colour on a terminal."""
    if not changes:
        return
    from rich.text import Text

    console = terminal()

    def say(line: str, style: str = "") -> None:
        if sys.stdout.isatty():
            console.print(Text(printable(line), style=style), soft_wrap=True)
        else:
            print(printable(line))

    for change in changes:
        sign, style = SIGNS[change.action]
        say(f"{sign} {change}", f"bold {style}")
        for field in change.fields:
            if change.action == "create":
                say(f"    {field.path}: {_value(field.new)}", style)
            else:
                say(f"    {field.path}: {_value(field.old)} → {_value(field.new)}", style)
    sys.stdout.flush()


def _value(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, list):
        value = [int(one) if isinstance(one, float) and one.is_integer() else one for one in value]
    text = "(none)" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    text = json.dumps(text, ensure_ascii=False) if text != text.strip() or "\n" in text or not text else text
    return text if len(text) <= VALUE_LENGTH_MAX else f"{text[: VALUE_LENGTH_MAX - 1]}…"


def change_row(change: Change) -> dict[str, Any]:
    """A change as a line of JSON."""
    row: dict[str, Any] = {"action": change.action, "kind": change.kind.name, "app": change.app or None}
    row["reference"] = change.reference
    row["fields"] = [field._asdict() for field in change.fields]
    return row
