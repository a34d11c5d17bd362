"""What waits in a lane, and what goes next: deliveries that wait for nobody, and ordered lines that go one by one."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator

from posthouse.domain.delivery import Delivery


class Line:
    """Deliveries that go one after the other, in the order of their events. `busy`: one of them, or a batch, is under way."""

    __slots__ = ("busy", "waiting")

    def __init__(self) -> None:
        self.busy = False
        self.waiting: deque[Delivery] = deque()


class Queue:
    """Three sources that take turns: fresh deliveries, rows paged in (both of no line), and lines that are ready.

    `fresh` and `paged` count what waits, with and without a line, by where it came from; `fresh_bytes` and `paged_bytes` sum
    the payloads.
    """

    __slots__ = ("_fresh", "_lines", "_paged", "_ready", "_turn", "fresh", "fresh_bytes", "paged", "paged_bytes")

    def __init__(self) -> None:
        self._fresh: deque[Delivery] = deque()
        self._paged: deque[Delivery] = deque()
        self._lines: dict[int, Line] = {}
        self._ready: deque[int] = deque()
        self._turn = 0
        self.fresh = self.fresh_bytes = 0
        self.paged = self.paged_bytes = 0

    def __len__(self) -> int:
        return self.fresh + self.paged

    @property
    def empty(self) -> bool:
        return not (self.fresh or self.paged)

    def add(self, delivery: Delivery) -> None:
        """At the end: of its line, or of those that came the same way."""
        self._count(delivery, 1)
        if delivery.line:
            line = self._lines.get(delivery.line)
            if line is None:
                line = self._lines[delivery.line] = Line()
            line.waiting.append(delivery)
            if not line.busy and len(line.waiting) == 1:
                self._ready.append(delivery.line)
        elif delivery.row:
            self._paged.append(delivery)
        else:
            self._fresh.append(delivery)

    def first(self) -> Delivery | None:
        """What `take` would return."""
        turn = self._turn
        if turn == 0 and self._fresh:
            return self._fresh[0]
        if turn <= 1 and self._paged:
            return self._paged[0]
        if self._ready:
            return self._lines[self._ready[0]].waiting[0]
        if self._fresh:
            return self._fresh[0]
        return self._paged[0] if self._paged else None

    def ready_since(self) -> float:
        """When (boot clock) the oldest of those that could go now was offered; infinity where none could."""
        since = [queue[0].offered_at for queue in (self._fresh, self._paged) if queue]
        since += [self._lines[number].waiting[0].offered_at for number in self._ready]
        return min(since, default=math.inf)

    def fresh_first(self) -> Delivery | None:
        """A fresh one of no line, if there is any, is next: `first` is a row, which may not go yet."""
        if not self._fresh:
            return None
        self._turn = 0
        return self._fresh[0]

    def take(self) -> Delivery:
        """The next one, after `first` gave it. Its line is busy until `done` or `back`."""
        turn = self._turn
        if self._fresh and (turn == 0 or not (self._ready or (turn == 1 and self._paged))):
            self._turn = 1
            delivery = self._fresh.popleft()
            self.fresh -= 1
            self.fresh_bytes -= len(delivery.event.payload)
            return delivery
        if self._paged and (turn <= 1 or not self._ready):
            self._turn = 2
            delivery = self._paged.popleft()
            self._count(delivery, -1)
            return delivery
        self._turn = 0
        line = self._lines[self._ready.popleft()]
        line.busy = True
        return self._pop(line)

    def also(self, taken: Delivery) -> Delivery | None:
        """What could go in one request with one that was just taken: the next of its line, else whatever is next."""
        if taken.line and (line := self._lines[taken.line]).waiting:
            return line.waiting[0]
        return self.first()

    def take_also(self, taken: Delivery) -> Delivery:
        """That one, after `also` gave it."""
        if taken.line and (line := self._lines[taken.line]).waiting:
            return self._pop(line)
        return self.take()

    def _pop(self, line: Line) -> Delivery:
        delivery = line.waiting.popleft()
        self._count(delivery, -1)
        return delivery

    def _count(self, delivery: Delivery, by: int) -> None:
        size = by * len(delivery.event.payload)
        if delivery.row:
            self.paged += by
            self.paged_bytes += size
        else:
            self.fresh += by
            self.fresh_bytes += size

    def done(self, number: int) -> None:
        """What was under way of a line is settled: its next may go."""
        line = self._lines[number]
        line.busy = False
        if line.waiting:
            self._ready.append(number)
        else:
            del self._lines[number]

    def back(self, deliveries: list[Delivery]) -> None:
        """These, which were taken together, go again and before all others."""
        for delivery in reversed(deliveries):
            self._count(delivery, 1)
            if delivery.line:
                line = self._lines[delivery.line]
                line.waiting.appendleft(delivery)
                if line.busy:
                    line.busy = False
                    self._ready.appendleft(delivery.line)
            elif delivery.row:
                self._paged.appendleft(delivery)
            else:
                self._fresh.appendleft(delivery)

    # Leaving memory

    def leave(self, number: int) -> list[Delivery]:
        """All that waits in a line, whose one under way (if there is one) is not settled in memory: it is over here."""
        line = self._lines.pop(number)
        if not line.busy and line.waiting:
            self._ready.remove(number)
        return self._counted(line.waiting)

    def clear(self) -> list[Delivery]:
        """All that waits, each line in its order; lines with one under way stay, and are empty."""
        left = [*self._fresh, *self._paged]
        self._fresh.clear()
        self._paged.clear()
        for number in list(self._lines):
            line = self._lines[number]
            left += line.waiting
            line.waiting = deque()
            if not line.busy:
                del self._lines[number]
        self._ready.clear()
        self.fresh = self.fresh_bytes = 0
        self.paged = self.paged_bytes = 0
        return left

    def waited(self, since: float, going_on: Callable[[], bool]) -> Iterator[list[Delivery]]:
        """What was offered before `since` and is no row: one by one, and lines as a whole, in their order, while `going_on`."""
        while self._fresh and self._fresh[0].offered_at <= since and going_on():
            delivery = self._fresh.popleft()
            self._count(delivery, -1)
            yield [delivery]
        for number in list(self._lines):
            line = self._lines[number]
            first = line.waiting[0] if line.waiting else None
            if first is not None and not first.row and first.offered_at <= since and going_on():
                yield self._emptied(number)

    def marked(self) -> Iterator[list[Delivery]]:
        """What waits again though its row says that its request runs: one by one, and lines as a whole, in their order."""
        marked = deque([delivery for delivery in self._paged if delivery.marked])
        self._paged = deque([delivery for delivery in self._paged if not delivery.marked])
        yield from [[delivery] for delivery in self._counted(marked)]
        for number in [n for n, line in self._lines.items() if line.waiting and line.waiting[0].marked]:
            yield self._emptied(number)

    def _emptied(self, number: int) -> list[Delivery]:
        """All that waits in a line, which stays while one of it is under way."""
        line = self._lines[number]
        if not line.busy:
            return self.leave(number)
        waiting, line.waiting = line.waiting, deque()
        return self._counted(waiting)

    def has(self, number: int) -> bool:
        """Whether anything of this line is here: waiting or under way."""
        return number in self._lines

    def _counted(self, deliveries: deque[Delivery]) -> list[Delivery]:
        for delivery in deliveries:
            self._count(delivery, -1)
        return list(deliveries)
