"""CloudEvents' abuse protection (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4): an OPTIONS request asks for consent.

A status consents to nothing, since whoever knows nothing of this may answer OPTIONS too: the headers alone do.
"""

from __future__ import annotations

import hmac
import re
from typing import Final

import msgspec

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Answer, Request
from posthouse.domain.formats import FormFormat, Method
from posthouse.domain.handshake import OptionsStep
from posthouse.domain.verification import Reason
from posthouse.wire.assemble import OPTIONS, assemble
from posthouse.wire.authentication import Credentials, TokenGrant, with_token
from posthouse.wire.challenges import Random
from posthouse.wire.documents import Bytes
from posthouse.wire.formats.formatter import SMALLEST, compile_format
from posthouse.wire.headers import REQUEST_ORIGIN
from posthouse.wire.message import Unsendable
from posthouse.wire.target import parse_target
from posthouse.wire.way import compile_way

REQUEST_CALLBACK: Final = "WebHook-Request-Callback"
REQUEST_RATE: Final = "WebHook-Request-Rate"
ALLOWED_ORIGIN: Final = b"webhook-allowed-origin"
ALLOWED_RATE: Final = b"webhook-allowed-rate"

ANY: Final = "*"
MINUTE_SECONDS: Final = 60.0

_RATE: Final = re.compile(r"0*[1-9][0-9]{0,8}")


class Passed(msgspec.Struct, frozen=True):
    """The answer is right. It allows so many requests a second; None: it says nothing of that, or any."""

    allowed_per_second: float | None = None


class Waits(msgspec.Struct, frozen=True):
    """The answer is right so far: somebody has to follow a URL within so many seconds."""

    within: float


Verdict = Passed | Waits | Reason


class ConsentRequest:
    """`wire.handshake.StepRequest` for an `options` step: over the endpoint's way, with what authenticates it.

    Raises: Invalid with the path of what is wrong at the endpoint.
    """

    __slots__ = ("_credentials", "_egress", "_endpoint", "_message", "_step", "grant")

    def __init__(
        self, endpoint: Endpoint, step: OptionsStep, *, url: str, now: float, random: Random, confirm_url: str
    ) -> None:
        target = parse_target(url)
        self._endpoint: Final = endpoint
        self._step: Final = step
        self._egress, auth = compile_way(endpoint, target)
        self.grant: Final = auth if isinstance(auth, TokenGrant) else None
        self._credentials: Final = auth if isinstance(auth, Credentials) else None
        message = compile_format(FormFormat(body={}), target=target, method=Method.GET).render(
            SMALLEST, now=now, random=random, replay=False
        )
        message.method, message.document, message.content_type = OPTIONS, Bytes(b""), ""
        message.headers.append((REQUEST_ORIGIN, step.origin))
        if step.callback:
            message.headers.append((REQUEST_CALLBACK, confirm_url))
        if step.rate is not None:
            message.headers.append((REQUEST_RATE, str(step.rate)))
        self._message: Final = message

    def render(self, token: str | None = None) -> Request:
        """Raises: Unsendable. Once."""
        message = self._message
        try:
            if token is not None:
                with_token(token).apply(message)
            if self._credentials is not None:
                self._credentials.on(message.target)
                self._credentials.apply(message)
        except Invalid as error:
            raise Unsendable(str(error)) from None
        return assemble(message, self._endpoint.timeouts, self._egress)

    def judge(self, answer: Answer) -> Verdict:
        origin, rate = _value(answer, ALLOWED_ORIGIN), _value(answer, ALLOWED_RATE)
        if origin is None and self._step.callback:
            return Waits(self._step.within)  # it withholds its consent, and may give it later
        wanted = self._step.origin.lower()
        if origin is None or not (origin == ANY or hmac.compare_digest(origin.lower().encode(), wanted.encode())):
            return Reason.NO_CONSENT
        if rate is None:
            return Reason.NO_CONSENT if self._step.rate is not None else Passed()
        if rate == ANY:
            return Passed()
        allowed = allowed_per_second(rate)
        return Reason.NO_CONSENT if allowed is None else Passed(allowed)


def allowed_per_second(text: str) -> float | None:
    """What a `WebHook-Allowed-Rate` allows, which counts requests a minute; None where it is no such number."""
    return int(text) / MINUTE_SECONDS if _RATE.fullmatch(text) else None


def _value(answer: Answer, name: bytes) -> str | None:
    value = answer.header(name)
    return None if value is None else value.decode("latin-1").strip()
