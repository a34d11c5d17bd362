"""What a lane is told of a request that was made for it."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from posthouse.domain.delivery import Delivery, Fate


class Told(msgspec.Struct, gc=False):
    """What a lane is told of a request: the fate of each of its deliveries, in order. `seconds` is how long the target took,
    None where nothing was asked of it. `adopted` are those that the lane was given anew when their results were on their way
    already: what came of them is not recorded for who gave them."""

    fates: Sequence[Fate]
    seconds: float | None = None
    overloaded: bool = False
    adopted: Sequence[Delivery] = ()
