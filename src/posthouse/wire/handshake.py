"""The requests of a handshake, and what their answers come to. Pure.

A step's request is made as the endpoint's are, of a variant of the endpoint and of an event made up for it. An `options` step
is CloudEvents' own (HTTP 1.1 Web Hooks for Event Delivery 1.0, section 4): see `wire/consent.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec
from msgspec import UNSET

from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid
from posthouse.domain.event import JSON_CONTENT, Event
from posthouse.domain.exchange import Answer, Request
from posthouse.domain.formats import AnyFormat, FormFormat, JsonFormat, XmlFormat, format_of
from posthouse.domain.handshake import ConfirmStep, OptionsStep, RefusalStep, RequestStep, Step
from posthouse.domain.ids import EventId
from posthouse.domain.limits import HANDSHAKE_DATA_BYTES_MAX, NAME_LENGTH_MAX
from posthouse.domain.verification import Reason
from posthouse.wire.authentication import TokenGrant
from posthouse.wire.challenges import CONFIRM_URL, Names, Random, names_of, new_challenge
from posthouse.wire.consent import ConsentRequest, Passed, Verdict, Waits
from posthouse.wire.expecting import OK, REFUSED, compile_expect
from posthouse.wire.keys import live_texts
from posthouse.wire.spoken import SpokenRenderer

_CHANGED: Final = ("format", "method", "headers", "query", "signing")
_encode: Final = msgspec.json.Encoder().encode


class StepRequest(Protocol):
    """A step with one URL, ready to be made: once."""

    @property
    def grant(self) -> TokenGrant | None:
        """Where the token comes from that its request takes, None where it takes none."""
        ...

    def render(self, token: str | None = None) -> Request:
        """Raises: Unsendable."""
        ...

    def judge(self, answer: Answer) -> Verdict:
        """Whether the answer is right. Never raises, whatever bytes it has."""
        ...


def compile_step(
    endpoint: Endpoint,
    step: Step,
    *,
    url: str,
    now: float,
    random: Random,
    event_id: EventId,
    confirm_url: str,
    path: str,
    checked: bool = False,
) -> StepRequest:
    """`confirm_url` is for steps that wait until somebody follows it (`waits`). `checked` as for `SpokenRenderer`.

    Raises: Invalid, whose path begins with `path`; its text holds no value of a key.
    """
    if isinstance(step, OptionsStep):
        return ConsentRequest(endpoint, step, url=url, now=now, random=random, confirm_url=confirm_url)
    return _SpokenStep(
        endpoint,
        step,
        url=url,
        now=now,
        random=random,
        event_id=event_id,
        confirm_url=confirm_url,
        path=path,
        checked=checked,
    )


def waits(step: Step) -> bool:
    """Whether somebody may have to follow a URL that goes along with it."""
    return isinstance(step, ConfirmStep) or (isinstance(step, OptionsStep) and step.callback)


class _SpokenStep:
    """A step whose request is made as the endpoint's are."""

    __slots__ = ("_event", "_judge", "_now", "_renderer", "_step", "_within")

    def __init__(
        self,
        endpoint: Endpoint,
        step: RequestStep | ConfirmStep | RefusalStep,
        *,
        url: str,
        now: float,
        random: Random,
        event_id: EventId,
        confirm_url: str,
        path: str,
        checked: bool,
    ) -> None:
        names = names_of(
            new_challenge(step.challenge, random),
            key=live_texts(endpoint.keys, step.key, f"{path}.key")[0] if step.key else None,
            encryption=endpoint.encryption,
            keys=endpoint.keys,
            random=random,
            confirm_url=confirm_url if isinstance(step, ConfirmStep) else None,
        )
        self._step: Final = step
        self._now: Final = now
        payload = _encode(names.data(step.data, f"{path}.data"))
        if len(payload) > HANDSHAKE_DATA_BYTES_MAX:
            raise Invalid(f"it has at most {HANDSHAKE_DATA_BYTES_MAX} bytes as JSON", path=f"{path}.data")
        self._event: Final = Event(
            id=event_id,
            partition=endpoint.partition,
            seq=0,
            app_id=endpoint.app_id,
            type=step.type,
            payload=payload,
            content_type=JSON_CONTENT,
            created_at=now,
            config_version=0,
        )
        variant = _variant(endpoint, step, names, path)
        if isinstance(step, RefusalStep) and variant.signing == ():
            raise Invalid("nothing signs the requests, so that no signature can be wrong", path=f"{path}.signing")
        if isinstance(step, ConfirmStep) and CONFIRM_URL not in names.used:
            raise Invalid("nothing of the request brings the {confirm_url}", path=path)
        self._renderer: Final = _placed(
            lambda: SpokenRenderer(
                variant, random=random, url=url, checked=checked, wrong_signatures=isinstance(step, RefusalStep)
            ),
            step,
            path,
        )
        self._judge: Final = compile_expect(
            step.expect,
            names,
            encryption=endpoint.encryption,
            keys=endpoint.keys,
            status=REFUSED if isinstance(step, RefusalStep) else OK,
            path=f"{path}.expect",
        )

    @property
    def grant(self) -> TokenGrant | None:
        return self._renderer.grant

    def render(self, token: str | None = None) -> Request:
        return self._renderer.render(self._event, now=self._now, replay=False, token=token)

    def judge(self, answer: Answer) -> Verdict:
        reason = self._judge(answer)
        if reason is not None:
            accepted = isinstance(self._step, RefusalStep) and answer.status // 100 == 2
            return Reason.BAD_SIGNATURE_ACCEPTED if accepted else reason
        return Waits(self._step.within) if isinstance(self._step, ConfirmStep) else Passed()


def _variant(endpoint: Endpoint, step: RequestStep | ConfirmStep | RefusalStep, names: Names, path: str) -> Endpoint:
    """The endpoint as this step speaks to it: nothing of the event is routed, transformed or batched."""
    changes: dict[str, Any] = {}
    if step.format is not UNSET:
        changes["format"] = _format(step.format, names, path)
    if step.method is not UNSET:
        changes["method"] = step.method
    if step.headers is not UNSET:
        changes["headers"] = tuple(_texts(step.headers, names, f"{path}.headers").items())
    if step.query is not UNSET:
        changes["query"] = _texts(step.query, names, f"{path}.query")
    if step.signing is not UNSET:
        changes["signing"] = step.signing
    if not step.encrypted:
        changes["encryption"] = None
    if not step.authenticated:
        changes["auth"] = None
    return msgspec.structs.replace(
        endpoint,
        compress=None,
        batch=None,
        transform=None,
        dynamic_url=None,
        pinned_schemas={},
        filter="",
        filters=(),
        **changes,
    )


def _format(format: str | AnyFormat, names: Names, path: str) -> AnyFormat:
    try:
        found = format_of(format) if isinstance(format, str) else format
    except Invalid as error:
        raise Invalid(str(error), path=f"{path}.{error.path}") from None
    if not isinstance(found, JsonFormat | XmlFormat | FormFormat) or found.body is None:
        return found
    return msgspec.structs.replace(found, body=names.body(found.body, f"{path}.format.body"))


def _texts(given: dict[str, str], names: Names, path: str) -> dict[str, str]:
    return {name: names.into(text, f"{path}.{name[:NAME_LENGTH_MAX]}") for name, text in given.items()}


def _placed(
    compiled: Callable[[], SpokenRenderer], step: RequestStep | ConfirmStep | RefusalStep, path: str
) -> SpokenRenderer:
    """Raises: Invalid with the path of what is wrong in the step, or of the step where that is of the endpoint."""
    try:
        return compiled()
    except Invalid as error:
        field = error.path.partition(".")[0].partition("[")[0]
        if field in _CHANGED and getattr(step, field) is not UNSET:
            raise Invalid(str(error), path=f"{path}.{error.path}") from None
        if field == "encryption":
            raise Invalid(str(error), path=f"{path}.encrypted") from None
        raise Invalid(str(error), path=path) from None
