"""The listener: rules over requests and answers, and a sink for the events that come of them. Middlewares ask it.

Whatever goes wrong here is logged, counted and told, and never raised: the application's answer is not ours to break.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Self

from posthouse_sdk import forks
from posthouse_sdk.listening.bodies import BODY_BYTES_MAX
from posthouse_sdk.listening.gauges import Gauges
from posthouse_sdk.listening.misses import REASONS, Miss
from posthouse_sdk.listening.observation import Finding, Head, Observation, Occurrence
from posthouse_sdk.listening.rules import RULES_MAX, CompiledRule, Rule
from posthouse_sdk.listening.sink import CLOSE_SECONDS, Durable, Sink
from posthouse_sdk.listening.table import Match, RuleTable
from posthouse_sdk.outbox.row import DATA_BYTES_MAX
from posthouse_sdk.publishing import recording
from posthouse_sdk.publishing.errors import BufferFullError, ClosedError, ConfigurationError, EventError

log = logging.getLogger("posthouse_sdk.listening")

IDEMPOTENCY_HEADER: Final = "idempotency-key"
TOLD_SECONDS: Final = 10.0
"""How often, at most, the log hears of the same thing of the same rule."""
_LOST: Final = ("full", "unsent", "refused")
_FAULTS: Final = (*_LOST, "broken")


class Listener:
    """Rules, and where their events go. One for the process; middlewares of several applications may share it.

        listener = Listener(
            [Rule("POST", "/orders", "order_create", status=201, subject="shop:{answer.shop}")],
            Spool("/var/lib/shop/events.spool"),
        )
        app.add_middleware(AsgiListener, listener=listener)

    `sink`: a `Spool` (durable), an `Outbox` (in the application's own database) or `Memory`. `body_bytes_max`: of a body, how
    much is kept for the rules, packed and unpacked (256 KiB; at most the 1 MiB that an event may have). `idempotency_header`:
    where a request has it, the event's idempotency key is made of it, of who asks (`Authorization`, `Cookie`, `X-Api-Key`), the
    request's line and what the event says, so that a client's retry which is answered in the same way is the same event; None:
    each answer is an event of its own. `on_error` is called with each `Miss`, in whatever thread that was.

    Raises: ConfigurationError.
    """

    def __init__(
        self,
        rules: Iterable[Rule],
        sink: Sink,
        *,
        body_bytes_max: int = BODY_BYTES_MAX,
        idempotency_header: str | None = IDEMPOTENCY_HEADER,
        on_error: Callable[[Miss], object] | None = None,
    ) -> None:
        self._rules: Final = RuleTable(_compiled(list(rules)))
        if (
            isinstance(body_bytes_max, bool)
            or not isinstance(body_bytes_max, int)
            or not 0 < body_bytes_max <= DATA_BYTES_MAX
        ):
            raise ConfigurationError(f"body_bytes_max is 1 to {DATA_BYTES_MAX} bytes, and not {body_bytes_max!r}")
        if idempotency_header is not None and not (isinstance(idempotency_header, str) and idempotency_header):
            raise ConfigurationError(f"idempotency_header is the name of a header, or None: {idempotency_header!r}")
        if not isinstance(sink, Sink):
            raise ConfigurationError(f"sink is a Spool, an Outbox or Memory, and not {sink!r}")
        self._sink: Final = sink
        self._body_bytes_max = body_bytes_max
        self._idempotency_header = None if idempotency_header is None else idempotency_header.lower()
        self._on_error = on_error
        self._begin_counting()
        sink.attach(self.miss)
        forks.mind(self)

    def _begin_counting(self) -> None:
        self._lock = threading.Lock()
        self._observed = self._late = 0
        self._misses = dict.fromkeys(REASONS, 0)
        self._told: dict[tuple[str, str], tuple[float, int]] = {}

    @classmethod
    def from_mapping(cls, told: Mapping[str, Any], *, on_error: Callable[[Miss], object] | None = None) -> Self:
        """A listener from settings, or a file that was read: `Listener.from_mapping(tomllib.load(file))`.

            spool = "/var/lib/shop/events.spool"   # or a table: path, relays, fsync, hold_seconds, bytes_max, lease_seconds
            [[rules]]                              # the fields of `Rule`
            method = "POST"
            path = "/orders"
            event = "order_create"

        Besides: `memory` (true, or a table: buffer_events, buffer_bytes, keep_seconds, exit_seconds) instead of a spool; `url`,
        `api_key`, `body_bytes_max`, `idempotency_header` (empty: none). Raises ConfigurationError; unknown names are refused.
        """
        from posthouse_sdk.listening.configured import read

        rules, sink, rest = read(told)
        if "idempotency_header" in rest:
            rest["idempotency_header"] = rest["idempotency_header"] or None
        return cls(rules, sink, on_error=on_error, **rest)

    @property
    def hold_seconds(self) -> float:
        """How long an answer may be held, at most, until its event is durable."""
        return self._sink.hold_seconds

    def start(self) -> None:
        """Begin to publish, what is left from before, too. `find` does that with the first request."""
        if not self._sink.started and recording.active is None:
            try:
                self._sink.start()
            except Exception as error:  # noqa: BLE001 - told
                self.broken(error)

    def close(self, timeout: float = CLOSE_SECONDS) -> None:
        """Publish what waits, for so many seconds at most, and end. A later request begins anew."""
        self._sink.close(timeout)

    def gauges(self) -> Gauges:
        """What was observed, published and missed, and what waits for how long."""
        held = self._sink.held()
        with self._lock:
            misses: dict[str, int] = {reason: count for reason, count in self._misses.items() if count}
            observed, late = self._observed, self._late
        dropped = sum(misses.get(reason, 0) for reason in _LOST)
        failed = sum(misses.values()) - dropped
        return Gauges(
            observed,
            held.published,
            held.queued,
            held.set_aside,
            dropped,
            failed,
            late,
            held.oldest_seconds,
            held.reason,
            misses,
        )

    def before_fork(self) -> None:
        """Nothing is held for longer than a count."""

    def after_in_parent(self) -> None: ...

    def forked(self) -> None:
        """This is a child process, which counts for itself."""
        self._begin_counting()

    # For middlewares

    def find(self, method: str, path: str) -> Sequence[Match]:
        """The rules that a request of this method to this path may match: all that the others pay for."""
        if not self._sink.started:
            self.start()
        return self._rules.find(method, path)

    def observe(self, head: Head, matches: Sequence[Match]) -> Observation | None:
        """What is to be watched of a request; None: nothing, whatever is answered."""
        try:
            observation = Observation(
                head, matches, body_bytes_max=self._body_bytes_max, idempotency_header=self._idempotency_header
            )
        except Exception as error:  # noqa: BLE001 - told
            self.broken(error)
            return None
        return None if observation.is_idle else observation

    def take(self, findings: Iterable[Finding]) -> Durable | None:
        """Hand over what an observation found. What is to be waited for before the answer goes on, if anything is."""
        durable: Durable | None = None
        for finding in findings:
            if isinstance(finding, Miss):
                self.miss(finding)
            else:
                durable = self._put(finding) or durable
        return durable

    def late(self) -> None:
        """An answer went out before its event was durable."""
        with self._lock:
            self._late += 1

    def broken(self, error: Exception) -> None:
        """Something went wrong that should not."""
        self.miss(Miss("broken", "", f"{type(error).__name__}: {error}", None, error))

    def miss(self, miss: Miss) -> None:
        """Count, log and tell what was not published."""
        with self._lock:
            self._misses[miss.reason] += 1
        self._log(miss)
        if self._on_error is not None:
            try:
                self._on_error(miss)
            except Exception:
                log.exception("on_error raised, for %s", miss)

    def _put(self, occurrence: Occurrence) -> Durable | None:
        rule, made = occurrence.rule, occurrence.made
        try:
            durable = self._given(occurrence)
        except EventError as error:
            self.miss(Miss("invalid", rule, str(error), made.type, error))
        except (BufferFullError, ClosedError) as error:
            self.miss(Miss("full", rule, str(error), made.type, error))
        except Exception as error:  # noqa: BLE001 - told
            self.miss(Miss("broken", rule, f"{type(error).__name__}: {error}", made.type, error))
        else:
            with self._lock:
                self._observed += 1
            return durable
        return None

    def _given(self, occurrence: Occurrence) -> Durable | None:
        if recording.active is None:
            return self._sink.put(occurrence)
        from posthouse_sdk.listening.memory import event_of

        recording.active.take([event_of(occurrence)])
        return None

    def _log(self, miss: Miss) -> None:
        now = time.monotonic()
        with self._lock:
            at, silent = self._told.get((miss.reason, miss.rule), (float("-inf"), 0))
            if now - at < TOLD_SECONDS:
                self._told[miss.reason, miss.rule] = (at, silent + 1)
                return
            self._told[miss.reason, miss.rule] = (now, 0)
        more = f" (and {silent} more like it)" if silent else ""
        level = logging.ERROR if miss.reason in _FAULTS else logging.WARNING
        trace = miss.error if miss.reason == "broken" else None
        log.log(
            level,
            "no event of %s: %s: %s%s",
            miss.rule or "the listener",
            miss.reason,
            miss.detail,
            more,
            exc_info=trace,
        )


def _compiled(rules: list[Rule]) -> list[CompiledRule]:
    if not rules or len(rules) > RULES_MAX:
        raise ConfigurationError(f"a listener has 1 to {RULES_MAX} rules, and not {len(rules)}")
    if wrong := [rule for rule in rules if not isinstance(rule, Rule)]:
        raise ConfigurationError(f"a rule is a Rule, and not {wrong[0]!r}; Listener.from_mapping takes plain data")
    return [CompiledRule(rule, f"rules[{index}] ({rule.name or rule.event})") for index, rule in enumerate(rules)]
