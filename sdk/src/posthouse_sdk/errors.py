"""What can be wrong with a secret or a received request; each cause is a class of its own.

Every text is fit for a log: none holds a secret or a part of one.

    VerificationError               do not trust the request; answer 400 or 401
    ├── MissingHeaderError          one of the three webhook headers is not there
    ├── MalformedHeaderError        a webhook header is there and cannot be read
    ├── StaleTimestampError         signed longer ago than the tolerance: a replay, or a clock that is wrong
    ├── FutureTimestampError        signed in the future beyond the tolerance: a clock that is wrong
    ├── NoMatchingSignatureError    no signature fits a secret: the wrong secret, or the body is not what was sent
    │   ├── ReserialisedBodyError   the body was parsed and written anew on the way: the receiver's own fault
    │   └── WrongSecretKindError    signed with the other kind of key than the one that is given here
    ├── DecryptionError             the signature is right, and the body does not open with any key given here
    ├── ParsedBodyError             (also a TypeError) the caller passed a parsed body instead of the raw bytes
    └── MalformedBodyError          the signature is right, and the body is not an event
        ├── BodyNotJsonError        it is not JSON: use `Webhook.check`
        ├── SeveralEventsError      it brings several events: use `Webhook.unwrap_all`, or a `Receiver`
        ├── UnknownEncodingError    it is compressed in a way that is not read here: only gzip is
        └── BodyTooLargeError       it was compressed, and becomes larger than is taken
    SecretError                     (a ValueError) a secret or key that cannot be used
    ReceiverError                   a receiver that is put together wrongly; what to do is in the text
    └── ProfileError                a profile, or a key or setting of one, that cannot be used
    ReplayStoreError                the store of what was received cannot do its work
    └── ClaimLostError              the claim ran out before the work was done, and somebody else took the event
"""

from __future__ import annotations


class VerificationError(Exception):
    """The request is not proven to come from the sender."""


class MissingHeaderError(VerificationError):
    """A webhook header is missing; `header` is its name. Of some platforms it is a parameter or a field: that says `kind`."""

    def __init__(self, header: str, kind: str = "header") -> None:
        super().__init__(f"the {kind} {header} is missing")
        self.header = header


class MalformedHeaderError(VerificationError):
    """A webhook header cannot be read; `header` is its name, `kind` as of a MissingHeaderError."""

    def __init__(self, header: str, why: str, kind: str = "header") -> None:
        super().__init__(f"the {kind} {header} {why}")
        self.header = header


class StaleTimestampError(VerificationError):
    """The request was signed longer ago than the tolerance allows."""


class FutureTimestampError(VerificationError):
    """The request was signed in the future, beyond the tolerance."""


class NoMatchingSignatureError(VerificationError):
    """No signature of the request was made with any of the secrets."""


class ReserialisedBodyError(NoMatchingSignatureError):
    """The body was parsed and written anew before it was verified: its signature fits another spelling of it."""


class WrongSecretKindError(NoMatchingSignatureError):
    """The request is signed with one kind of key only (`v1` or `v1a`), and no secret of that kind is given here."""


class DecryptionError(VerificationError):
    """The signature is right, and the body does not open: another key, or another shape than is configured here."""


class ParsedBodyError(VerificationError, TypeError):
    """The body passed in was parsed; only the bytes as they were received can be verified."""


class MalformedBodyError(VerificationError):
    """The signature is right, and the body is not an event."""


class BodyNotJsonError(MalformedBodyError):
    """The signature is right, and the body is not JSON."""


class SeveralEventsError(MalformedBodyError):
    """The signature is right, and the request brings several events where one was expected."""


class UnknownEncodingError(MalformedBodyError):
    """The signature is right, and the body's `Content-Encoding` is another one than gzip."""


class BodyTooLargeError(MalformedBodyError):
    """The signature is right, and the compressed body is larger than is taken once it is unpacked."""


class SecretError(ValueError):
    """A secret or key is of the wrong form or size."""


class ReceiverError(Exception):
    """A receiver is put together wrongly."""


class ProfileError(ReceiverError):
    """A profile cannot be used: there is no such one, it says what is not known here, or lacks a key or setting."""


class ReplayStoreError(Exception):
    """A replay store cannot do what it promises."""


class ClaimLostError(ReplayStoreError):
    """The claim on an event ran out, and somebody else has taken it: whatever is not committed must be rolled back."""
