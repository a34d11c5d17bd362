"""Transformations and URLs that depend on the event, as configuration."""

from __future__ import annotations

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


class DynamicUrl(Configuration, frozen=True, kw_only=True):
    """Where an event goes, rather than to the endpoint's `url`, which stands where this comes to nothing.

    Either `template`, a URL with `{event.subject}`, `{event.key}`, `{event.type}`, `{event.id}` or `{event.data.…}` in it,
    whose host must be one of `hosts` (`hooks.example.com`, `*.example.com`); or `choose`, an expression that comes to a name in
    `among`.
    """

    template: str = ""
    hosts: tuple[str, ...] = ()
    choose: str = ""
    among: dict[str, str] = msgspec.field(default_factory=dict)
