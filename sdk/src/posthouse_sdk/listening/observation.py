"""One request and its answer under the rules that it may match, without any I/O: heads and bodies in, events out. Pure.

A rule that needs nothing of the answer's body is decided by the answer's head; the others at its end. So an event is known
before the last byte of its answer goes out, and never waits for the end of a stream that no rule looks into.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl

from posthouse_sdk.listening.bodies import Body
from posthouse_sdk.listening.misses import Miss, UnreadableError
from posthouse_sdk.listening.references import ABSENT, MissingFieldError
from posthouse_sdk.listening.rules import Made
from posthouse_sdk.listening.table import Match
from posthouse_sdk.publishing.event import new_key

QUERY_FIELDS_MAX: Final = 1_000
CREDENTIALS: Final = ("authorization", "cookie", "x-api-key")
"""Headers that say whose idempotency key it is: two clients may well make the same one."""


class Head(NamedTuple):
    """A request's head; names of headers are in lower case, several of one name are joined with a comma."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]


class Occurrence(NamedTuple):
    """An event as it was observed. Its key is made here, once; all tries to publish it share it."""

    rule: str
    made: Made
    idempotency_key: str


Finding = Occurrence | Miss


class Observation:
    """What becomes of one request: feed `request` while `wants_request`, then `start`, then `answer` while `wants_answer`."""

    def __init__(
        self, head: Head, matches: Sequence[Match], *, body_bytes_max: int, idempotency_header: str | None
    ) -> None:
        self.head: Final = head
        self._bytes_max = body_bytes_max
        self._idempotency_header = idempotency_header
        self._status = 0
        self._answer_headers: Mapping[str, str] = {}
        self._answer: Body | None = None
        self._left: int | None = None  # of the answer's body, where its length is known
        self._query: Mapping[str, str] | None = None
        self.request: Final = Body("request", head.headers, body_bytes_max, forms=True)
        self._waiting = [facts for match in matches if (facts := _Facts(self, match)).rule.may_match(facts)]
        self.started = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing can come of it any more."""
        return not self._waiting

    @property
    def wants_request(self) -> bool:
        """Whether a rule needs the request's body."""
        return self.request.keeps and any(facts.rule.needs_request for facts in self._waiting)

    @property
    def wants_answer(self) -> bool:
        """Once it started: whether `answer` and `end` are still to be told."""
        return bool(self._waiting)

    def start(self, status: int, headers: Mapping[str, str]) -> list[Finding]:
        """The answer's head, which is about to go out."""
        self.started = True
        self._status, self._answer_headers = status, headers
        self._answer = answer = Body("answer", headers, self._bytes_max)
        length = headers.get("content-length", "")
        self._left = int(length[:20]) if length.isascii() and length.isdigit() and int(length[:20]) else None
        ready: list[_Facts] = []
        waiting: list[_Facts] = []
        for facts in self._waiting:
            rule = facts.rule
            if rule.matches_head(status, facts):
                later = (rule.needs_answer and answer.keeps) or (rule.needs_request and self.request.keeps)
                (waiting if later else ready).append(facts)
        self._waiting = waiting
        return self._decided(ready)

    def answer(self, data: bytes) -> list[Finding]:
        """A piece of the answer's body, which is about to go out; by its length it may be the last one."""
        if self._answer is None:
            return []
        self._answer.add(data)
        if self._left is None:
            return []
        self._left -= len(data)
        return [] if self._left > 0 else self.end()

    def end(self, *, whole: bool = True) -> list[Finding]:
        """The answer is about to end; or (not `whole`) it broke off, and nobody will see the rest."""
        if self._answer is not None and whole:
            self._answer.ended = True
        ready, self._waiting = self._waiting, []
        return self._decided(ready) if self.started else []

    def root(self, name: str) -> Any:
        """What references begin with, but for the path's parameters. Raises UnreadableError."""
        match name:
            case "header":
                return self.head.headers
            case "answer_header":
                return self._answer_headers
            case "request":
                return self.request.value()
            case "answer":
                return ABSENT if self._answer is None else self._answer.value()
            case "query":
                return self._parsed_query()
            case "status":
                return self._status
            case "method":
                return self.head.method
            case _:
                return ABSENT

    def _parsed_query(self) -> Mapping[str, str]:
        if self._query is None:
            try:
                pairs = parse_qsl(self.head.query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
            except ValueError:
                pairs = []
            self._query = dict(reversed(pairs))
        return self._query

    def _decided(self, ready: Sequence[_Facts]) -> list[Finding]:
        return [found for facts in ready if (found := self._finding(facts)) is not None]

    def _finding(self, facts: _Facts) -> Finding | None:
        try:
            made = facts.rule.made(facts)
            return None if made is None else Occurrence(facts.rule.name, made, self._key(facts.rule.name, made))
        except UnreadableError as error:
            return Miss(error.reason, facts.rule.name, str(error))
        except MissingFieldError as error:
            return Miss("missing", facts.rule.name, str(error))

    def _key(self, rule: str, made: Made) -> str:
        """The event's idempotency key: a new one, or where the client sent a key of its own, always the same for the same
        event of the same client under it. What the event says is a part of that: another answer is another event."""
        headers = self.head.headers
        client = None if self._idempotency_header is None else headers.get(self._idempotency_header)
        if not client:
            return new_key()
        whose = [headers.get(name) for name in CREDENTIALS]
        told = json.dumps(
            [rule, self.head.method, self.head.path, self.head.query, client, whose, made], sort_keys=True
        )
        return hashlib.sha256(told.encode()).hexdigest()


class _Facts:
    """What is known to one rule: the observation, and what the rule's path found."""

    __slots__ = ("_observation", "_parameters", "rule")

    def __init__(self, observation: Observation, match: Match) -> None:
        self._observation = observation
        self.rule: Final = match.rule
        self._parameters = match.parameters

    def root(self, name: str) -> Any:
        return self._parameters if name == "path" else self._observation.root(name)
