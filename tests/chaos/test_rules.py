"""Each rule fires: a good history, spoilt in one place each time, by hand."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from tests.chaos.history import (
    Again,
    Arrival,
    Asked,
    Attempt,
    Endpoint,
    Exit,
    History,
    Kind,
    Logged,
    Partition,
    Published,
    Trouble,
    Try,
)
from tests.chaos.rules import check

LINE, LINES, RATED, OTHERS = "/0/line", "/0/lines", "/0/rated", "/1/plain"
EVENTS = 6
EVERYWHERE = (LINE, LINES, RATED)


def at(n: int) -> float:
    """When event n is published."""
    return 1_000.0 + n


def attempt(path: str, event: str, when: float, outcome: str = "delivered", status: int | None = 200) -> Attempt:
    return Attempt(path, event, 1, False, outcome, "confirmed", True, status, when, when + 0.01)


def arrival(path: str, event: str, when: float, **fields: object) -> Arrival:
    made = Arrival(path, event, when, status=200, answered=when + 0.01, request=int(when * 1000))
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def good() -> History:
    """Six events of one app, every second, delivered at once to three endpoints; another app has an endpoint too."""
    history = History(
        endpoints=[
            Endpoint("ep_1", "app-0", LINE, Asked(900.0, 901.0), ordering="endpoint"),
            Endpoint("ep_2", "app-0", LINES, Asked(900.0, 901.0), ordering="key"),
            Endpoint("ep_3", "app-0", RATED, Asked(900.0, 901.0), rate=(2.0, 1), types=("a",)),
            Endpoint("ep_4", "app-1", OTHERS, Asked(900.0, 901.0)),
        ],
        partitions=[Partition(0, EVENTS, EVENTS, True)],
    )
    for n in range(EVENTS):
        event = f"evt_{n}"
        one = Try(0, at(n), at(n) + 0.01, 202, event)
        history.published.append(Published(f"t{n}", "app-0", "a", f"k{n % 2}", n == 0, [one]))
        history.log.append(Logged(event, 0, n + 1, "app-0", "a", f"k{n % 2}", f"t{n}"))
        for path in EVERYWHERE:
            history.arrivals.append(arrival(path, event, at(n) + 0.1))
            history.attempts.append(attempt(path, event, at(n) + 0.1))
    return history


def of(history: History, path: str, n: int) -> Arrival:
    return next(a for a in history.arrivals if a.path == path and a.event == f"evt_{n}")


def fired(history: History) -> set[str]:
    return {offence.rule for offence in check(history)}


def test_a_good_history_offends_against_nothing() -> None:
    assert check(good()) == []


Spoil = Callable[[History], object]


def _lost_in_the_log(history: History) -> None:
    history.published[2].tries[0].event = "evt_99"


def _twice_for_one_key(history: History) -> None:
    history.log.append(Logged("evt_9", 0, 7, "app-0", "a", None, "t0"))


def _unwanted(history: History) -> None:
    history.log.append(Logged("evt_9", 0, 7, "app-0", "a", None, "t9"))


def _late_in_the_log(history: History) -> None:
    history.log[0].seq, history.log[5].seq = 6, 1


def _two_at_one_place(history: History) -> None:
    history.log[3].seq = history.log[2].seq


def _never_delivered(history: History) -> None:
    history.arrivals.remove(of(history, LINES, 5))


def _never_confirmed(history: History) -> None:
    of(history, RATED, 3).status = 500


def _of_another_app(history: History) -> None:
    history.arrivals.append(arrival(OTHERS, "evt_1", at(1) + 0.2))


def _of_another_type(history: History) -> None:
    history.endpoints[2].types = ("b",)


def _of_no_event(history: History) -> None:
    history.arrivals.append(arrival(LINE, "evt_9", at(9)))


def _after_it_was_deleted(history: History) -> None:
    history.endpoints[2].deleted = Asked(at(3) - 0.5, at(3) - 0.4)


def _while_it_was_paused(history: History) -> None:
    history.endpoints[2].pauses.append((Asked(at(3) - 0.5, at(3) - 0.4), Asked(at(5), at(5) + 0.1)))


def _overtaken(history: History) -> None:
    of(history, LINE, 3).at = at(4) + 0.2


def _overtaken_on_a_key(history: History) -> None:
    of(history, LINES, 2).at = at(4) + 0.5  # 4 has its key


def _before_it_was_confirmed(history: History) -> None:
    first = of(history, LINE, 2)
    first.answered = at(3) + 0.5


def _failed_and_passed_over(history: History) -> None:
    of(history, LINE, 2).status = 500
    history.arrivals.append(arrival(LINE, "evt_2", at(4)))


def _back_and_on_over_a_gap(history: History) -> None:
    history.troubles.append(Trouble(Kind.KILLED, at(0), at(9)))
    history.arrivals += [arrival(LINE, "evt_3", at(6)), arrival(LINE, "evt_5", at(7))]


def _too_fast(history: History) -> None:
    for n in range(EVENTS):
        of(history, RATED, n).at = at(5) + 0.02 * n


def _again_for_no_reason(history: History) -> None:
    history.arrivals.append(arrival(LINES, "evt_5", at(6)))


def _again_after_a_planned_restart(history: History) -> None:
    _again_for_no_reason(history)
    history.troubles.append(Trouble(Kind.RESTARTED, at(5), at(7), 0))


def _again_though_the_machine_starved_at_another_time(history: History) -> None:
    _again_after_a_planned_restart(history)
    history.lags.append((at(50), 1.0))


def _again_as_another_process_was_killed(history: History) -> None:
    _again_for_no_reason(history)
    history.troubles.append(Trouble(Kind.KILLED, at(5), at(7), 1))


def _again_long_after_it_was_on_record(history: History) -> None:
    history.arrivals.append(arrival(LINES, "evt_5", at(60)))
    history.troubles.append(Trouble(Kind.KILLED, at(50), at(59), 0))


def _again_as_its_sender_woke_long_ago(history: History) -> None:
    _sent_once_more_by_who_was_stopped(history)
    history.arrivals.append(arrival(LINES, "evt_5", at(12)))


def _again_by_who_never_sent_it(history: History) -> None:
    _sent_once_more_by_who_was_stopped(history)
    history.arrivals[-1].sender = (2, 1)
    history.troubles.append(Trouble(Kind.STOPPED, at(5), at(8), 2))


def _again_and_again(history: History) -> None:
    history.troubles.append(Trouble(Kind.KILLED, at(5), at(7), 0))
    history.arrivals += [arrival(LINES, "evt_5", at(6) + n / 100) for n in range(65)]


def _replayed_unasked(history: History) -> None:
    history.arrivals.append(arrival(RATED, "evt_1", at(9), replay=True))


def _replayed_more_often_than_asked(history: History) -> None:
    history.again.append(Again(RATED, Asked(at(8), at(8) + 0.1), event="evt_1", accepted=True))
    history.arrivals += [arrival(RATED, "evt_1", at(9), replay=True), arrival(RATED, "evt_1", at(30), replay=True)]


def _replayed_though_younger_than_an_answer_that_was_lost(history: History) -> None:
    history.again.append(Again(RATED, Asked(at(1) - 60, at(1) - 59), since=900.0, accepted=True, times=2))
    history.arrivals.append(arrival(RATED, "evt_1", at(9), replay=True))


def _replayed_though_younger(history: History) -> None:
    history.again.append(Again(RATED, Asked(at(2) - 0.5, at(2) - 0.4), since=900.0, accepted=True))
    history.arrivals.append(arrival(RATED, "evt_5", at(9), replay=True))


def _not_resent(history: History) -> None:
    history.again.append(Again(LINE, Asked(at(50), at(50) + 0.1), event="evt_1", accepted=True))


def _spent_for_nothing(history: History) -> None:
    history.attempts.append(attempt(LINE, "evt_1", at(1), "failed", None))


def _spent_as_if_it_had_failed(history: History) -> None:
    history.attempts.append(attempt(LINE, "evt_1", at(1), "failed", 500))


def _on_record_twice(history: History) -> None:
    history.attempts.append(attempt(LINE, "evt_1", at(1)))


def _given_up(history: History) -> None:
    history.attempts.append(attempt(LINE, "evt_1", at(1), "gave_up", None))


def _not_on_record(history: History) -> None:
    history.attempts.pop()


def _cursor_behind(history: History) -> None:
    history.partitions[0].cursor -= 1


def _nobodys(history: History) -> None:
    history.partitions[0].owned = False


def _owed(history: History) -> None:
    history.owed.append("evt_1 to /0/line, in_flight")


def _unfinished(history: History) -> None:
    history.unfinished.append("job replay running")


def _not_answered(history: History) -> None:
    history.published.append(Published("t9", "app-0", "a", None, False, [Try(0, at(9), at(9) + 1, None)]))


def _not_answered_in_a_planned_restart(history: History) -> None:
    _not_answered(history)
    history.troubles.append(Trouble(Kind.RESTARTED, at(9) + 0.5, at(12), 0))


def _not_answered_in_time(history: History) -> None:
    _not_answered(history)
    history.published[-1].tries[0].late = True


def _refused(history: History) -> None:
    history.published.append(Published("t9", "app-0", "a", None, False, [Try(0, at(9), at(9) + 1, 500)]))


def _ended_by_itself(history: History) -> None:
    history.exits.append(Exit(1, at(3), 0, planned=False))


def _ended_badly(history: History) -> None:
    history.exits.append(Exit(1, at(3), 1, planned=True))


def _alarm(history: History) -> None:
    history.alarms.append("the log was rewound")


@pytest.mark.parametrize(
    ("spoil", "rules"),
    [
        (_lost_in_the_log, {"kept"}),
        (_twice_for_one_key, {"kept", "complete", "spent"}),
        (_unwanted, {"kept"}),
        (_late_in_the_log, {"kept", "ordered"}),
        (_two_at_one_place, {"kept"}),
        (_never_delivered, {"complete", "spent"}),
        (_never_confirmed, {"complete", "spent"}),
        (_of_another_app, {"addressed"}),
        (_of_another_type, {"addressed"}),
        (_of_no_event, {"addressed"}),
        (_after_it_was_deleted, {"addressed"}),
        (_while_it_was_paused, {"addressed"}),
        (_overtaken, {"ordered"}),
        (_overtaken_on_a_key, {"ordered"}),
        (_before_it_was_confirmed, {"ordered"}),
        (_failed_and_passed_over, {"ordered"}),
        (_back_and_on_over_a_gap, {"ordered"}),
        (_too_fast, {"paced"}),
        (_again_for_no_reason, {"repeated"}),
        (_again_after_a_planned_restart, {"repeated"}),
        (_again_though_the_machine_starved_at_another_time, {"repeated"}),
        (_again_as_another_process_was_killed, {"repeated"}),
        (_again_long_after_it_was_on_record, {"repeated"}),
        (_again_as_its_sender_woke_long_ago, {"repeated"}),
        (_again_by_who_never_sent_it, {"repeated"}),
        (_again_and_again, {"repeated"}),
        (_replayed_unasked, {"asked again"}),
        (_replayed_though_younger, {"asked again"}),
        (_replayed_though_younger_than_an_answer_that_was_lost, {"asked again"}),
        (_replayed_more_often_than_asked, {"asked again"}),
        (_not_resent, {"asked again"}),
        (_spent_for_nothing, {"spent"}),
        (_spent_as_if_it_had_failed, {"spent"}),
        (_on_record_twice, {"spent"}),
        (_given_up, {"spent"}),
        (_not_on_record, {"spent"}),
        (_cursor_behind, {"at rest"}),
        (_nobodys, {"at rest"}),
        (_owed, {"at rest"}),
        (_unfinished, {"at rest"}),
        (_not_answered, {"answered"}),
        (_not_answered_in_a_planned_restart, {"answered"}),
        (_not_answered_in_time, {"answered"}),
        (_refused, {"answered"}),
        (_ended_by_itself, {"answered"}),
        (_ended_badly, {"answered"}),
        (_alarm, {"answered"}),
    ],
)
def test_a_spoilt_history_offends(spoil: Spoil, rules: set[str]) -> None:
    history = good()
    spoil(history)
    assert rules <= fired(history)


# And what is allowed offends against nothing.


def _repeated_after_a_kill(history: History) -> None:
    history.troubles.append(Trouble(Kind.KILLED, at(5), at(7), 0))
    history.arrivals += [arrival(LINE, "evt_4", at(6)), arrival(LINE, "evt_5", at(7))]  # 4, 5, 4, 5


def _sent_once_more_by_who_was_stopped(history: History) -> None:
    history.troubles.append(Trouble(Kind.STOPPED, at(5), at(8), 0))
    history.arrivals.append(arrival(LINES, "evt_5", at(6), sender=(1, 1)))  # by its successor
    history.arrivals.append(arrival(LINES, "evt_5", at(8) + 0.1))  # and by itself


def _tried_again(history: History) -> None:
    of(history, LINE, 5).status = 500
    of(history, LINE, 5).request = 1
    history.attempts.append(attempt(LINE, "evt_5", at(5) + 0.1, "failed", 500))
    history.arrivals.append(arrival(LINE, "evt_5", at(6)))


def _never_answered_and_tried_again(history: History) -> None:
    silent = arrival(LINE, "evt_5", at(5) + 0.05, status=None, answered=math.inf)
    history.arrivals.append(silent)
    history.attempts.append(attempt(LINE, "evt_5", at(5) + 0.05, "failed", None))


def _answer_lost_on_the_way(history: History) -> None:
    history.troubles.append(Trouble(Kind.TARGETS, at(5), at(5) + 0.5))
    history.arrivals.append(arrival(LINE, "evt_5", at(6)))
    history.attempts.append(attempt(LINE, "evt_5", at(5) + 0.1, "failed", None))


def _at_once_as_the_way_was_free_again(history: History) -> None:
    _too_fast(history)
    history.troubles.append(Trouble(Kind.TARGETS, at(5) - 1, at(5) + 0.02 * EVENTS))


def _in_one_batch(history: History) -> None:
    for n in (2, 3, 4):
        batched = of(history, LINE, n)
        batched.at, batched.answered, batched.request = at(4) + 0.1, at(4) + 0.11, 7


def _published_before_it_was_there(history: History) -> None:
    history.endpoints[0].created = Asked(at(1), at(1) + 0.5)
    history.arrivals.remove(of(history, LINE, 1))
    history.attempts = [a for a in history.attempts if (a.path, a.event) != (LINE, "evt_1")]


def _resent(history: History) -> None:
    history.again.append(Again(LINE, Asked(at(50), at(50) + 0.1), event="evt_1", accepted=True))
    history.arrivals.append(arrival(LINE, "evt_1", at(51), replay=True))


def _resent_twice(history: History) -> None:
    history.again.append(Again(LINE, Asked(at(50), at(50) + 0.1), event="evt_1", accepted=True, times=2))
    history.arrivals += [arrival(LINE, "evt_1", at(51), replay=True), arrival(LINE, "evt_1", at(59), replay=True)]


def _replayed_and_repeated_after_a_kill(history: History) -> None:
    history.again.append(Again(LINE, Asked(at(50), at(50) + 0.1), since=at(0), accepted=True))
    history.troubles.append(Trouble(Kind.KILLED, at(51), at(52), 0))
    history.arrivals += [arrival(LINE, "evt_1", at(51), replay=True), arrival(LINE, "evt_1", at(59), replay=True)]


def _replayed_when_its_server_went_on(history: History) -> None:
    history.again.append(Again(RATED, Asked(at(1) - 60, at(1) - 59), since=900.0, accepted=True, times=2))
    history.troubles.append(Trouble(Kind.STOPPED, at(1) - 60, at(1), 0))
    history.arrivals.append(arrival(RATED, "evt_1", at(9), replay=True))


def _killed_before_it_answered(history: History) -> None:
    _not_answered(history)
    history.troubles.append(Trouble(Kind.KILLED, at(9) + 0.5, at(12), 0))


def _deleted(history: History) -> None:
    history.endpoints[2].deleted = Asked(at(5) + 0.05, at(5) + 0.2)
    history.arrivals.remove(of(history, RATED, 5))
    history.attempts[-1] = attempt(RATED, "evt_5", at(6), "gave_up", None)


def _cut_short_on_a_machine_that_starves(history: History) -> None:
    _again_after_a_planned_restart(history)
    history.lags.append((at(5), 1.0))


@pytest.mark.parametrize(
    "change",
    [
        _repeated_after_a_kill,
        _sent_once_more_by_who_was_stopped,
        _tried_again,
        _never_answered_and_tried_again,
        _answer_lost_on_the_way,
        _at_once_as_the_way_was_free_again,
        _in_one_batch,
        _published_before_it_was_there,
        _resent,
        _resent_twice,
        _replayed_and_repeated_after_a_kill,
        _replayed_when_its_server_went_on,
        _killed_before_it_answered,
        _deleted,
        _cut_short_on_a_machine_that_starves,
    ],
)
def test_what_is_allowed_does_not_offend(change: Spoil) -> None:
    history = good()
    change(history)
    assert [str(offence) for offence in check(history)] == []
