"""What must hold of a history, whatever went wrong: each rule yields its offences. test_rules.py shows each one fire."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tests.chaos.history import Again, Arrival, Endpoint, History, Kind, Logged

from posthouse.domain.limits import LANE_CONCURRENCY

JITTER_SECONDS: Final = 0.1
"""How much later than it was sent a request may be noticed, beside what was measured."""
PACE_JITTER_SECONDS: Final = 0.25
"""The same from when it was let go: a process that begins again makes its connections in between."""
WAKING_SECONDS: Final = 2.0
JOURNALLED_SECONDS: Final = 2.0
"""So soon after its answer a result is on record, where nothing is wrong."""
LOST_SECONDS: Final = 10.0
"""So long after its server was well again a request that had no answer may come to pass."""
OUT_OF_TIME: Final = ("timeout graceful shutdown exceeded",)
"""Alarms that a machine too busy for a planned end brings about."""
UNNOTICED_SECONDS: Final = 5.0
"""For so long a process may not know that others take its partitions, as its session with the database was cut."""


@dataclass(slots=True)
class Offence:
    rule: str
    what: str
    path: str | None = None
    event: str | None = None
    at: float = 0.0

    def __str__(self) -> str:
        return f"{self.rule}: {self.what}"


def check(history: History) -> list[Offence]:
    """All offences, rule by rule."""
    return [offence for rule in RULES for offence in rule(history)]


def kept(history: History) -> Iterator[Offence]:
    """What was answered 202 is in the log under that id, once where it had a key, and in the order in which it was answered."""
    log = {logged.id: logged for logged in history.log}
    tagged = defaultdict(list)
    for logged in history.log:
        tagged[logged.tag].append(logged)
    for published in history.published:
        for one in published.tries:
            if one.status == 202 and (one.event is None or one.event not in log):
                yield Offence(
                    "kept", f"{published.tag} was answered 202 and is not in the log", None, one.event, one.ended
                )
        if published.once and len(tagged[published.tag]) > 1:
            ids = [logged.id for logged in tagged[published.tag]]
            yield Offence(
                "kept", f"{published.tag} had an idempotency key and became {ids}", None, ids[0], published.began
            )
    wanted = {published.tag for published in history.published}
    for tag in tagged.keys() - wanted:
        yield Offence("kept", f"{tag!r} is in the log and nobody published it", None, tagged[tag][0].id)
    by_app = defaultdict(list)
    for published in history.published:
        if (event := published.accepted) in log and event is not None:
            by_app[published.app].append((log[event].seq, published))
    for several in by_app.values():
        latest, told = -math.inf, ""
        for _, published in sorted(several, key=lambda pair: pair[0]):
            if published.answered < latest:
                what = f"{published.tag} was answered before {told} was asked for, and comes after it in the log"
                yield Offence("kept", what, None, published.accepted, published.answered)
            if published.began > latest:
                latest, told = published.began, published.tag
    places = Counter((logged.partition, logged.seq) for logged in history.log)
    for place, count in places.items():
        if count > 1:
            yield Offence("kept", f"{count} events of the log are at {place}")


def complete(history: History) -> Iterator[Offence]:
    """Every event of the log was confirmed by each endpoint that had to get it."""
    confirmed = {(a.path, a.event) for a in history.arrivals if a.confirmed}
    for endpoint in history.endpoints:
        for logged in _line(history, endpoint):
            if (endpoint.path, logged.id) not in confirmed:
                what = f"{logged.id} ({logged.tag}) was never delivered to {endpoint.path}"
                yield Offence("complete", what, endpoint.path, logged.id, _began(history).get(logged.tag, 0.0))


def addressed(history: History) -> Iterator[Offence]:
    """No endpoint got what it must not: another app's, of another type, from after it was deleted, or while it was paused."""
    log = {logged.id: logged for logged in history.log}
    endpoints = {endpoint.path: endpoint for endpoint in history.endpoints}
    began = _began(history)
    for a in history.arrivals:
        endpoint, logged = endpoints.get(a.path), log.get(a.event)
        if endpoint is None or logged is None:
            yield Offence("addressed", f"{a.path} got {a.event}, and one of them does not exist", a.path, a.event, a.at)
            continue
        wrong = ""
        since = began.get(logged.tag, -math.inf)
        if logged.app != endpoint.app:
            wrong = f"an event of {logged.app}"
        elif not endpoint.hears(logged.type):
            wrong = f"an event of type {logged.type}"
        elif endpoint.deleted is not None and endpoint.deleted.answered < since:
            wrong = "an event from after it was deleted"
        elif any(paused.answered < since and a.at < resumed.asked for paused, resumed in endpoint.pauses):
            wrong = "an event from after it was paused, while it was"
        if wrong:
            yield Offence("addressed", f"{a.path} got {wrong}: {a.event}", a.path, a.event, a.at)


def ordered(history: History) -> Iterator[Offence]:
    """On a line nothing comes before what precedes it was confirmed. After a fault a stretch may come again: from somewhere
    before, and then one after the other (5, 6, 5, 6)."""
    for endpoint in history.endpoints:
        if endpoint.ordering == "none":
            continue
        lines: dict[str | None, list[str]] = defaultdict(list)
        lined: dict[str, str | None] = {}
        for logged in _line(history, endpoint):
            if endpoint.ordering == "endpoint" or logged.key is not None:
                key = logged.key if endpoint.ordering == "key" else None
                lines[key].append(logged.id)
                lined[logged.id] = key
        came: dict[str | None, list[Arrival]] = defaultdict(list)
        for a in history.arrivals:
            if a.path == endpoint.path and not a.replay and a.event in lined:
                came[lined[a.event]].append(a)
        for key, line in lines.items():
            yield from _in_order(endpoint, line, came[key])


def _in_order(endpoint: Endpoint, line: list[str], came: list[Arrival]) -> Iterator[Offence]:
    place = {event: n for n, event in enumerate(line)}
    confirmed_at: dict[int, float] = {}
    reached, request = -1, -1  # the place of the one before, and which request brought it
    for a in sorted(came, key=lambda a: a.at):
        here = place[a.event]
        if here > reached + 1:
            what = f"{endpoint.path} got number {here} of a line ({a.event}) right after number {reached}"
            yield Offence("ordered", what, endpoint.path, a.event, a.at)
        elif (
            here > 0
            and not confirmed_at.get(here - 1, math.inf) <= a.at
            and (reached, request) != (here - 1, a.request)
        ):
            what = f"{endpoint.path} got number {here} of a line ({a.event}) before it had confirmed the one before"
            yield Offence("ordered", what, endpoint.path, a.event, a.at)
        reached, request = here, a.request
        if a.confirmed:
            confirmed_at[here] = min(confirmed_at.get(here, math.inf), a.answered)


def paced(history: History) -> Iterator[Offence]:
    """In every window of w seconds a target gets at most rate · w + burst requests, replays and repeats included. What the way
    to the targets held back comes all at once when it is free again: that is the way's doing, and does not count. Nor does what
    a process sends as it wakes from being stopped: what it had let go before, and again where connections died meanwhile."""
    doubt = PACE_JITTER_SECONDS + history.lag()
    held: list[tuple[float, float, int | None]] = [
        (t.begin, t.end + doubt, None) for t in history.troubles if t.kind is Kind.TARGETS
    ]
    held += [(t.begin, t.end + WAKING_SECONDS, t.process) for t in history.troubles if t.kind is Kind.STOPPED]
    for endpoint in history.endpoints:
        if endpoint.rate is None:
            continue
        rate, burst = endpoint.rate
        arrived = {a.request: a for a in history.arrivals if a.path == endpoint.path}.values()
        times = sorted(
            a.at
            for a in arrived
            if not any(begin <= a.at <= end and process in (None, a.sender[0]) for begin, end, process in held)
        )
        # Most of `n - rate · t` over pairs i <= j, in one pass: the lowest so far is what the window begins with.
        lowest, begin = math.inf, 0.0
        for n, at in enumerate(times):
            if n - rate * at < lowest:
                lowest, begin, first = n - rate * at, at, n
            if n - rate * at - lowest + 1 > burst + rate * doubt:
                what = f"{endpoint.path} got {n - first + 1} requests in {at - begin:.3f} s, at {rate:g}/s and {burst}"
                yield Offence("paced", what, endpoint.path, None, at)
                break


def repeated(history: History) -> Iterator[Offence]:
    """What was confirmed comes again only where its sender, or the way back to it, was in trouble since; and all of that is
    bounded by what a process may have in flight."""
    before: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    repeats = 0
    for a in sorted(history.arrivals, key=lambda a: a.at):
        if a.replay:
            continue
        earlier = before[a.path, a.event]
        confirmed = [e for e in earlier if e.confirmed]
        if confirmed:
            repeats += 1
            if not (all(_excused(history, e, a) for e in confirmed) or _goes_on(history, earlier, a)):
                yield Offence("repeated", f"{a.path} got {a.event} again, for no reason", a.path, a.event, a.at)
        earlier.append(a)
    faults = len(history.troubles)
    most = faults * LANE_CONCURRENCY * max(len(history.endpoints), 1)
    if repeats > most:
        yield Offence("repeated", f"{repeats} repeats, and {faults} faults explain no more than {most}")


def _excused(history: History, first: Arrival, again: Arrival) -> bool:
    """Whether something happened that keeps an answer from being recorded."""
    process = first.sender[0]
    if _unrecorded(history, first, again.at):
        return True
    doubt = JITTER_SECONDS + history.lag(first.at, first.answered)
    if history.touched(first.at - doubt, first.answered + doubt, Kind.TARGETS):
        return True
    # A planned end waits a while for requests under way, and leaves the slow ones to the successor.
    slow = first.answered - first.at > 1.0 or history.starved(first.at, first.answered)
    return slow and bool(history.touched(first.at, first.answered + doubt, Kind.RESTARTED, process=process))


def _goes_on(history: History, earlier: Iterable[Arrival], again: Arrival) -> bool:
    """Whether its sender was stopped in the middle of that very request, and made it once more as it woke: its connection had
    died meanwhile. Others had sent it by then."""
    process = again.sender[0]
    began = min((e.at for e in earlier if e.sender == again.sender), default=math.inf)
    stops = history.touched(began - JITTER_SECONDS, again.at, Kind.STOPPED, process=process)
    return any(again.at <= stop.end + WAKING_SECONDS for stop in stops)


def _unrecorded(history: History, a: Arrival, until: float) -> bool:
    """Whether, by then, what was answered may not have come to the store."""
    process = a.sender[0]
    until = min(a.answered + JOURNALLED_SECONDS + history.lag(a.at, a.answered), until)
    return bool(
        history.touched(a.at - JITTER_SECONDS, until, Kind.KILLED, Kind.STOPPED, process=process)
        or history.touched(a.at - UNNOTICED_SECONDS, until, Kind.STORE, process=process)
    )


def asked_again(history: History) -> Iterator[Offence]:
    """What was to be sent again was; nothing else comes as a replay, and nothing more often than it was asked for, but where
    its sender was in trouble."""
    log = {logged.id: logged for logged in history.log}
    began = _began(history)
    endpoints = {endpoint.path: endpoint for endpoint in history.endpoints}
    came: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    replayed: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for a in sorted(history.arrivals, key=lambda a: a.at):
        if a.replay:
            published = began.get(log[a.event].tag, 0.0) if a.event in log else 0.0
            wanted = sum(r.times for r in history.again if r.path == a.path and _asks_for(history, r, a, published))
            before = replayed[a.path, a.event]
            if not wanted:
                what = f"{a.path} got {a.event} as a replay that nobody asked for"
                yield Offence("asked again", what, a.path, a.event, a.at)
            elif sum(e.confirmed and not _excused(history, e, a) for e in before) >= wanted:
                what = f"{a.path} got {a.event} as a replay once more, and it was asked for {wanted} times"
                yield Offence("asked again", what, a.path, a.event, a.at)
            before.append(a)
        if a.confirmed:
            came[a.path, a.event].append(a)
    for again in history.again:
        endpoint = endpoints[again.path]
        if not again.accepted or again.event is None or endpoint.deleted is not None:
            continue
        # It may have been on its way already, or its answer on the way to the store: a row that is there is only due sooner.
        if not any(
            a.at > again.when.asked - endpoint.timeout or _unrecorded(history, a, again.when.answered)
            for a in came[again.path, again.event]
        ):
            what = f"{again.event} was to be resent to {again.path}, and did not come"
            yield Offence("asked again", what, again.path, again.event, again.when.asked)


def _asks_for(history: History, again: Again, a: Arrival, published: float) -> bool:
    """Whether it may be why an event comes as a replay. A replay's bounds are kept by position, with some slack at its
    beginning; what is younger than its request it never takes."""
    if again.when.asked > a.at or again.event is not None:
        return again.when.asked <= a.at and again.event == a.event
    certain = again.when.answered
    if again.times > 1:
        # One that had no answer may be read, or get its connection to the database, when its server can do that again.
        held_up = history.touched(again.when.asked, certain, Kind.STOPPED, Kind.STORE)
        certain = (
            max([certain, *[trouble.end for trouble in held_up]])
            + LOST_SECONDS
            + history.lag(again.when.asked, certain)
        )
    return published <= certain


def spent(history: History) -> Iterator[Offence]:
    """An attempt on record is one that the target had, answered as it did; what failed without an answer, failed on the
    target's side. Nothing was given up but what a deleted endpoint was owed."""
    answers = Counter((a.path, a.event, a.status) for a in history.arrivals)
    had: dict[tuple[str, str], list[Arrival]] = defaultdict(list)
    for a in history.arrivals:
        had[a.path, a.event].append(a)
    endpoints = {endpoint.path: endpoint for endpoint in history.endpoints}
    for attempt in history.attempts:
        endpoint = endpoints.get(attempt.path)
        if endpoint is None:
            continue  # of the installation itself
        wrong = ""
        if attempt.outcome == "gave_up":
            if endpoint.deleted is None:
                wrong = "was given up"
        elif attempt.status is not None:
            key = (attempt.path, attempt.event, attempt.status)
            answers[key] -= 1
            if answers[key] < 0:
                wrong = f"is on record with {attempt.status}, which the target did not say so often"
        elif attempt.reason == "behind":
            pass  # it was in a batch, and is sent again after one before it: its number stays
        elif not history.touched(attempt.started - JITTER_SECONDS, attempt.ended + JITTER_SECONDS, Kind.TARGETS):
            mine = [a for a in had[attempt.path, attempt.event] if attempt.started - 1.0 <= a.at <= attempt.ended + 1.0]
            silent = any(a.status is None or a.answered - a.at > 1.0 for a in mine)
            if not silent:
                wrong = f"failed ({attempt.reason}) through no fault of the target"
        if wrong:
            what = f"attempt {attempt.number} of {attempt.event} at {attempt.path} {wrong}"
            yield Offence("spent", what, attempt.path, attempt.event, attempt.started)
    delivered = {(attempt.path, attempt.event) for attempt in history.attempts if attempt.outcome == "delivered"}
    for endpoint in history.endpoints:
        for logged in _line(history, endpoint):
            if (endpoint.path, logged.id) not in delivered:
                what = f"{logged.id} has no terminal attempt at {endpoint.path}"
                yield Offence("spent", what, endpoint.path, logged.id, _began(history).get(logged.tag, 0.0))


def at_rest(history: History) -> Iterator[Offence]:
    """In the end every cursor is at its head, and nothing is owed, in flight or unfinished."""
    for partition in history.partitions:
        if partition.cursor != partition.head:
            yield Offence("at rest", f"partition {partition.id} is at {partition.cursor} of {partition.head}")
        if not partition.owned:
            yield Offence("at rest", f"partition {partition.id} has no owner")
    for what in history.owed:
        yield Offence("at rest", f"owed: {what}")
    for what in history.unfinished:
        yield Offence("at rest", f"unfinished: {what}")


def answered(history: History) -> Iterator[Offence]:
    """A request that was read is answered unless its server is killed, stopped or without a database; no server ends but by
    our hand, or ends badly; none raises an alarm."""
    for published in history.published:
        for one in published.tries:
            unexcused = not history.touched(
                one.began, one.ended, Kind.KILLED, Kind.STOPPED, Kind.STORE, process=one.server
            ) and not any(
                t.begin <= one.began <= t.end
                for t in history.touched(one.began, one.ended, Kind.RESTARTED, process=one.server)
            )
            if one.status is None and unexcused and not (one.late and history.starved(one.began, one.ended)):
                yield Offence("answered", f"{published.tag}: server {one.server} never answered", None, None, one.began)
            elif one.status not in (None, 202, 503) and not (
                one.status == 409 and published.once
            ):  # it is just being used
                yield Offence(
                    "answered", f"{published.tag}: server {one.server} answered {one.status}", None, None, one.began
                )
    for end in history.exits:
        if not (end.planned and end.code == 0):
            yield Offence("answered", f"process {end.process} ended with {end.code}", None, None, end.at)
    for alarm in history.alarms:
        if not (history.starved() and any(told in alarm for told in OUT_OF_TIME)):
            yield Offence("answered", f"an alarm: {alarm}")


RULES: Final[tuple[Callable[[History], Iterator[Offence]], ...]] = (
    kept,
    complete,
    addressed,
    ordered,
    paced,
    repeated,
    asked_again,
    spent,
    at_rest,
    answered,
)


def _began(history: History) -> dict[str, float]:
    """When each tag was first asked for."""
    return {published.tag: published.began for published in history.published if published.tries}


def _line(history: History, endpoint: Endpoint) -> list[Logged]:
    """What an endpoint certainly had to get, in order: published after it was there, and it was never deleted."""
    if endpoint.deleted is not None:
        return []
    began = _began(history)
    return sorted(
        (
            logged
            for logged in history.log
            if logged.app == endpoint.app
            and endpoint.hears(logged.type)
            and began.get(logged.tag, -math.inf) >= endpoint.created.answered
        ),
        key=lambda logged: logged.seq,
    )
