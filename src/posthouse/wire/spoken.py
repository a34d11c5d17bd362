"""The requests of an endpoint that is spoken to in its own language: another format, method, signature, encryption.

An event, its payload as the version that the endpoint pinned knew it, becomes a message (`formats`), and then, each in its
turn: encrypted, given what authenticates it, compressed, signed; what it is in the end is assembled. Standard Webhooks with the
endpoint's secret signs where nothing else was said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from posthouse.domain.egress import Egress
from posthouse.domain.endpoint import Endpoint, Format
from posthouse.domain.errors import Invalid
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.formats import (
    AnyFormat,
    CloudEventsFormat,
    CloudEventsMode,
    FormFormat,
    JsonFormat,
    XmlFormat,
    format_of,
)
from posthouse.domain.ids import APP, ENDPOINT, format_id
from posthouse.domain.limits import (
    REQUEST_BYTES_MAX,
    TAKEN_APART_AT_ONCE_BYTES_MAX,
    WHOLE_AT_ONCE_BYTES_MAX,
)
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.signing import OWN_SECRET, HttpSigner, StandardSigner
from posthouse.wire.assemble import assemble
from posthouse.wire.authentication import Credentials, TokenGrant, with_token
from posthouse.wire.documents import Gzip
from posthouse.wire.egress import check_usable
from posthouse.wire.encryption.compiled import compile_encryption
from posthouse.wire.formats.formatter import SMALLEST, compile_format
from posthouse.wire.headers import origin_headers
from posthouse.wire.message import Additions, Lacking, Message, Step, Unsendable
from posthouse.wire.payload_version import Pins
from posthouse.wire.signing.keys import SignedBy
from posthouse.wire.signing.signers import compile_signers, header_names
from posthouse.wire.target import parse_target
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES
from posthouse.wire.way import compile_way
from posthouse_sdk.signatures import signing_key

Random = Callable[[int], bytes]

_STANDARD: Final = (StandardSigner(),)
_TOKEN: Final = "token"  # noqa: S105 - of a request made on trial


class SpokenRenderer:
    """As `wire.render.Renderer`, for what that one does not make. `random(n)` gives n random bytes; `checked` says that all
    this was compiled before; `wrong_signatures` is for finding out whether a target verifies them; `signed_by` is told what
    would be signed, and then nothing is.

    `at_once_bytes`: with more bytes of payloads a request may take too long to be written where others wait; its `order` is
    for somebody else then (`ports/writing.py`).

    Raises: Invalid with the path of what is wrong. A request for the smallest event is made on trial, unless it is `checked`.
    """

    __slots__ = (
        "_credentials",
        "_egress",
        "_formatter",
        "_origin",
        "_pins",
        "_random",
        "_secure",
        "_steps",
        "_timeouts",
        "at_once_bytes",
        "grant",
        "recipe",
        "target",
    )

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        random: Random,
        url: str | None = None,
        checked: bool = False,
        wrong_signatures: bool = False,
        signed_by: SignedBy | None = None,
    ) -> None:
        self.target: Final = parse_target(endpoint.url if url is None else url)
        self._random: Final = random
        self._timeouts: Final = endpoint.timeouts
        self._origin: Final = origin_headers(endpoint.handshake)
        # What is transformed is so after it is what the pinned version knew of it: with what the transformation adds.
        transformed = endpoint.transform is not None or endpoint.dynamic_url is not None
        self._pins: Final = Pins({} if transformed else endpoint.pinned_schemas)
        format = format_of(endpoint.format.value) if isinstance(endpoint.format, Format) else endpoint.format
        batched = endpoint.batch is not None
        self._formatter: Final = compile_format(
            format,
            target=self.target,
            method=endpoint.method,
            headers=dict(endpoint.headers),
            query=endpoint.query,
            constants={"app.id": format_id(APP, endpoint.app_id), "endpoint.id": format_id(ENDPOINT, endpoint.id)},
            batch=batched,
        )
        variables = REQUEST_VALUES if batched else EVENT_VALUES | REQUEST_VALUES
        self._egress, auth = compile_way(endpoint, self.target)
        self.recipe: Final = Recipe(endpoint, random, url, wrong_signatures, signed_by, self._egress)
        self.grant: Final = auth if isinstance(auth, TokenGrant) else None
        self._credentials: Final = auth if isinstance(auth, Credentials) else None
        steps: list[tuple[str, Step]] = []  # each with the field that asks for it
        if isinstance(auth, Credentials) and auth.fields:
            steps.append(("auth", auth))
        if endpoint.encryption is not None:
            is_json = isinstance(format, JsonFormat) or (
                isinstance(format, CloudEventsFormat)
                and format.mode in (CloudEventsMode.STRUCTURED, CloudEventsMode.BATCHED)
            )
            encrypt = compile_encryption(
                endpoint.encryption,
                endpoint.keys,
                method=endpoint.method.value,
                json_body=is_json,
                variables=variables,
            )
            steps.append(("encryption", encrypt))
        self._secure: Final = endpoint.tls is not None
        if isinstance(auth, Credentials) and not auth.fields:
            auth.on(self.target)
            steps.append(("auth", auth))
        if endpoint.compress is not None:
            steps.append(("compress", Gzip()))
        signers = _STANDARD if endpoint.signing is None else endpoint.signing
        if endpoint.signing is None and not endpoint.secrets:
            signers = ()
        _check_headers(endpoint, header_names(signers))
        compiled = compile_signers(
            signers,
            _with_secrets(endpoint),
            values=variables,
            checked=checked,
            wrong=wrong_signatures,
            signed_by=signed_by,
        )
        self._steps: Final = (*steps, *(("signing", signer) for signer in compiled))
        whole = not (
            self._pins
            or _takes_apart(format)
            or endpoint.encryption is not None
            or (isinstance(auth, Credentials) and auth.fields)
            or not all(isinstance(signer, (StandardSigner, HttpSigner)) for signer in signers)  # others may read fields
        )
        self.at_once_bytes: Final[int] = WHOLE_AT_ONCE_BYTES_MAX if whole else TAKEN_APART_AT_ONCE_BYTES_MAX
        if not checked:
            self._try_out(batched)

    def render(
        self,
        event: Event,
        *,
        now: float,
        replay: bool,
        token: str | None = None,
        additions: Additions | None = None,
    ) -> Request:
        """With what this event's request has of its own. Raises: Unsendable."""
        try:
            message = self._formatter.render(self._pins.event(event), now=now, random=self._random, replay=replay)
            if additions is not None:
                self._add(message, additions)
            return self._finished(message, token)
        except RecursionError:
            raise _too_deep() from None

    def render_batch(
        self, events: Sequence[Event], *, now: float, replay: bool, request_id: bytes, token: str | None = None
    ) -> Request:
        """Raises: Unsendable."""
        try:
            pinned = [self._pins.event(event) for event in events] if self._pins else events
            message = self._formatter.render_batch(
                pinned, now=now, random=self._random, replay=replay, request_id=request_id
            )
            return self._finished(message, token)
        except RecursionError:
            raise _too_deep() from None

    def order(
        self,
        events: Sequence[Event],
        *,
        now: float,
        replay: bool,
        token: str | None = None,
        request_id: bytes | None = None,
        additions: Additions | None = None,
    ) -> Order:
        """What `render`, or with a `request_id` `render_batch`, would make at once, for somebody else to make."""
        return Order(self.recipe, tuple(events), now, replay, token, request_id, additions)

    @property
    def frame_bytes(self) -> int:
        """The body of a batch has so many bytes, and `added_bytes` for each of its events, before it is encrypted or
        compressed."""
        return self._formatter.frame_bytes

    def added_bytes(self, event: Event) -> int:
        """What an event adds to it; of one that cannot be written, its payload: the request will say so. What is too large to
        be written at once is not measured either: it has a request of its own."""
        if len(event.payload) > self.at_once_bytes:
            return REQUEST_BYTES_MAX
        try:
            return self._formatter.added_bytes(self._pins.event(event))
        except (Unsendable, RecursionError):
            return len(event.payload)

    def _add(self, message: Message, additions: Additions) -> None:
        target = additions.target
        if target is not None:
            # What was judged of the endpoint's own URL holds of this one, too.
            if self._secure and target.scheme != "https":
                raise Unsendable("TLS settings need an https URL, which this event's is not")
            if self._credentials is not None:
                try:
                    self._credentials.on(target)
                except Invalid as error:
                    raise Unsendable(str(error)) from None
            message.target = target
        message.headers += additions.headers
        message.query += additions.query

    def _finished(self, message: Message, token: str | None) -> Request:
        if token is not None:
            with_token(token).apply(message)
        message.headers += self._origin
        try:
            for _, step in self._steps:
                step.apply(message)
        except Invalid as error:
            raise Unsendable(str(error)) from None
        if self._egress is not None:
            check_usable(self._egress, message.now)
        return assemble(message, self._timeouts, self._egress)

    def _try_out(self, batched: bool) -> None:
        place = "format"
        try:
            if batched:
                message = self._formatter.render_batch(
                    [SMALLEST], now=0, random=bytes, replay=False, request_id=bytes(16)
                )
            else:
                message = self._formatter.render(SMALLEST, now=0, random=bytes, replay=False)
            if self.grant is not None:
                with_token(_TOKEN).apply(message)
            for name, step in self._steps:
                place = name
                step.apply(message)
            assemble(message, self._timeouts)
        except Lacking:
            return  # the payloads of its events may have it
        except (Unsendable, Invalid) as error:
            raise Invalid(f"not even the smallest event could be sent: {error}", path=place) from None


class Recipe(msgspec.Struct, frozen=True):
    """What a `SpokenRenderer` was made of, and how the connections for its requests are."""

    endpoint: Endpoint
    random: Random
    url: str | None
    wrong_signatures: bool
    signed_by: SignedBy | None
    egress: Egress | None

    def renderer(self) -> SpokenRenderer:
        """Another one. Raises Invalid."""
        return SpokenRenderer(
            self.endpoint,
            random=self.random,
            url=self.url,
            checked=True,
            wrong_signatures=self.wrong_signatures,
            signed_by=self.signed_by,
        )


class Order(msgspec.Struct, frozen=True):
    """A request that is to be written. `request_id` is None where it brings one event, and not a batch."""

    recipe: Recipe
    events: tuple[Event, ...]
    now: float
    replay: bool
    token: str | None
    request_id: bytes | None
    additions: Additions | None

    def written(self) -> Request:
        """Raises: Unsendable, and Invalid where the endpoint cannot be spoken to."""
        renderer = self.recipe.renderer()
        if self.request_id is not None:
            return renderer.render_batch(
                self.events, now=self.now, replay=self.replay, request_id=self.request_id, token=self.token
            )
        return renderer.render(
            self.events[0], now=self.now, replay=self.replay, token=self.token, additions=self.additions
        )


def _takes_apart(format: AnyFormat) -> bool:
    """Whether a body is made of each value of a payload, rather than of the payload as it is."""
    match format:
        case FormFormat() | XmlFormat():
            return True
        case CloudEventsFormat(mode=mode):
            return mode is CloudEventsMode.XML
        case JsonFormat(body=body):
            return b"{data:" in msgspec.json.encode(body)  # as people read it
        case _:
            return False


def _too_deep() -> Unsendable:
    return Unsendable("the payload is nested more deeply than this format can be written")


def _with_secrets(endpoint: Endpoint) -> NamedKeys:
    """The endpoint's keys, and its own secrets under their name."""
    if OWN_SECRET in endpoint.keys or not endpoint.secrets:
        return endpoint.keys
    texts = tuple(signing_key(secret.kind, secret.key).text for secret in endpoint.secrets)
    return NamedKeys({**endpoint.keys, OWN_SECRET: texts})


def _check_headers(endpoint: Endpoint, signed: frozenset[str]) -> None:
    for name, _ in endpoint.headers:
        if name.lower() in signed:
            raise Invalid("a signature sets this header: leave it out here", path=f"headers.{name}")
