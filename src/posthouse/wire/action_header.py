"""What a target may ask for in its answer, with the header `Posthouse-Action`:

    Posthouse-Action: retry; after=60
    Posthouse-Action: give_up
    Posthouse-Action: disable
    Posthouse-Action: throttle; per_second=0.5; seconds=120

The words are those of response rules (`domain/reaction.py`), and so is what comes of them. It gives a target no more than its
status does already: it may fail a delivery, end it, or slow its sender down, but not confirm what the endpoint's rule does not.
It is read strictly: of one that is not exactly so, or comes twice, nothing is done.
"""

from __future__ import annotations

import re
from typing import Final

from posthouse.domain.exchange import Answer
from posthouse.domain.limits import RETRY_AFTER_SECONDS_MAX, THROTTLED_PER_SECOND_MAX, THROTTLED_PER_SECOND_MIN
from posthouse.domain.reaction import AnyRule, DisableRule, GiveUpRule, RetryRule, ThrottleRule

HEADER: Final = "Posthouse-Action"

_NAME: Final = HEADER.lower().encode()
_VALUE: Final = re.compile(rb"([a-z_]{1,16})((?:[ \t]*;[ \t]*[a-z_]{1,16}=[0-9]{1,9}(?:\.[0-9]{1,9})?){0,2})")
_PARAMETER: Final = re.compile(rb"([a-z_]+)=([0-9.]+)")


class NotUnderstood(Exception):
    """The header is there, and means nothing. The text says why, for a person, without the value."""


def action_of(answer: Answer) -> AnyRule | None:
    """What the answer asks for; None where it asks for nothing. Raises NotUnderstood."""
    value = None
    for name, each in answer.headers:
        if name == _NAME:
            if value is not None:
                raise NotUnderstood(f"{HEADER} is there twice")
            value = each
    return None if value is None else _action(value.strip(b" \t"))


def _action(value: bytes) -> AnyRule:
    found = _VALUE.fullmatch(value)
    if found is None:
        raise NotUnderstood(f"{HEADER} is not a word and its parameters")
    pairs = [(name.decode(), float(number)) for name, number in _PARAMETER.findall(found[2])]
    given = dict(pairs)
    if len(given) < len(pairs):
        raise NotUnderstood(f"{HEADER} has a parameter twice")
    match found[1], sorted(given):
        case b"retry", []:
            return RetryRule()
        case b"retry", ["after"]:
            return RetryRule(after=_within(given, "after", 0, RETRY_AFTER_SECONDS_MAX))
        case b"give_up", []:
            return GiveUpRule()
        case b"disable", []:
            return DisableRule()
        case b"throttle", ["per_second"] | ["per_second", "seconds"]:
            rate = _within(given, "per_second", THROTTLED_PER_SECOND_MIN, THROTTLED_PER_SECOND_MAX)
            if "seconds" not in given:
                return ThrottleRule(per_second=rate)
            return ThrottleRule(per_second=rate, seconds=_within(given, "seconds", 1, RETRY_AFTER_SECONDS_MAX))
        case _:
            raise NotUnderstood(f"{HEADER} has a word or parameters that are not known")


def _within(given: dict[str, float], name: str, least: float, most: float) -> float:
    value = given[name]
    if not least <= value <= most:
        raise NotUnderstood(f"{HEADER}: {name} is from {least:g} to {most:g}")
    return value
