"""What an inbound trigger is told: who sends to it, how that is verified, and what is answered."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from posthouse.domain.configuration import Configuration, read
from posthouse.domain.endpoint import RateLimit
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import (
    INBOUND_ANSWER_BYTES_MAX,
    INBOUND_BURST_MAX,
    INBOUND_CONCURRENCY,
    INBOUND_CONCURRENCY_MAX,
    INBOUND_PER_SECOND_MAX,
    INBOUND_TOLERANCE_SECONDS,
    INBOUND_TOLERANCE_SECONDS_MAX,
    URL_LENGTH_MAX,
)
from posthouse.domain.seen import Template

KIND: Final = "inbound"
PATH: Final = "/in/"
"""Below it a source sends, to the uid of its trigger, or to its id."""

STANDARD: Final = "standard"
METHODS: Final = ("DELETE", "GET", "PATCH", "POST", "PUT")
"""What may be asked for where no profile says it."""

NOT_VERIFIED: Final = "not_verified"
UNCONFIRMED: Final = "confirmation_wanted"
LOOKED_AT_ONLY: Final = (NOT_VERIFIED, UNCONFIRMED)
"""Codes of what is set aside for somebody to look at: it is no event, and cannot be tried again."""

HIDDEN: Final = "(not shown)"


class Answer(msgspec.Struct, frozen=True):
    """What a sender is answered."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


class CustomAnswer(Configuration, frozen=True, kw_only=True):
    """An answer in the words of whoever configures it."""

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)

    def answer(self) -> Answer:
        body = self.body.encode()
        content = (("Content-Type", self.content_type),) if body else ()
        return Answer(self.status, body, (*content, *self.headers.items()))


class InboundSettings(Configuration, frozen=True, kw_only=True):
    """The settings of an inbound trigger. `keys` are the profile's by name, each a text or several while it is rotated, newest
    first. Without `verify` nothing proves who sends."""

    verify: bool = True
    profile: str | None = None
    profile_settings: dict[str, str] = msgspec.field(default_factory=dict)
    keys: dict[str, str | tuple[str, ...]] = msgspec.field(default_factory=dict)
    url: str | None = None
    tolerance_seconds: float = INBOUND_TOLERANCE_SECONDS
    methods: tuple[str, ...] = ()
    idempotency: str | None = None
    answer: CustomAnswer | None = None
    answer_refused: CustomAnswer | None = None
    rate_limit: RateLimit | None = None
    concurrency: int = INBOUND_CONCURRENCY
    body_bytes_max: int | None = None

    @property
    def spoken(self) -> str | None:
        """The name of the profile; None for none."""
        return self.profile or (STANDARD if self.verify else None)


def settings_of(value: Any, *, payload_bytes_max: int) -> InboundSettings:
    """Settings as somebody wrote them; whether their profile can be used is not looked at. Raises Invalid with the path."""
    settings: InboundSettings = read(value, InboundSettings, "")
    if settings.url is not None and (
        len(settings.url) > URL_LENGTH_MAX or not settings.url.startswith(("https://", "http://"))
    ):
        raise Invalid(
            f"this is the URL that the sender was given, https://…, of at most {URL_LENGTH_MAX} characters", path="url"
        )
    _within(settings.tolerance_seconds, 1, INBOUND_TOLERANCE_SECONDS_MAX, "tolerance_seconds")
    _within(settings.concurrency, 1, INBOUND_CONCURRENCY_MAX, "concurrency")
    if settings.body_bytes_max is not None:
        _within(settings.body_bytes_max, 1, payload_bytes_max, "body_bytes_max")
    if settings.rate_limit is not None:
        _within(settings.rate_limit.per_second, 0.001, INBOUND_PER_SECOND_MAX, "rate_limit.per_second")
        if settings.rate_limit.burst is not None:
            _within(settings.rate_limit.burst, 1, INBOUND_BURST_MAX, "rate_limit.burst")
    for name, key in settings.keys.items():
        if HIDDEN in ([key] if isinstance(key, str) else key):
            raise Invalid(
                "this is what is shown in the place of a key; leave keys out to keep them, or give each in full",
                path=f"keys.{name}",
            )
    if settings.idempotency is not None:
        try:
            Template(settings.idempotency)
        except Invalid as error:
            error.path = "idempotency"
            raise
    _check_answer(settings.answer, 200, 299, "answer")
    _check_answer(settings.answer_refused, 200, 599, "answer_refused")
    return settings


def shown(settings: dict[str, Any]) -> dict[str, Any]:
    """Stored settings without the texts of keys."""
    keys = settings.get("keys")
    if not isinstance(keys, dict):
        return settings
    return settings | {"keys": dict.fromkeys(keys, HIDDEN)}


def _check_answer(answer: CustomAnswer | None, least: int, most: int, path: str) -> None:
    if answer is None:
        return
    _within(answer.status, least, most, f"{path}.status")
    if len(answer.body.encode("utf-8", "replace")) > INBOUND_ANSWER_BYTES_MAX:
        raise Invalid(f"an answer has at most {INBOUND_ANSWER_BYTES_MAX} bytes", path=f"{path}.body")
    if answer.body and answer.status in (204, 205, 304):
        raise Invalid(f"an answer with the status {answer.status} has no body", path=f"{path}.body")


def _within(value: float, least: float, most: float, path: str) -> None:
    if not least <= value <= most:  # NaN is not, either
        raise Invalid(f"must be from {least:g} to {most:g}", path=path)
