"""Transformations and URLs that depend on the event, as configuration."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec

from posthouse.domain.configuration import Configuration


class Transform(Configuration, frozen=True, kw_only=True):
    """What is sent in place of the event's data, before it is formatted: expressions over `event`, `app` and `endpoint`.

    `data` left out: the event's own. `headers` and `query` are added to the request, by name. `schema`: a JSON Schema that the
    new data must satisfy.
    """

    data: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    query: dict[str, str] = msgspec.field(default_factory=dict)
    schema: dict[str, Any] | None = None


class WithoutUrl(StrEnum):
    """What becomes of an event whose URL comes to nothing: a field that it has not, a host that was not declared, a name that
    is not among the URLs."""

    GIVE_UP = "give_up"
    URL = "url"  # it goes to the endpoint's `url`


class DynamicUrl(Configuration, frozen=True, kw_only=True):
    """Where an event goes, rather than to the endpoint's `url`.

    Either `template`, a URL with `{event.subject}`, `{event.key}`, `{event.type}`, `{event.id}`, `{event.data.…}` or
    `{event.attributes.…}` in it, whose host must be one of `hosts` (`hooks.example.com`, `*.example.com`); or `choose`, an
    expression that comes to a name in `among`. Where that comes to nothing the delivery is given up, unless `otherwise` is
    `url`.
    """

    template: str = ""
    hosts: tuple[str, ...] = ()
    choose: str = ""
    among: dict[str, str] = msgspec.field(default_factory=dict)
    otherwise: WithoutUrl = WithoutUrl.GIVE_UP
