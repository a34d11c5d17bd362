"""URLs with values of the event in them, as `https://{event.data.region}.example.com/shops/{event.subject}?id={event.id}`.

A value is written for the place where it stands, and can be no more than it: in the host a DNS label or several, in the path
part of a segment, in the query part of a parameter. Scheme, port and credentials are never an event's to say. What comes of it
is taken apart again as every URL is (`wire/target.py`), and its host must be one that was declared.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import Enum, auto
from typing import Final, NoReturn
from urllib.parse import quote

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Target
from posthouse.domain.ids import EVENT, format_id
from posthouse.domain.limits import DYNAMIC_HOSTS_MAX, NAME_LENGTH_MAX, URL_LENGTH_MAX
from posthouse.wire.target import parse_target

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_WITHIN: Final = re.compile(r"event\.(?:data(?:\.[^.{}]+)+|attributes\.[^.{}]+)")
_ATTRIBUTES: Final = "event.attributes."
_AUTHORITY: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://([^/?#]*)")
_LABELS: Final = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]*[A-Za-z0-9_])?")
_DOTS: Final = frozenset({"", ".", ".."})
_ANY_HOST: Final = "*."
_NAMES: Final = ("event.id", "event.type", "event.subject", "event.key")
_SAMPLE: Final = "x"

_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_texts: Final = msgspec.json.Decoder(dict[str, str]).decode
_text: Final = msgspec.json.Decoder(str).decode


class NoUrl(Exception):
    """An event for which there is no URL: why, in a few words for a person, without the event's values."""


class _Place(Enum):
    HOST = auto()
    PATH = auto()
    QUERY = auto()


class UrlTemplate:
    """A compiled template. `host` is where it always leads, None where that depends on the event. `sample` is a URL that it may
    make, taken apart. `hosts` are those declared, in lower case; one that begins with a dot is all that end so.

    Raises Invalid, with a path from `path` on: for a name that there is not, a value where none may stand, and a host that
    depends on the event without `hosts` that it must be one of.
    """

    __slots__ = ("_parts", "_port", "_scheme", "host", "hosts", "sample")

    def __init__(self, text: str, hosts: Sequence[str], *, path: str) -> None:
        at = f"{path}.template"
        if len(text) > URL_LENGTH_MAX:
            raise Invalid(f"the URL is longer than {URL_LENGTH_MAX} characters", path=at)
        self._parts: Final = _parts(text, at)
        self.hosts: Final = _hosts(hosts, f"{path}.hosts")
        depends = any(place is _Place.HOST for place, _ in self._parts)
        target = parse_target("".join([_SAMPLE if place else part for place, part in self._parts]), path=at)
        self._scheme: Final = target.scheme
        self._port: Final = target.port
        self.sample: Final = target
        self.host: Final = None if depends else target.host
        if _has_dots(target):
            raise Invalid("the URL has a segment . or .. in its path, which leads elsewhere", path=at)
        if depends and not self.hosts:
            raise Invalid("its host depends on the event: say which hosts it may be", path=f"{path}.hosts")
        if not depends and self.hosts and not self._declared(target.host):
            raise Invalid("its host is none of hosts", path=at)

    def fill(self, event: Event) -> tuple[str, Target]:
        """The URL for an event, and the same taken apart. Raises NoUrl."""
        written = []
        for place, part in self._parts:
            written.append(part if place is None else _written(value_of(event, part), place, part))
        url = "".join(written)
        try:
            target = parse_target(url)
        except Invalid as error:
            raise NoUrl(str(error)) from None
        if (target.scheme, target.port) != (self._scheme, self._port):  # pragma: no cover - no value can hold : or /
            raise NoUrl("the URL has another scheme or port than its template")
        if self.hosts and not self._declared(target.host):
            raise NoUrl("the URL has a host that is none of those declared")
        if _has_dots(target):
            raise NoUrl("the URL has a segment . or .. in its path, which leads elsewhere")
        return url, target

    def _declared(self, host: str) -> bool:
        return any(host.endswith(each) if each[0] == "." else host == each for each in self.hosts)


def _has_dots(target: Target) -> bool:
    return any(segment in (".", "..") for segment in target.path.partition("?")[0].split("/"))


def value_of(event: Event, name: str) -> str:
    """The text of a value that a template names. Raises NoUrl where the event has none."""
    match name:
        case "event.id":
            return format_id(EVENT, event.id)
        case "event.type":
            return event.type
        case "event.subject":
            found = event.subject
        case "event.key":
            found = event.key
        case _ if name.startswith(_ATTRIBUTES):
            found = None if event.attributes is None else _texts(event.attributes).get(name.removeprefix(_ATTRIBUTES))
        case _:
            found = _in_data(event, name.split(".")[2:], name)
    if found is None:
        _nothing(name, "the event has none")
    return found


def _in_data(event: Event, names: list[str], name: str) -> str:
    """Only what is on the way to it is read."""
    if event.content_type != JSON_CONTENT:
        _nothing(name, "the event's data are no JSON")
    raw: bytes | msgspec.Raw = event.payload
    try:
        for each in names:
            raw = _fields(raw)[each]
        token = bytes(raw).strip()
        first = token[:1]
        if first == b'"':
            return _text(token)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        _nothing(name, "it is no text that can be read")
    except KeyError:
        _nothing(name, "the event has none")
    if first in (b"{", b"[") or token == b"null":
        _nothing(name, "it is no text, number, true or false")
    return token.decode("ascii")


def _written(value: str, place: _Place, name: str) -> str:
    if place is _Place.HOST:
        if not _LABELS.fullmatch(value) or ".." in value:
            _nothing(name, "it is no part of a host's name: letters, digits and hyphens, with dots between them")
        return value
    if place is _Place.PATH and value in _DOTS:
        _nothing(name, "it is no segment of a path")
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        _nothing(name, "it is no text that can be read")


def _nothing(name: str, why: str) -> NoReturn:
    raise NoUrl(f"there is no URL for this event: {_braced(name)}: {why}")


def _braced(name: str) -> str:
    return "{" + name[:NAME_LENGTH_MAX].encode("unicode_escape").decode("ascii") + "}"


def _parts(text: str, path: str) -> tuple[tuple[_Place | None, str], ...]:
    """Literals (of no place) and names, each with the place where it stands."""
    parts: list[tuple[_Place | None, str]] = []
    before = ""  # what stands before a name, with a sample for each of those before it
    end = 0
    for found in _TOKEN.finditer(text):
        literal = text[end : found.start()]
        end = found.end()
        if found[0] in ("{{", "}}"):
            literal += found[0][0]
        parts.append((None, literal))
        before += literal
        if found[0] in ("{", "}"):
            raise Invalid("a brace stands alone: one that is meant as a brace is written twice", path=path)
        if found[1] is not None:
            if found[1] not in _NAMES and not _WITHIN.fullmatch(found[1]):
                known = ", ".join((*_NAMES, "event.data.…", "event.attributes.…"))
                raise Invalid(f"there is no {_braced(found[1])}; there are {known}", path=path)
            parts.append((_place(before, path), found[1]))
            before += _SAMPLE
    parts.append((None, text[end:]))
    if (authority := _AUTHORITY.match(before + text[end:])) is not None and "@" in authority[1]:
        raise Invalid(
            "the URL holds credentials (user:password@), which end up in logs: send them in a header", path=path
        )
    return tuple(part for part in parts if part[0] is not None or part[1])


def _place(before: str, path: str) -> _Place:
    """Where a name stands that comes after this."""
    authority = _AUTHORITY.match(before)
    if authority is None:
        raise Invalid("an event never says the scheme of a URL: it stands in the template", path=path)
    rest = before[authority.end() :]
    if not rest:
        if ":" in authority[1] or "[" in authority[1]:
            raise Invalid("an event never says the port of a URL, nor an address in brackets", path=path)
        return _Place.HOST
    if "#" in rest:
        raise Invalid("the URL has a fragment (#…), which is never sent: leave it out", path=path)
    return _Place.QUERY if "?" in rest else _Place.PATH


def _hosts(hosts: Sequence[str], path: str) -> tuple[str, ...]:
    """Names as they are compared: a pattern begins with a dot."""
    if len(hosts) > DYNAMIC_HOSTS_MAX:
        raise Invalid(f"there are at most {DYNAMIC_HOSTS_MAX} hosts", path=path)
    return tuple([_host(host, f"{path}[{index}]") for index, host in enumerate(hosts)])


def _host(host: str, path: str) -> str:
    name = host.removeprefix(_ANY_HOST)
    target = parse_target(f"https://{name}/", path=path)
    if target.path != "/" or target.port != 443 or target.authority.startswith("["):
        raise Invalid("a host is a name alone, such as hooks.example.com or *.example.com", path=path)
    if host == name:
        return target.host
    if "." not in target.host or target.host[-1].isdigit():
        raise Invalid("a pattern has a domain of two labels at least after *., such as *.example.com", path=path)
    return f".{target.host}"
