"""For the tests of those who use Posthouse: a target, and requests as it would send them."""

from posthouse_sdk.testing.requests import (
    OTHER_SECRET,
    SECRET,
    Flaw,
    SignedRequest,
    again,
    signed_batch,
    signed_request,
)
from posthouse_sdk.testing.target import Arrival, Target

__all__ = [
    "OTHER_SECRET",
    "SECRET",
    "Arrival",
    "Flaw",
    "SignedRequest",
    "Target",
    "again",
    "signed_batch",
    "signed_request",
]
