"""What waits in a lane: against a simple model, whatever is done to it."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fakes import an_endpoint, an_event

from posthouse.domain.delivery import Delivery, DeliveryClass
from posthouse.lane.order import Queue

ENDPOINT = an_endpoint().id


def made(seq: int, *, line: int = 0, row: bool = False, size: int = 1, at: float = 0.0) -> Delivery:
    fields: dict[str, Any] = {"number": 1, "kind": DeliveryClass.LIVE, "fresh": not row, "row": row, "line": line}
    return Delivery(an_event(seq, payload=b"x" * size), 1, ENDPOINT, offered_at=at, **fields)


def seqs(deliveries: list[Delivery]) -> list[int]:
    return [delivery.event.seq for delivery in deliveries]


class Model:
    """Everything in one list in the order in which it would go, were it all of one line; who is under way; and how often
    each of the sources was passed over."""

    def __init__(self) -> None:
        self.queue = Queue()
        self.waiting: list[Delivery] = []
        self.under_way: list[list[Delivery]] = []
        self.seq = 0

    def add(self, draw: Random) -> None:
        self.seq += 1
        line, row = draw.choice((0, 0, 7, 8, -9)), draw.random() < 0.4
        delivery = made(self.seq, line=line, row=row, size=draw.randrange(5), at=self.seq)
        self.queue.add(delivery)
        self.waiting.append(delivery)

    def busy(self) -> set[int]:
        return {delivery.line for load in self.under_way for delivery in load} - {0}

    def may_go(self, delivery: Delivery) -> bool:
        """Whether it is the first of its source, and its line is not under way."""
        if delivery.line:
            first = next(d for d in self.waiting if d.line == delivery.line)
            return first is delivery and delivery.line not in self.busy()
        return next(d for d in self.waiting if not d.line and d.row == delivery.row) is delivery

    def take(self, most: int) -> None:
        first = self.queue.first()
        ready = [d for d in self.waiting if self.may_go(d)]
        assert (first is None) is (not ready)
        if first is None:
            return
        assert first in ready
        assert self.queue.take() is first
        self.waiting.remove(first)
        load = [first]
        self.under_way.append(load)
        while len(load) < most and (following := self.queue.also(load[-1])) is not None:
            same = [d for d in self.waiting if load[-1].line and d.line == load[-1].line]
            if same:
                assert following is same[0], "a line goes together, in its order"
            else:
                self.under_way.remove(load)  # may_go asks about those of other requests
                own = {d.line for d in load}
                assert following.line == 0 or following.line not in own
                assert self.may_go(following)
                self.under_way.append(load)
            assert self.queue.take_also(load[-1]) is following
            self.waiting.remove(following)
            load.append(following)

    def end(self, draw: Random) -> None:
        if not self.under_way:
            return
        load = self.under_way.pop(draw.randrange(len(self.under_way)))
        choice = draw.random()
        if choice < 0.3:
            if choice < 0.15:  # each has a row meanwhile, which says that its request runs
                for delivery in load:
                    delivery.row, delivery.marked, delivery.fresh = True, True, False
            self.queue.back(load)
            self.waiting = load + self.waiting
            return
        for line in {d.line for d in load} - {0}:
            if not self.queue.has(line):
                continue
            if choice < 0.5:
                mine = [d for d in self.waiting if d.line == line]
                assert self.queue.leave(line) == mine
                self.waiting = [d for d in self.waiting if d.line != line]
            else:
                self.queue.done(line)

    def clear(self) -> None:
        left = self.queue.clear()
        assert Counter(seqs(left)) == Counter(seqs(self.waiting))
        for line in {d.line for d in left}:
            mine = [d for d in left if d.line == line and (line or not d.row)]
            assert mine == [d for d in self.waiting if d.line == line and (line or not d.row)]
        self.waiting = []

    def leave_marked(self) -> None:
        """These, and what is behind them in their lines."""
        lines = {d.line for d in self.waiting if d.marked} - {0}
        left = list(self.queue.marked())
        expected = [d for d in self.waiting if d.marked or d.line in lines]
        assert Counter(d.event.seq for each in left for d in each) == Counter(seqs(expected))
        for each in left:
            assert len(each) == 1 or each == [d for d in self.waiting if d.line == each[0].line]
        self.waiting = [d for d in self.waiting if d not in expected]

    def spill(self, draw: Random) -> None:
        since = draw.randrange(self.seq + 1)
        for left in list(self.queue.waited(since, lambda: True)):
            lines = {d.line for d in left}
            assert len(lines) == 1
            assert not left[0].row
            assert left[0].event.seq <= since
            if lines != {0}:
                assert left == [d for d in self.waiting if d.line in lines], "a line leaves as a whole"
            self.waiting = [d for d in self.waiting if d not in left]

    def check(self) -> None:
        queue = self.queue
        fresh, rows = [d for d in self.waiting if not d.row], [d for d in self.waiting if d.row]
        assert (queue.fresh, queue.paged, len(queue)) == (len(fresh), len(rows), len(self.waiting))
        assert queue.fresh_bytes == sum(len(d.event.payload) for d in fresh)
        assert queue.paged_bytes == sum(len(d.event.payload) for d in rows)
        for line in (7, 8, -9):
            there = any(d.line == line for d in self.waiting) or line in self.busy()
            assert queue.has(line) is there
        first = queue.first()
        assert (first is None) is (not any(self.may_go(d) for d in self.waiting))
        assert first is None or self.may_go(first)


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_it_is_as_its_model(seed: int) -> None:
    """Each line goes in its order and one at a time, what waits is counted to the byte, and nothing is lost."""
    draw, model = Random(seed), Model()
    for _ in range(120):
        choice = draw.random()
        if choice < 0.45:
            model.add(draw)
        elif choice < 0.7:
            model.take(draw.choice((1, 1, 2, 5)))
        elif choice < 0.95:
            model.end(draw)
        elif choice < 0.97:
            model.spill(draw)
        elif choice < 0.985:
            model.leave_marked()
        else:
            model.clear()
        model.check()
    while model.under_way or model.waiting:
        for load in model.under_way:
            for line in {d.line for d in load} - {0}:
                model.queue.done(line)
        model.under_way = []
        model.take(1)
        model.check()
    assert len(model.queue) == 0


def test_the_three_sources_take_turns() -> None:
    queue = Queue()
    for n in range(1, 5):
        queue.add(made(n))
        queue.add(made(10 + n, row=True))
        queue.add(made(20 + n, line=n))
    assert [queue.take().event.seq for _ in range(12)] == [1, 11, 21, 2, 12, 22, 3, 13, 23, 4, 14, 24]


@settings(deadline=None)
@given(st.integers(0, 2**32))
def test_none_of_the_sources_starves(seed: int) -> None:
    """Whatever comes meanwhile: of what could go, each source has its turn within three, and each line within all."""
    draw = Random(seed)
    queue = Queue()
    seq = 0
    passed: Counter[str] = Counter()
    for _ in range(300):
        while not queue.fresh or draw.random() < 0.3:
            seq += 1
            queue.add(made(seq, line=draw.choice((0, 0, 1, 2, 3)), row=draw.random() < 0.5))
        sources = {
            "fresh": bool(queue._fresh),
            "rows": bool(queue._paged),
            "lines": bool(queue._ready),
        }
        if not any(sources.values()):
            continue
        taken = queue.take()
        chosen = "lines" if taken.line else "rows" if taken.row else "fresh"
        if taken.line:
            queue.done(taken.line)
        for source, waits in sources.items():
            passed[source] = passed[source] + 1 if waits and source != chosen else 0
            assert passed[source] <= 2


def test_lines_take_turns_among_themselves() -> None:
    queue = Queue()
    for n in range(1, 4):
        for line in (1, 2, 3):
            queue.add(made(10 * line + n, line=line))
    order = []
    while len(queue):
        taken = queue.take()
        order.append(taken.event.seq)
        queue.done(taken.line)
    assert order == [11, 21, 31, 12, 22, 32, 13, 23, 33]


def test_what_goes_back_is_the_next_of_its_line_in_its_order() -> None:
    queue = Queue()
    for n in range(1, 5):
        queue.add(made(n, line=5))
    load = [queue.take(), queue.take_also(made(1, line=5))]
    assert seqs(load) == [1, 2]
    assert queue.first() is None, "its line is under way"
    queue.back(load)
    assert [queue.take().event.seq, queue.take_also(load[0]).event.seq, queue.take_also(load[0]).event.seq] == [1, 2, 3]


def test_a_line_whose_first_is_under_way_leaves_what_waits_behind_it() -> None:
    queue = Queue()
    for n in range(1, 4):
        queue.add(made(n, line=5, at=float(n)))
    queue.take()
    assert list(map(seqs, queue.waited(2.5, lambda: True))) == [[2, 3]]
    assert queue.has(5), "it goes on when that is done"
    queue.add(made(4, line=5))
    assert queue.first() is None
    queue.done(5)
    assert queue.take().event.seq == 4


def test_nothing_more_leaves_than_may() -> None:
    queue = Queue()
    for n in range(1, 6):
        queue.add(made(n))
    left = iter((True, True, False))
    assert list(map(seqs, queue.waited(10.0, lambda: next(left)))) == [[1], [2]]
    assert queue.fresh == 3
