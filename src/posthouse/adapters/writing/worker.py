"""The main of the limited processes that write requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from posthouse.adapters.limited.serving import serve
from posthouse.adapters.writing.speech import Pinned, Refused, Written, decode_asked, encode
from posthouse.wire.message import Unsendable
from posthouse.wire.payload_version import Pinning
from posthouse.wire.signing.keys import SignedBy
from posthouse.wire.spoken import Order


def prepare(arguments: Sequence[str]) -> Callable[[bytes], bytes]:
    """What answers requests."""
    return answer


def answer(request: bytes) -> bytes:
    asked, mask = decode_asked(request)
    try:
        return encode(Pinned(asked.pinned().payload) if isinstance(asked, Pinning) else _written(asked, mask))
    except Unsendable as error:
        return encode(Refused(str(error)))


def _written(order: Order, mask: bytes | None) -> Written:
    signed: dict[int, bytes] = {}
    if mask is not None:
        recipe = msgspec.structs.replace(order.recipe, signed_by=SignedBy(mask, signed.__setitem__))
        order = msgspec.structs.replace(order, recipe=recipe)
    made = order.written()
    return Written(made.target, made.head, made.body, signed)


if __name__ == "__main__":
    serve(prepare)
