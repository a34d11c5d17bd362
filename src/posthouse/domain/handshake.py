"""Handshakes: what a target must answer before anything is sent to it, as configuration, and what that came to.

A handshake is a few steps, made one after the other with each URL of an endpoint: when it is new, when one of its URLs or the
handshake changes, and, where it is repeated, again. `wire/handshake.py` makes the requests and judges the answers.

Texts of a step may name, beside what those of its request name anyway (`wire/template.py`):

- `{challenge}`: a text made anew for each request; `{challenge.hmac-sha256}`: its HMAC with the step's `key`, in hexadecimal
  digits; `{challenge.encrypted}`: it, encrypted as the endpoint's `encryption` says, the ciphertext alone;
- `{key}`: the text of the step's `key`;
- `{confirm_url}`: where a GET confirms it, in a step that waits for that.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec
from msgspec import UNSET, UnsetType

from posthouse.domain.configuration import Configuration
from posthouse.domain.formats import AnyFormat, Method
from posthouse.domain.signing import Signer

CONFIRM_PATH: Final = "/v1/confirm/"
"""Below it answers whoever has the rest of the path, a token, which ends each `{confirm_url}`."""


class Challenge(StrEnum):
    """What a challenge is."""

    HEX = "hex"  # 32 hexadecimal digits
    LETTERS = "letters"  # 32 letters and digits
    DIGITS = "digits"  # a whole number of 10 digits, which begins with none that is 0
    UUID = "uuid"


class Expect(Configuration, frozen=True, kw_only=True):
    """An answer is right where everything that is set holds.

    `status` are numbers or classes (`2xx`); left out, it is 2xx. `headers` are there with these values. `json` are values of
    the body at JSON pointers (RFC 6901); a text that is `{challenge:number}` is the challenge as a number. `text` is the
    whole body, but for white space around it. With `decrypt` the body is opened first, as the endpoint's `encryption` says. Of
    `any`, where there are some, one must be right, too.
    """

    status: tuple[int | str, ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    json: dict[str, Any] = msgspec.field(default_factory=dict)
    text: str | None = None
    decrypt: bool = False
    any: tuple[Expect, ...] = ()


class _Step(Configuration, frozen=True, kw_only=True, tag_field="kind"):
    """The event that a request is about, and how the request differs from those of the endpoint. What is not set is as there,
    but that nothing of it is routed, transformed or batched. Texts in `data`, `format`, `headers` and `query` are templates.
    """

    type: str = "endpoint.verification"
    data: Any = msgspec.field(default_factory=dict)
    format: str | AnyFormat | UnsetType = UNSET
    method: Method | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    query: dict[str, str] | UnsetType = UNSET
    signing: tuple[Signer, ...] | UnsetType = UNSET
    encrypted: bool = True  # as the endpoint's requests are, if they are
    authenticated: bool = True  # with the endpoint's `auth`, if it has any
    challenge: Challenge = Challenge.HEX
    key: str = ""
    expect: Expect = Expect()


class RequestStep(_Step, frozen=True, kw_only=True, tag="request"):
    """A request that must be answered as expected."""


class ConfirmStep(_Step, frozen=True, kw_only=True, tag="confirm"):
    """A request that brings `{confirm_url}`, which somebody must then follow, within `within` seconds."""

    within: float = 259_200.0


class RefusalStep(_Step, frozen=True, kw_only=True, tag="refusal"):
    """A request with wrong signatures, which must be refused: by any 4xx, or as expected."""


class OptionsStep(Configuration, frozen=True, kw_only=True, tag_field="kind", tag="options"):
    """The abuse protection of CloudEvents (HTTP 1.1 Web Hooks for Event Delivery, section 4): an OPTIONS request, whose answer
    consents by the header `WebHook-Allowed-Origin` and never by its status. `origin` is who wants to send; `rate` how many
    requests a minute it asks for; what is allowed is kept to. With `callback` the consent may come later, within `within`
    seconds, by a request to a URL that goes along."""

    origin: str
    rate: int | None = None
    callback: bool = False
    within: float = 259_200.0


Step = RequestStep | ConfirmStep | RefusalStep | OptionsStep


class Handshake(Configuration, frozen=True, kw_only=True):
    """`every`: seconds after which it is made again. One that has not been confirmed anew `grace` seconds after that has
    lapsed, and nothing is sent any more until it is."""

    steps: tuple[Step, ...]
    every: float | None = None
    grace: float = 3600.0

    @property
    def origin(self) -> str:
        """Who asked for consent, if that was asked for: every request says so from then on."""
        return next((step.origin for step in self.steps if isinstance(step, OptionsStep)), "")
