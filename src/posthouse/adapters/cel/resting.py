"""Expressions that take limited processes with them: after a few times in a row they are not evaluated for a while."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence

from posthouse.domain.expression import Use
from posthouse.domain.limits import EXPRESSION_REST_SECONDS, EXPRESSION_STRIKES_MAX, EXPRESSIONS_RESTING_MAX

Text = tuple[str, Use]


class Resting:
    """Of each app and expression how often in a row it had its process killed, and until when it rests. Bounded: the oldest are
    forgotten, which costs a few processes more."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._strikes: OrderedDict[tuple[str, Text], tuple[int, float]] = OrderedDict()

    @property
    def count(self) -> int:
        """How many rest now."""
        now = self._now()
        return sum(1 for _, until in self._strikes.values() if until > now)

    def rests(self, owner: str, text: Text) -> bool:
        """Whether it is not to be evaluated now."""
        known = self._strikes.get((owner, text))
        return known is not None and known[1] > self._now()

    def struck(self, owner: str, text: Text) -> None:
        """It had its process killed. One that has rested, and does so again, rests again at once."""
        strikes = self._strikes.pop((owner, text), (0, 0.0))[0] + 1
        until = self._now() + EXPRESSION_REST_SECONDS if strikes >= EXPRESSION_STRIKES_MAX else 0.0
        self._strikes[owner, text] = (strikes, until)
        if len(self._strikes) > EXPRESSIONS_RESTING_MAX:
            self._strikes.popitem(last=False)

    def went_well(self, owner: str, texts: Sequence[Text]) -> None:
        """These came to something, be it an error."""
        if self._strikes:
            for text in texts:
                self._strikes.pop((owner, text), None)
