"""Whether a handshake, as it is configured, can be made: with the endpoint's URLs and keys, and on this installation. Pure."""

from __future__ import annotations

from typing import Final

from posthouse.domain.balance import urls_of
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.event import is_type_name
from posthouse.domain.handshake import CONFIRM_PATH, ConfirmStep, Handshake, OptionsStep, Step
from posthouse.domain.ids import ID_BYTES, EventId
from posthouse.domain.limits import (
    HANDSHAKE_EVERY_SECONDS_MAX,
    HANDSHAKE_EVERY_SECONDS_MIN,
    HANDSHAKE_GRACE_SECONDS_MAX,
    HANDSHAKE_ORIGIN_LENGTH_MAX,
    HANDSHAKE_RATE_MAX,
    HANDSHAKE_STEPS_MAX,
    HANDSHAKE_WITHIN_SECONDS_MAX,
    HANDSHAKE_WITHIN_SECONDS_MIN,
)
from posthouse.domain.named_keys import NamedKeys
from posthouse.manage.speaking import on_trial
from posthouse.wire.handshake import compile_step, waits
from posthouse.wire.message import Unsendable

PATH: Final = "handshake"

_TOKEN: Final = "token"  # noqa: S105 - of a request made on trial
_CONFIRM_URL: Final = f"https://posthouse.example.com{CONFIRM_PATH}{43 * 'A'}"


def check_handshake(config: EndpointConfig, keys: NamedKeys) -> None:
    """Make ready each step with each URL, and throw it away. Raises Invalid with the path of what is wrong."""
    handshake = config.handshake
    if handshake is None:
        return
    _check_times(handshake)
    if not 0 < len(handshake.steps) <= HANDSHAKE_STEPS_MAX:
        raise Invalid(f"a handshake has 1 to {HANDSHAKE_STEPS_MAX} steps", path=f"{PATH}.steps")
    endpoint = on_trial(config, keys)
    for place, step in enumerate(handshake.steps):
        path = f"{PATH}.steps[{place}]"
        _check_step(step, path)
        for url in urls_of(config):
            made = compile_step(
                endpoint,
                step,
                url=url,
                now=0.0,
                random=bytes,
                event_id=EventId(bytes(ID_BYTES)),
                confirm_url=_CONFIRM_URL,
                path=path,
            )
            try:
                made.render(None if made.grant is None else _TOKEN)
            except Unsendable as error:
                raise Invalid(f"its request cannot be made: {error}", path=path) from None


def check_confirmable(old: EndpointConfig, new: EndpointConfig, public_url: str) -> None:
    """Where somebody has to follow a URL, there must be one. What stays is not judged. Raises Invalid."""
    if new.handshake is None or new.handshake == old.handshake or public_url:
        return
    for place, step in enumerate(new.handshake.steps):
        if waits(step):
            raise Invalid(
                "this step takes a URL at which this installation is reached from outside, and it was not told one: set "
                "public_url (POSTHOUSE_PUBLIC_URL)",
                path=f"{PATH}.steps[{place}]",
            )


def _check_times(handshake: Handshake) -> None:
    if handshake.every is not None:
        _between(handshake.every, HANDSHAKE_EVERY_SECONDS_MIN, HANDSHAKE_EVERY_SECONDS_MAX, f"{PATH}.every")
    _between(handshake.grace, 0.0, HANDSHAKE_GRACE_SECONDS_MAX, f"{PATH}.grace")


def _check_step(step: Step, path: str) -> None:
    if isinstance(step, ConfirmStep | OptionsStep):
        _between(step.within, HANDSHAKE_WITHIN_SECONDS_MIN, HANDSHAKE_WITHIN_SECONDS_MAX, f"{path}.within")
    if not isinstance(step, OptionsStep):
        if not is_type_name(step.type):
            raise Invalid("this is no name of an event type, such as endpoint.verification", path=f"{path}.type")
        return
    origin = step.origin
    if (
        not (0 < len(origin) <= HANDSHAKE_ORIGIN_LENGTH_MAX and origin.isascii() and origin.isprintable())
        or " " in origin
    ):
        raise Invalid("an origin is a name such as events.example.com", path=f"{path}.origin")
    if step.rate is not None and not 0 < step.rate <= HANDSHAKE_RATE_MAX:
        raise Invalid(f"a rate is 1 to {HANDSHAKE_RATE_MAX} requests a minute", path=f"{path}.rate")


def _between(seconds: float, least: float, most: float, path: str) -> None:
    if not least <= seconds <= most:  # false for NaN, too
        raise Invalid(f"must be from {least:g} to {most:g} seconds", path=path)
