"""The main of the limited processes that write requests."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from posthouse.adapters.limited.serving import serve
from posthouse.adapters.writing.speech import Refused, Written, decode_order, encode
from posthouse.wire.message import Unsendable
from posthouse.wire.signing.keys import SignedBy


def prepare(arguments: Sequence[str]) -> Callable[[bytes], bytes]:
    """What answers requests."""
    return answer


def answer(request: bytes) -> bytes:
    order, mask = decode_order(request)
    signed: dict[int, bytes] = {}
    if mask is not None:
        recipe = msgspec.structs.replace(order.recipe, signed_by=SignedBy(mask, signed.__setitem__))
        order = msgspec.structs.replace(order, recipe=recipe)
    try:
        made = order.written()
    except Unsendable as error:
        return encode(Refused(str(error)))
    return encode(Written(made.target, made.head, made.body, signed))


if __name__ == "__main__":
    serve(prepare)
