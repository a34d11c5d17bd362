"""Actions: what a callback handler in Python may ask for. They are what response rules do as effects (`domain/reaction.py`),
with values in the place of expressions.

A handler is called after the answer was settled, so what decides a delivery's fate (`confirm`, `retry`, `give_up`) is not
among them; `Resend` owes the event to the endpoint once more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.errors import Invalid
from posthouse.domain.event import is_type_name
from posthouse.domain.limits import (
    ACTIONS_BYTES_MAX,
    ACTIONS_MAX,
    DELAY_SECONDS_MAX,
    METADATA_BYTES_MAX,
    NAME_LENGTH_MAX,
    RATE_PER_SECOND_MAX,
    TEXT_LENGTH_MAX,
    URL_LENGTH_MAX,
)

_encode: Final = msgspec.json.Encoder().encode


class Action(msgspec.Struct, frozen=True, tag_field="then", forbid_unknown_fields=True):
    """What a handler asks for."""


class Emit(Action, frozen=True, tag="emit"):
    """Publish an event in the endpoint's app. `data` left out: the answer's body; `subject` and `key` left out: the event's
    own, and "" for none."""

    type: str
    data: Any = UNSET
    subject: str | UnsetType = UNSET
    key: str | UnsetType = UNSET


class Forward(Action, frozen=True, tag="forward"):
    """Send `data`, left out the answer's body, as an event of this type to one endpoint of the app (its uid or id), or to a URL
    as the endpoint itself is spoken to: one of the two."""

    endpoint: str = ""
    url: str = ""
    type: str = "callback.answered"
    data: Any = UNSET


class SetMetadata(Action, frozen=True, tag="set"):
    """Merge these values into the endpoint's metadata."""

    metadata: dict[str, Any]


class Throttle(Action, frozen=True, tag="throttle"):
    """At most so many requests a second to the endpoint for so many seconds."""

    per_second: float
    seconds: float = 60.0


class Notify(Action, frozen=True, tag="notify"):
    """Tell the operators, by an operational event."""

    message: str = ""


class Disable(Action, frozen=True, tag="disable"):
    """Disable the endpoint. What it is owed waits until somebody enables it again."""

    reason: str = "handler"


class Resend(Action, frozen=True, tag="resend"):
    """Send the event to the endpoint again, in so many seconds. That is a delivery anew, with attempts from 1; where one is
    owed still, it is due then at the latest."""

    after: float = 0.0


AnyAction = Emit | Forward | SetMetadata | Throttle | Notify | Disable | Resend


def check_actions(actions: Sequence[AnyAction]) -> None:
    """Whether all of this can be done. Raises Invalid with the path of what cannot, and TypeError for data that JSON cannot
    say."""
    if len(actions) > ACTIONS_MAX:
        raise Invalid(f"at most {ACTIONS_MAX} actions")
    if len(_encode(actions)) > ACTIONS_BYTES_MAX:
        raise Invalid(f"at most {ACTIONS_BYTES_MAX} bytes of actions, as JSON")
    for index, action in enumerate(actions):
        _check(action, f"[{index}]")


def _check(action: AnyAction, at: str) -> None:
    match action:
        case Emit():
            _type(action.type, at)
            _text(action.subject, NAME_LENGTH_MAX, f"{at}.subject")
            _text(action.key, NAME_LENGTH_MAX, f"{at}.key")
        case Forward():
            _type(action.type, at)
            if bool(action.endpoint) == bool(action.url):
                raise Invalid("needs an endpoint or a url, one of the two", path=at)
            _text(action.endpoint, NAME_LENGTH_MAX, f"{at}.endpoint")
            _text(action.url, URL_LENGTH_MAX, f"{at}.url")
        case SetMetadata():
            if len(_encode(action.metadata)) > METADATA_BYTES_MAX:
                raise Invalid(f"at most {METADATA_BYTES_MAX} bytes", path=f"{at}.metadata")
        case Throttle():
            _number(action.per_second, RATE_PER_SECOND_MAX, f"{at}.per_second", above=True)
            _number(action.seconds, DELAY_SECONDS_MAX, f"{at}.seconds", above=True)
        case Notify():
            _text(action.message, TEXT_LENGTH_MAX, f"{at}.message")
        case Disable():
            _text(action.reason, NAME_LENGTH_MAX, f"{at}.reason")
        case Resend():
            _number(action.after, DELAY_SECONDS_MAX, f"{at}.after")


def _type(name: str, at: str) -> None:
    if not is_type_name(name):
        raise Invalid(f"{name[:80]!r} is no name of an event type", path=f"{at}.type")


def _text(value: str | UnsetType, length_max: int, path: str) -> None:
    if value is UNSET:
        return
    if len(value) > length_max:
        raise Invalid(f"at most {length_max} characters", path=path)
    if "\0" in value:
        raise Invalid("must not hold NUL", path=path)


def _number(value: float, most: float, path: str, *, above: bool = False) -> None:
    if above and not 0 < value <= most:
        raise Invalid(f"must be more than 0 and at most {most:g}", path=path)
    if not 0 <= value <= most:
        raise Invalid(f"must be at least 0 and at most {most:g}", path=path)
