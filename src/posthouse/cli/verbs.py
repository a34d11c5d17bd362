"""What a command on a resource of the API is: declared as data, and made into a command of the program.

`resources.py` holds the declarations. A verb's path names its arguments: `apps/{app}/endpoints/{endpoint}`. The resource's own
thing is given as it is (`posthouse endpoints get ledger`), everything around it by name (`--app acme`).
"""

from __future__ import annotations

import inspect
import re
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import parse_qsl

import cyclopts
from cyclopts import Parameter

from posthouse.cli import exact
from posthouse.cli.client import Client
from posthouse.cli.output import Column, as_json, note, show, show_record
from posthouse.domain.errors import Conflict, Invalid, NotFound, PosthouseError
from posthouse.domain.limits import PAGE_ROWS

Kind = Literal["text", "number", "whole", "flag", "texts", "pairs", "json", "time", "deadline", "secret"]

_TYPES: Final[Mapping[Kind, Any]] = {
    "text": str,
    "number": float,
    "whole": int,
    "flag": bool,
    "texts": list[str],
    "pairs": list[str],
    "json": str,
    "time": str,
    "deadline": str,
    "secret": str,
}
_PLACE: Final = re.compile(r"{(\w+)}")
_SPAN: Final = re.compile(r"(\d+)([smhd])\Z")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}

SERVER: Final = cyclopts.Group("Server", sort_key=9)
Url = Annotated[
    str | None, Parameter(group=SERVER, help="The server (default: POSTHOUSE_URL, else http://127.0.0.1:8080).")
]
Key = Annotated[
    str | None, Parameter(name="--key", group=SERVER, help="The API key to ask with (default: POSTHOUSE_KEY).")
]
Json = Annotated[bool, Parameter(name="--json", negative="", group=SERVER, help="Lines of JSON, even on a terminal.")]


@dataclass(frozen=True)
class Option:
    """A flag: a field of the body, or of the query where the verb reads. `field` is its name there."""

    name: str
    help: str
    kind: Kind = "text"
    field: str = ""
    positional: bool = False
    required: bool = False

    @property
    def key(self) -> str:
        return self.field or self.name.replace("-", "_")


@dataclass(frozen=True)
class Variant:
    """A flag with which a verb asks for something else: at another path, of whose answer this field's texts are printed, each
    as a statement; or all of it as ever."""

    flag: str
    help: str
    path: str
    prints: str = ""

    @property
    def argument(self) -> str:
        return f"variant_{self.flag.replace('-', '_')}"


@dataclass(frozen=True)
class Verb:
    """One request. `everywhere` is its path where no --app is given, for lists that the whole platform has, too.

    `reveal` names a field that is printed alone, fit for `$(…)`; `prints` one whose texts are, each as a statement. `done` is
    what stderr hears afterwards; where it is `quiet` that is all that a person is told. `body` completes what the flags gave.
    `fails` says of an answer that it is a no: what was tried did not work, and the exit code is 1.
    """

    name: str
    help: str
    path: str
    method: str = "GET"
    everywhere: str = ""
    options: tuple[Option, ...] = ()
    columns: tuple[Column, ...] = ()
    takes_data: bool = False
    reveal: str = ""
    done: str = ""
    quiet: bool = False
    body: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    prints: str = ""
    variant: Variant | None = None
    fails: Callable[[dict[str, Any]], bool] | None = None

    @property
    def lists(self) -> bool:
        return bool(self.columns)

    @property
    def has_body(self) -> bool:
        return self.method != "DELETE" and bool(self.options or self.takes_data)

    @property
    def places(self) -> list[str]:
        return _PLACE.findall(self.path)


@dataclass(frozen=True)
class Resource:
    """A group of commands. `own` is the placeholder of its thing; `places` says what each placeholder is. A name of two words
    is that of a group in a group: `endpoints keys`."""

    name: str
    help: str
    own: str
    verbs: tuple[Verb, ...]
    places: Mapping[str, str]


def build(resource: Resource, *within: Resource) -> cyclopts.App:
    """The commands of a resource, and of those within it."""
    app = cyclopts.App(name=resource.name.split()[-1], help=resource.help, help_format="plaintext")
    for verb in resource.verbs:
        app.command(_command(resource, verb), name=verb.name)
    for inner in within:
        app.command(build(inner))
    return app


def _command(resource: Resource, verb: Verb) -> Callable[..., int]:
    def command(*given: Any, **flags: Any) -> int:
        bound = signature.bind(*given, **flags)
        return _run(resource, verb, dict(bound.arguments))

    signature = _signature(resource, verb)
    command.__name__ = re.sub(r"\W", "_", f"{resource.name}_{verb.name}")
    command.__doc__ = verb.help
    command.__signature__ = signature  # type: ignore[attr-defined]
    return command


def _signature(resource: Resource, verb: Verb) -> inspect.Signature:
    positional, flags = [], []
    for place in verb.places:
        told = Parameter(help=resource.places[place])
        if place == resource.own:
            positional.append(
                inspect.Parameter(place, inspect.Parameter.POSITIONAL_ONLY, annotation=Annotated[str, told])
            )
        elif verb.everywhere:
            flags.append(_flag(place, Annotated[str | None, told], None))
        else:
            flags.append(_flag(place, Annotated[str, told]))
    for option in verb.options:
        shape = Parameter(
            name=None if option.positional else f"--{option.name}",
            help=option.help,
            allow_leading_hyphen=option.kind in ("json", "secret"),  # - is standard input
            negative=None if option.kind == "flag" and verb.method != "GET" else "",
        )
        kind = _TYPES[option.kind]
        if option.positional:
            positional.append(
                inspect.Parameter(
                    option.name.replace("-", "_"), inspect.Parameter.POSITIONAL_ONLY, annotation=Annotated[kind, shape]
                )
            )
        elif option.required:
            flags.append(_flag(_argument(option), Annotated[kind, shape]))
        else:
            flags.append(_flag(_argument(option), Annotated[kind | None, shape], None))
    if verb.takes_data:
        told = Parameter(
            name="--data",
            allow_leading_hyphen=True,
            help="The fields as a JSON object, under what other flags say: itself, @FILE, or - for standard input.",
        )
        flags.append(_flag("data", Annotated[str | None, told], None))
    if verb.lists and verb.method == "GET":
        flags.append(_flag("limit", Annotated[int, Parameter(help="How many at most.")], PAGE_ROWS))
        flags.append(
            _flag(
                "all",
                Annotated[bool, Parameter(negative="", show_default=False, help="Every one, whatever --limit.")],
                False,
            )
        )
    if verb.variant is not None:
        told = Parameter(name=f"--{verb.variant.flag}", negative="", help=verb.variant.help)
        flags.append(_flag(verb.variant.argument, Annotated[bool, told], False))
    flags += [_flag("url", Url, None), _flag("api_key", Key, None), _flag("json_wanted", Json, False)]
    # Required ones first: Python has it so of parameters, and help reads better.
    flags.sort(key=lambda flag: flag.default is not inspect.Parameter.empty)
    return inspect.Signature([*positional, *flags])


def _flag(name: str, annotation: Any, *default: Any) -> inspect.Parameter:
    return inspect.Parameter(
        name,
        inspect.Parameter.KEYWORD_ONLY,
        annotation=annotation,
        **({"default": default[0]} if default else {}),
    )


def _argument(option: Option) -> str:
    return f"option_{option.name.replace('-', '_')}"


def _run(resource: Resource, verb: Verb, given: dict[str, Any]) -> int:
    """The exit code."""
    if verb.variant is not None and given.pop(verb.variant.argument, False):
        other = verb.variant
        verb = replace(verb, path=other.path, prints=other.prints, done="" if other.prints else verb.done, variant=None)
    client = Client(given.pop("url", None), given.pop("api_key", None), exact_numbers=True)
    json_wanted = given.pop("json_wanted", False)
    limit = None if given.pop("all", False) else given.pop("limit", PAGE_ROWS)
    if limit is not None and limit < 1:
        raise Invalid("--limit is a whole number from 1 on; --all shows every one")
    fields = _fields(verb, given)
    if verb.method == "PATCH" and not fields:
        raise Invalid(f"nothing to change; `posthouse {resource.name} {verb.name} --help` says what can be")
    template = verb.everywhere if verb.everywhere and given.get("app") is None else verb.path
    template, _, asked = template.partition("?")
    path = tuple(_PLACE.sub(lambda found: str(given[found[1]]), part) for part in template.split("/"))
    try:
        if verb.lists and verb.method == "GET":
            query = {name: _as_query(value) for name, value in fields.items()}
            count = show(client.rows(*path, query=query, limit=limit), verb.columns, json_wanted=json_wanted)
            if limit is not None and count == limit:
                note(f"the first {count}; --all shows every one, --limit another number")
            return 0
        reads = verb.method == "GET"
        answer = client.ask(
            verb.method,
            path,
            query={name: _as_query(value) for name, value in fields.items()} if reads else dict(parse_qsl(asked)),
            body=fields if not reads and verb.has_body else None,
        )
    except (NotFound, Conflict, Invalid) as error:
        if not getattr(error, "__notes__", ()) and (step := _next_step(error, resource, verb, given)):
            error.add_note(step)
        raise
    _tell(verb, given, answer.body, json_wanted)
    return 1 if verb.fails is not None and verb.fails(answer.body) else 0


def _tell(verb: Verb, given: dict[str, Any], body: Any, json_wanted: bool) -> None:
    if verb.done:
        known = given | (body if isinstance(body, dict) else {})
        note(re.sub(r"{(\w+)}", lambda found: str(known.get(found[1])), verb.done))
    if body is None or (verb.quiet and not as_json(json_wanted)):
        return
    if verb.reveal and not json_wanted:
        print(body[verb.reveal])
    elif verb.prints and not json_wanted:
        for statement in body[verb.prints]:
            print(f"{statement};\n")
        if not body[verb.prints]:
            note("nothing needs to be done there: no statements")
    elif verb.lists:
        show(body["data"], verb.columns, json_wanted=json_wanted)
    else:
        show_record(body, json_wanted=json_wanted)


def _next_step(error: PosthouseError, resource: Resource, verb: Verb, given: dict[str, Any]) -> str:
    """What to do about a refusal, where neither the server said it nor the client; empty where there is nothing to add."""
    match error:
        case NotFound(code="route_not_found"):
            return "this server does not know that: is it of the same version as this program?"
        case NotFound():
            listed = _MISSING.get(error.code, resource.name)
            within = f" --app {given['app']}" if given.get("app") and listed not in ("apps", "event-types") else ""
            if listed == resource.name and given.get("endpoint") and resource.own != "endpoint":
                within += f" --endpoint {given['endpoint']}"
            return f"`posthouse {listed} list{within}` shows those that there are"
        case Conflict() if error.code in _ENDED:
            return f"`posthouse replays list --app {given['app']}` shows those that there are"
        case Conflict(code="too_many_versions"):
            return "--overlap-seconds 0 ends all others"
        case Conflict() if error.code.endswith(("_taken", "_exists")):
            return f"`posthouse {resource.name} list` shows those that there are; update changes one"
        case Conflict():
            return ""  # the refusal says it
        case _:
            return f"`posthouse {resource.name} {verb.name} --help` says what it takes"


_MISSING: Final = {f"{a}_not_found": f"{a}s".replace("_", "-") for a in ("app", "endpoint", "event", "event_type")}
_ENDED: Final = {"replay_ended", "too_many_replays"}


# From flags to fields


def _fields(verb: Verb, given: dict[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    data = given.pop("data", None)
    if data is not None:
        fields = json_object(data, "--data")
    for option in verb.options:
        name = option.name.replace("-", "_") if option.positional else _argument(option)
        value = given.get(name)
        if value is not None:
            fields[option.key] = _converted(option, value)
    return verb.body(fields) if verb.body else fields


def _converted(option: Option, value: Any) -> Any:
    match option.kind:
        case "json":
            return decoded(value, f"--{option.name}")
        case "secret":
            return _without_line_end(given_text(value, f"--{option.name}"))
        case "time":
            return instant(value, f"--{option.name}", now=time.time())
        case "deadline":
            return instant(value, f"--{option.name}", now=time.time(), ahead=True)
        case "pairs":
            return dict(_pair(one, option) for one in value)
        case _:
            return value


def _pair(text: str, option: Option) -> tuple[str, str]:
    name, sign, value = text.partition("=")
    if not sign or not name:
        raise Invalid(f"--{option.name} takes NAME=VALUE, and not {text!r}")
    return name.strip(), value.strip()


def _without_line_end(text: str) -> str:
    """What `echo` and editors put at the end is no part of a secret."""
    return text.removesuffix("\n").removesuffix("\r")


def _as_query(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def instant(text: str, flag: str, *, now: float, ahead: bool = False) -> str:
    """A time of a flag as RFC 3339: given so, or as long ago (`ahead`: from now): 30m, 2h, 7d. Raises Invalid."""
    span = _SPAN.match(text)
    try:
        if span is not None:
            seconds = int(span[1]) * _SECONDS[span[2]]
            at = datetime.fromtimestamp(now + seconds if ahead else now - seconds, UTC)
        else:
            at = datetime.fromisoformat(text)
        at = (at if at.tzinfo else at.astimezone()).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        how = "in how long" if ahead else "how long ago"
        raise Invalid(f"{flag} is a time such as 2026-11-24T22:54:03Z, or {how}: 30m, 2h, 7d") from None
    return at.isoformat().replace("+00:00", "Z")


def given_text(text: str, flag: str) -> str:
    """The value of a flag that takes `-` for standard input and `@FILE` for a file. Raises Invalid."""
    if text == "-":
        return sys.stdin.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise Invalid(f"{flag}: cannot read {text[1:]}: {error}") from None
    return text


def decoded(text: str, flag: str) -> Any:
    """The JSON of a flag. Raises Invalid."""
    try:
        return exact.loads(given_text(text, flag))
    except ValueError as error:
        raise Invalid(f"{flag} is not JSON: {error}") from None


def json_object(text: str, flag: str) -> dict[str, Any]:
    found = decoded(text, flag)
    if not isinstance(found, dict):
        raise Invalid(f'{flag} is not a JSON object: it looks like {{"name": "value"}}')
    return found
