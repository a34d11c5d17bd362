"""Inbound: other systems' webhooks. Nothing is pulled, and nothing is made anywhere: senders come to `/in/{source}`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, cast

import msgspec

from posthouse.domain.errors import Invalid
from posthouse.domain.inbound import KIND, PATH, InboundSettings, settings_of, shown
from posthouse.domain.limits import PAYLOAD_BYTES_MAX
from posthouse.ports.sources import Plan, Spec
from posthouse.wire.headers import check_header, is_content_type
from posthouse.wire.inbound import FindProfile, Inlet, url_of

_ABOUT: Final = {
    "verify": "false: nothing proves who sends, and whoever knows the URL may. Default: true.",
    "profile": "How the sender signs and speaks: the name of a profile (`GET /v1/profiles`). Default: standard.",
    "profile_settings": "The settings of the profile by name.",
    "keys": "The keys of the profile by name, each a text, or several while it is rotated. Not shown again.",
    "url": "The URL that the sender was given, where it signs that. Default: the server's public URL with this path.",
    "tolerance_seconds": "How far the time of a signature may be from ours.",
    "methods": "The HTTP methods that are answered. Default: those of the profile; without one POST.",
    "idempotency": "A template of what names a request: with the same, it is the same event for a day. Default: the id that "
    "the profile finds, else a digest of the body.",
    "answer": "What is answered to what was taken. Default: what the profile's sender takes for a confirmation.",
    "answer_refused": "What is answered to what was verified and is no event: it is kept. Default: the same as `answer`.",
    "rate_limit": "How many verified requests are taken, by each process. Default: no limit.",
    "concurrency": "How many requests may be under way at once, in each process.",
    "body_bytes_max": "The largest body. Default: as large as an event may be.",
}


class InboundKind:
    """`ports.sources.TriggerKind`; it has no source."""

    name: Final = KIND

    def __init__(self, find: FindProfile, public_url: str = "", payload_bytes_max: int = PAYLOAD_BYTES_MAX) -> None:
        self._find: Final = find
        self._public_url: Final = public_url
        self._payload_bytes_max: Final = payload_bytes_max

    @property
    def expects(self) -> Mapping[str, Any]:
        _, parts = msgspec.json.schema_components([InboundSettings], ref_template="#/$defs/{name}")
        schema = parts.pop(InboundSettings.__name__)
        for name, about in _ABOUT.items():
            schema["properties"][name]["description"] = about
        return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "$defs": parts}

    def check(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        read = settings_of(dict(settings), payload_bytes_max=self._payload_bytes_max)
        for name, answer in (("answer", read.answer), ("answer_refused", read.answer_refused)):
            if answer is None:
                continue
            for header, value in answer.headers.items():
                try:
                    check_header(header, value)
                except Invalid as error:
                    error.path = f"{name}.headers.{header[:64]}"
                    raise
            if not is_content_type(answer.content_type):
                raise Invalid("this is not a content type that could be sent", path=f"{name}.content_type")
        self._inlet(read, "source", clock=lambda: 0.0)  # what cannot be made is told before anything is stored
        return cast("dict[str, Any]", msgspec.to_builtins(read))

    def inlet(self, spec: Spec, *, clock: Callable[[], float]) -> Inlet:
        """What judges the requests to a trigger. Raises Invalid with a path in its settings."""
        return self._inlet(
            settings_of(dict(spec.settings), payload_bytes_max=self._payload_bytes_max), spec.name, clock
        )

    def _inlet(self, settings: InboundSettings, reference: str, clock: Callable[[], float]) -> Inlet:
        return Inlet(
            settings,
            self._find,
            url=url_of(self._public_url, reference),
            clock=clock,
            bytes_max=settings.body_bytes_max or self._payload_bytes_max,
        )

    def shown(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        return shown(dict(settings))

    async def plan(self, spec: Spec) -> Plan:
        url = url_of(self._public_url, spec.name) or f"{PATH}{spec.name} at this server"
        remarks = [f"nothing is made anywhere; have the sender send to {url}"]
        if not spec.settings.get("verify", True):
            remarks.append("nothing proves who sends: whoever knows that URL may")
        return Plan(remarks=tuple(remarks))

    async def install(self, spec: Spec, *, before: Spec | None = None) -> None:
        """Nothing has to be there."""

    async def remove(self, spec: Spec) -> None:
        """Nothing is there."""

    async def rewind(self, spec: Spec, to: float | None) -> str | None:
        raise Invalid(
            "requests cannot be asked for again: have the sender send them again; what was set aside here can be tried again"
        )
