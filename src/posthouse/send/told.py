"""What a lane is told of a request that was made for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def anew(load: Sequence[Delivery], owns: Callable[[Delivery], bool]) -> bool:
    """Whether these, which went out on a kept connection that ended unanswered, go again at once, over a new one: they do if
    they are still ours. That spends none of their attempts, as the target may never have read them; and it goes by way of
    their lane, as it may have, and then this is one more request of its rate."""
    ours = all(map(owns, load))
    if ours:
        for delivery in load:
            delivery.anew = True
    return ours
