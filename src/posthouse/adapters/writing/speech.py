"""What is said to the limited processes that write requests, and what they answer."""

from __future__ import annotations

import pickle
from typing import Final

import msgspec

from posthouse.domain.exchange import Target
from posthouse.wire.payload_version import Pinning
from posthouse.wire.spoken import Order


class Written(msgspec.Struct, array_like=True, tag="written"):
    """The request. `signed` is what each signer was told to sign, where somebody wants to know."""

    target: Target
    head: bytes
    body: bytes
    signed: dict[int, bytes]


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """It cannot be written: `Unsendable`, in these words."""

    words: str


class Pinned(msgspec.Struct, array_like=True, tag="pinned"):
    """The payload as the version knew it."""

    payload: bytes


Answered = Written | Refused | Pinned

encode: Final = msgspec.msgpack.Encoder().encode
decode_answered: Final = msgspec.msgpack.Decoder(Answered).decode


def encode_order(order: Order) -> bytes:
    """An order as another of our processes reads it. Who is told what would be signed stays here: the mask goes along."""
    recipe = order.recipe
    told = recipe.signed_by
    plain = msgspec.structs.replace(order, recipe=msgspec.structs.replace(recipe, signed_by=None))
    return pickle.dumps((plain, None if told is None else told.mask))


def encode_pinning(pinning: Pinning) -> bytes:
    """The same for an event that is to be pinned."""
    return pickle.dumps((pinning, None))


def decode_asked(request: bytes) -> tuple[Order | Pinning, bytes | None]:
    """What is to be done, and the mask of who wants to know what would be signed."""
    found: tuple[Order | Pinning, bytes | None] = pickle.loads(request)  # noqa: S301 - of the process that we work for
    return found
