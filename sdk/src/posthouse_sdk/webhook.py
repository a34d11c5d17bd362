"""Receiving: is this request from who it claims to be, and is it new?

Source: Standard Webhooks 1.0.0, sections "Webhook headers" and "Verifying signatures".
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol

from posthouse_sdk.errors import (
    BodyNotJsonError,
    FutureTimestampError,
    MalformedHeaderError,
    MissingHeaderError,
    ParsedBodyError,
    SecretError,
    SeveralEventsError,
    StaleTimestampError,
)
from posthouse_sdk.signatures import V1, V1A, Key, VerifyingKey, is_message_id, parse_secret, sign

if TYPE_CHECKING:
    from posthouse_sdk.decryption import Decrypt
    from posthouse_sdk.received import ReceivedEvent

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"

TOLERANCE_SECONDS: Final = 300
TIMESTAMP_DIGITS_MAX: Final = 12
SIGNATURES_MAX: Final = 32
UNPACKED_BYTES_MAX: Final = 16 * 1024 * 1024

_NAMES: Final = (ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER)
RAW_BYTES: Final = "pass the raw bytes of the body, as they were received"


class Headers(Protocol):
    """A mapping, or what a framework has for headers: pairs of a name, in any case, and a value."""

    def items(self) -> Iterable[tuple[str, str]]: ...


class Webhook:
    """Verifies requests signed with any of some secrets, and signs requests for tests of receivers.

    `secrets` are `whsec_…` (shared), `whpk_…` (public key) or `whsk_…` (key pair); several are in force while a secret
    is rotated. `tolerance` is how many seconds a request's timestamp may lie from `clock()` (unix seconds). `decrypt` opens the
    body of a request once it is verified (`posthouse_sdk.Decryption`): what is signed is the body as it was sent. One that was
    sent with `Content-Encoding: gzip` is unpacked before that, to `unpacked_bytes_max` at most.

    Raises: SecretError for a secret that cannot be used.
    """

    __slots__ = ("_clock", "_decrypt", "_keys", "_tolerance", "_unpacked_bytes_max")

    def __init__(
        self,
        secrets: str | Iterable[str],
        *,
        tolerance: float = TOLERANCE_SECONDS,
        clock: Callable[[], float] = time.time,
        decrypt: Decrypt | None = None,
        unpacked_bytes_max: int = UNPACKED_BYTES_MAX,
    ) -> None:
        self._keys: Final[tuple[Key, ...]] = tuple(
            parse_secret(text) for text in ([secrets] if isinstance(secrets, str) else secrets)
        )
        if not self._keys:
            raise SecretError("a webhook needs at least one secret")
        self._tolerance: Final = tolerance
        self._clock: Final = clock
        self._decrypt: Final = decrypt
        self._unpacked_bytes_max: Final = unpacked_bytes_max

    def unwrap(self, body: bytes | str, headers: Headers) -> ReceivedEvent[Any]:
        """The event of a request that one of the secrets signed, within the tolerance.

        `body` is what came over the wire, unparsed; header names may be of any case. Raw bytes, the standard envelope and
        CloudEvents are told apart by the content type. Keep the `id` of what you have handled: a sender may deliver an
        event more than once (a `Receiver` or a `Gate` with a replay store does it for you).

        Raises: a subclass of VerificationError that names the cause; SeveralEventsError for a batch.
        """
        events = self.unwrap_all(body, headers)
        if len(events) != 1 or events[0].batched:
            raise SeveralEventsError(
                f"the request brings {len(events)} events in a batch: use unwrap_all() or a Receiver"
            )
        return events[0]

    def unwrap_all(self, body: bytes | str, headers: Headers) -> list[ReceivedEvent[Any]]:
        """The same for an endpoint that is sent batches: the events of the request, in their order.

        Raises: a subclass of VerificationError that names the cause.
        """
        from posthouse_sdk.received import events_of

        raw = raw_of(body)
        message_id, timestamp = self._verified(raw, headers)
        raw = self._unpacked(raw, headers)
        if self._decrypt is not None:
            opened = self._decrypt(raw, headers)
            raw = opened.body
            headers = {name.lower(): value for name, value in headers.items()} | {"content-type": opened.content_type}
        return events_of(raw, headers, message_id, timestamp)

    def verify(self, body: bytes | str, headers: Headers) -> Any:
        """The parsed JSON body of a request that one of the secrets signed, within the tolerance.

        `body` is what came over the wire, unparsed; header names may be of any case. Keep the `webhook-id` of what you
        have handled: a sender may deliver an event more than once.

        Raises: a subclass of VerificationError that names the cause.
        """
        raw = raw_of(body)
        self.check(raw, headers)
        raw = self._unpacked(raw, headers)
        if self._decrypt is not None:
            raw = self._decrypt(raw, headers).body
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise BodyNotJsonError("the signature is right, but the body is not JSON: use check()") from error

    def check(self, body: bytes | str, headers: Headers) -> None:
        """The same for a body of any kind: it is verified, and neither unpacked nor decrypted nor parsed.

        Raises: a subclass of VerificationError that names the cause.
        """
        self._verified(raw_of(body), headers)

    def _verified(self, raw: bytes, headers: Headers) -> tuple[str, int]:
        """The id and the time (unix seconds) that are signed with the body."""
        found = _find(headers)
        message_id, timestamp = found[ID_HEADER], found[TIMESTAMP_HEADER]
        if not is_message_id(message_id):
            raise MalformedHeaderError(ID_HEADER, "is not an id: visible ASCII characters without a full stop")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= TIMESTAMP_DIGITS_MAX):
            raise MalformedHeaderError(TIMESTAMP_HEADER, "is not a whole number of seconds since 1970")
        signatures = _split(found[SIGNATURE_HEADER])
        check_age(int(timestamp), now=self._clock(), tolerance=self._tolerance)
        prefix = f"{message_id}.{timestamp}.".encode("ascii")
        for key in self._keys:
            if key.verifies(prefix, raw, signatures[key.version]):
                return message_id, int(timestamp)
        from posthouse_sdk.diagnosis import why_none_matched

        raise why_none_matched(self._keys, prefix, raw, signatures, headers)

    def _unpacked(self, raw: bytes, headers: Headers) -> bytes:
        if not any(name.lower() == "content-encoding" for name, _ in headers.items()):
            return raw
        from posthouse_sdk.compression import unpacked

        return unpacked(raw, headers, bytes_max=self._unpacked_bytes_max)

    def sign(self, message_id: str, timestamp: int, body: bytes | str) -> dict[str, str]:
        """The three headers of a request as a sender would make them; every secret signs. For tests of receivers.

        Raises: SecretError where a secret can only verify (`whpk_…`), ValueError for an unusable id.
        """
        signers = [key for key in self._keys if not isinstance(key, VerifyingKey)]
        if len(signers) < len(self._keys):
            raise SecretError("a whpk_ key can only verify; signing takes whsec_ or whsk_")
        return {
            ID_HEADER: message_id,
            TIMESTAMP_HEADER: str(int(timestamp)),
            SIGNATURE_HEADER: sign(message_id, timestamp, raw_of(body), signers),
        }


def check_age(signed_at: float, *, now: float, tolerance: float) -> None:
    """All in (unix) seconds. Raises: StaleTimestampError, FutureTimestampError."""
    age = now - signed_at
    if age > tolerance:
        raise StaleTimestampError(f"signed {age:.0f} s ago; at most {tolerance:g} s are tolerated")
    if age < -tolerance:
        raise FutureTimestampError(
            f"signed {-age:.0f} s in the future; at most {tolerance:g} s are tolerated. Is the clock right?"
        )


def raw_of(body: bytes | str) -> bytes:
    """The bytes that came. Raises: ParsedBodyError for what is neither bytes nor text."""
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    if isinstance(body, bytes | bytearray | memoryview):
        return bytes(body)
    raise ParsedBodyError(f"the body is a {type(body).__name__}: {RAW_BYTES}, before any parsing")


def _find(headers: Headers) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        lower = name.lower()
        if lower not in _NAMES:
            continue
        if not isinstance(value, str):
            raise MalformedHeaderError(lower, f"is a {type(value).__name__}, not a text")
        if found.setdefault(lower, value) != value:
            # The application might read the other one.
            raise MalformedHeaderError(lower, "came twice, with different values")
    for name in _NAMES:
        if not found.get(name):
            raise MissingHeaderError(name)
    return found


def _split(value: str) -> dict[str, list[bytes]]:
    """The signatures of each version we know; what another version means is not ours to judge."""
    parts = value.split(" ")
    if len(parts) > SIGNATURES_MAX:
        raise MalformedHeaderError(SIGNATURE_HEADER, f"holds more than {SIGNATURES_MAX} signatures")
    by_version: dict[str, list[bytes]] = {V1: [], V1A: []}
    well_formed = False
    for part in parts:
        version, comma, encoded = part.partition(",")
        if version and comma and encoded:
            well_formed = True
            if version in by_version:
                by_version[version].append(part.encode("utf-8", "surrogatepass"))
    if not well_formed:
        raise MalformedHeaderError(SIGNATURE_HEADER, "holds no signature of the form version,base64")
    return by_version
