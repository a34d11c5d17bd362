"""The way in: a request is verified, its event claimed, and settled after the work.

A `Gate` is for a program that handles the event in a function of its own (a view, a route); a `Receiver` is a gate with
handlers by type.
"""

from __future__ import annotations

import hashlib
import logging
import secrets as randomness
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypedDict

from posthouse_sdk.errors import ReceiverError, VerificationError
from posthouse_sdk.received import Claimed, ReceivedEvent
from posthouse_sdk.receiving.answers import Answer, Outcome, of_one, refused, status_of, too_large
from posthouse_sdk.receiving.steps import Call, Course, arun, is_async, run
from posthouse_sdk.receiving.store import AnyReplayStore, Claim
from posthouse_sdk.signatures import MESSAGE_ID_LENGTH_MAX, is_message_id
from posthouse_sdk.webhook import TOLERANCE_SECONDS, Headers, Webhook

if TYPE_CHECKING:
    from posthouse_sdk.decryption import Decrypt

BODY_BYTES_MAX: Final = 4 * 1024 * 1024
SCOPE_LENGTH_MAX: Final = 100
HELD_RETRY_SECONDS: Final = 10.0
STORE_RETRY_SECONDS: Final = 10.0

log: Final = logging.getLogger("posthouse_sdk.receiving")


class GateOptions(TypedDict, total=False):
    """How a gate lets in, besides its secrets; see `Gate`."""

    store: AnyReplayStore | None
    scope: str
    tolerance: float
    clock: Callable[[], float]
    decrypt: Decrypt | None
    duplicate_status: int
    body_bytes_max: int
    new_token: Callable[[], str]


class Gate:
    """Lets each event in once: verified, and claimed in the replay store until it is settled.

    `store` may be blocking or asynchronous; without one, every verified request is let in. `scope` keeps endpoints apart that
    share a store: an event that goes to two of them has the same id at both. `duplicate_status` answers a request whose event
    is confirmed already: a 2xx, so that the sender is done with it, or 409. `body_bytes_max` is what the integrations take,
    and what a compressed body may become.
    `decrypt` opens encrypted bodies, once they are verified: a `Decryption`. Without `secrets` it lets in what a
    `ProfileReceiver` verified, and nothing else.

    Raises: SecretError for a secret that cannot be used, ReceiverError for anything else that will not do.
    """

    def __init__(
        self,
        secrets: str | Iterable[str] | None,
        *,
        store: AnyReplayStore | None = None,
        scope: str = "",
        tolerance: float = TOLERANCE_SECONDS,
        clock: Callable[[], float] = time.time,
        decrypt: Decrypt | None = None,
        duplicate_status: int = 200,
        body_bytes_max: int = BODY_BYTES_MAX,
        new_token: Callable[[], str] = lambda: randomness.token_hex(16),
    ) -> None:
        if duplicate_status != 409 and not 200 <= duplicate_status < 300:
            raise ReceiverError(
                f"duplicate_status is {duplicate_status}: a 2xx, or 409; what else would the sender do?"
            )
        if scope and not (is_message_id(scope) and len(scope) <= SCOPE_LENGTH_MAX):
            raise ReceiverError(f"a scope is up to {SCOPE_LENGTH_MAX} visible ASCII characters without a full stop")
        self._webhook: Final = (
            None
            if secrets is None
            else Webhook(secrets, tolerance=tolerance, clock=clock, decrypt=decrypt, unpacked_bytes_max=body_bytes_max)
        )
        self.body_bytes_max: Final = body_bytes_max
        self._store: Final[Any] = store
        self._store_is_async: Final = store is not None and is_async(store.claim)
        self._quick: Final = bool(getattr(store, "quick", False))
        self._scope: Final = scope
        self._duplicate_status: Final = duplicate_status
        self._new_token: Final = new_token

    def admit(self, body: bytes | str, headers: Headers) -> ReceivedEvent[Any] | Answer:
        """The event of a request, to be handled now and settled then; or what to answer at once."""
        self.check_blocking()
        return run(self.admission(body, headers))

    async def aadmit(self, body: bytes | str, headers: Headers) -> ReceivedEvent[Any] | Answer:
        """The same on an event loop."""
        return await arun(self.admission(body, headers))

    def settle(self, event: ReceivedEvent[Any], *, confirmed: bool) -> None:
        """Confirm an admitted event, or release it so that it may come again. Never raises: a store that fails is logged."""
        run(self.settling(event, confirmed=confirmed))

    async def asettle(self, event: ReceivedEvent[Any], *, confirmed: bool) -> None:
        """The same on an event loop."""
        await arun(self.settling(event, confirmed=confirmed))

    def too_large(self) -> Answer:
        return too_large(self.body_bytes_max)

    # For integrations and for Receiver

    def check_blocking(self) -> None:
        """Raises: ReceiverError where the store can be used on an event loop only."""
        if self._store_is_async:
            raise ReceiverError(
                f"a {type(self._store).__name__} is asynchronous and this program is not: take the blocking store of its kind"
            )

    @property
    def webhook(self) -> Webhook:
        """Raises: ReceiverError where there are no secrets."""
        if self._webhook is None:
            raise ReceiverError("there is no secret here: only events that a ProfileReceiver verified come in")
        return self._webhook

    def read(self, body: bytes | str, headers: Headers) -> list[ReceivedEvent[Any]] | Answer:
        """The verified events of a request, or the refusal."""
        try:
            return self.webhook.unwrap_all(body, headers)
        except VerificationError as error:
            return self.refuse(error)

    def refuse(self, error: VerificationError) -> Answer:
        """The refusal; what is our own fault is logged as an error."""
        level = logging.ERROR if status_of(error) >= 500 else logging.WARNING
        log.log(level, "a webhook was refused: %s: %s", type(error).__name__, error)
        return refused(error)

    def admission(self, body: bytes | str | Answer, headers: Headers) -> Course[ReceivedEvent[Any] | Answer]:
        """See `admit`. A body that is an answer already is one."""
        if isinstance(body, Answer):
            return body
        try:
            event = self.webhook.unwrap(body, headers)
        except VerificationError as error:
            return self.refuse(error)
        claimed = yield from self.claiming(event)
        return of_one(claimed) if isinstance(claimed, Outcome) else claimed

    def passage(
        self,
        body: bytes | str | Answer,
        headers: Headers,
        work: Callable[[ReceivedEvent[Any]], Any],
        confirms: Callable[[Any], bool],
    ) -> Course[Any]:
        """The way through: admission, the work, and its settlement by what the work returned; or an Answer.

        What the work raises goes on, once the event is released.
        """
        event = yield from self.admission(body, headers)
        if isinstance(event, Answer):
            return event
        try:
            returned = yield Call(work, (event,))
        except Exception:
            yield from self.settling(event, confirmed=False)
            raise
        yield from self.settling(event, confirmed=confirms(returned))
        return returned

    def claiming(self, event: ReceivedEvent[Any]) -> Course[ReceivedEvent[Any] | Outcome]:
        """The event with its claim, or what became of it without any work."""
        if self._store is None:
            return event
        key, token = self._key(event), self._new_token()
        try:
            claim = yield Call(self._store.claim, (key, token), self._quick)
        except Exception:
            log.exception("the replay store failed to claim %s", key)
            return Outcome(503, "the replay store is out of reach", STORE_RETRY_SECONDS)
        match claim:
            case Claim.GRANTED:
                return replace(event, claim=Claimed(key, token))
            case Claim.HELD:
                return Outcome(409, "this event is being handled", HELD_RETRY_SECONDS)
            case Claim.CONFIRMED:
                return Outcome(self._duplicate_status, "this event was handled before")
            case _:
                raise TypeError(f"{type(self._store).__name__}.claim returned {claim!r}, which is no Claim")

    def settling(self, event: ReceivedEvent[Any], *, confirmed: bool) -> Course[None]:
        """The end of a claim. A store that fails now costs at most a second handling, after the claim has ended."""
        if event.claim is None:
            return
        call = self._store.confirm if confirmed else self._store.release
        try:
            yield Call(call, (event.claim.key, event.claim.token), self._quick)
        except Exception:
            log.exception("the replay store failed to %s %s", "confirm" if confirmed else "release", event.claim.key)

    def _key(self, event: ReceivedEvent[Any]) -> str:
        """The `webhook-id`; of a batch, the id of the event in it: alone, the event has the same."""
        id = event.id if event.batched else event.message_id
        if not is_message_id(id) or len(id) > MESSAGE_ID_LENGTH_MAX:
            id = f"sha256-{hashlib.sha256(id.encode('utf-8', 'surrogatepass')).hexdigest()}"
        return f"{self._scope}.{id}" if self._scope else id
