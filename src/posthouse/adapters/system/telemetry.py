"""Prometheus series and logs.

The engine's calls only add to plain integers; the series are made when somebody scrapes. An attempt costs well under a
microsecond that way, where `prometheus_client`'s own counters would take several. Everything runs on one event loop.
"""

from __future__ import annotations

import logging
import re
import sys
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final, TypeVar

import structlog
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from posthouse import __version__
from posthouse.adapters.system.repetitions import Repetitions
from posthouse.adapters.system.series import CACHES, COUNTERS, GAUGES, TRIGGERS
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import SetupError
from posthouse.domain.trigger import TriggerFacts

V = TypeVar("V")

SERIES_MAX: Final = 200
"""Combinations of outcome, reason and kind that are told apart; all of them are words of ours, so far fewer exist."""

_BATCH_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST_SECONDS: Final = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    15.0,
    30.0,
    60.0,
)
_DELIVERY_SECONDS: Final = (*_REQUEST_SECONDS, 300.0, 1800.0, 7200.0, 36_000.0, 86_400.0, 259_200.0)
_BATCH_SIZES: Final = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


class Histogram:
    """Observations counted into buckets; `bounds` are the upper ends, ascending, each inclusive."""

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds: Final = tuple(bounds)
        self._counts = [0] * (len(self.bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def family(self, name: str, documentation: str) -> HistogramMetricFamily:
        total = 0
        buckets = []
        for bound, count in zip((*self.bounds, float("inf")), self._counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
        return HistogramMetricFamily(name, documentation, buckets=buckets, sum_value=self._sum)


class PrometheusTelemetry:
    """`ports.telemetry.Telemetry` for Prometheus, with a registry of its own; `render` answers a scrape."""

    def __init__(self) -> None:
        self._events = 0
        self._bytes = 0
        self._attempts: dict[tuple[str, str, str], int] = {}
        self._gauges: dict[str, Callable[[], float | None]] = {}
        self._caches: dict[str, Callable[[], CacheFacts]] = {}
        self._duration = Histogram(_REQUEST_SECONDS)
        self._delivered = Histogram(_DELIVERY_SECONDS)
        self._publish_seconds = Histogram(_BATCH_SECONDS)
        self._publish_events = Histogram(_BATCH_SIZES)
        self._journal_seconds = Histogram(_BATCH_SECONDS)
        self._schedule_late = Histogram(_DELIVERY_SECONDS)
        self._journal_results = Histogram(_BATCH_SIZES)
        self._triggers: Callable[[], Iterable[TriggerFacts]] = tuple
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def published(self, count: int, size: int) -> None:
        self._events += count
        self._bytes += size

    def publish_batch(self, events: int, seconds: float) -> None:
        self._publish_events.observe(events)
        self._publish_seconds.observe(seconds)

    def attempt(self, outcome: str, reason: str, kind: str, duration_seconds: float) -> None:
        try:
            self._attempts[outcome, reason, kind] += 1
        except KeyError:
            key = (outcome, reason if len(self._attempts) < SERIES_MAX else "other", kind)
            self._attempts[key] = self._attempts.get(key, 0) + 1
        if duration_seconds > 0:
            self._duration.observe(duration_seconds)

    def delivered_after(self, seconds: float) -> None:
        self._delivered.observe(seconds)

    def journal_batch(self, results: int, seconds: float) -> None:
        self._journal_results.observe(results)
        self._journal_seconds.observe(seconds)

    def schedule_fired(self, late_seconds: float) -> None:
        self._schedule_late.observe(late_seconds)

    def watch(self, name: str, read: Callable[[], float | None]) -> None:
        if name not in GAUGES and name not in COUNTERS:
            raise ValueError(f"there is no series named {name!r}; describe it in GAUGES or COUNTERS")
        self._gauges[name] = read

    def watch_cache(self, name: str, read: Callable[[], CacheFacts]) -> None:
        if name not in CACHES:
            raise ValueError(f"there is no cache named {name!r}; describe it in CACHES")
        self._caches[name] = read

    def watch_triggers(self, read: Callable[[], Iterable[TriggerFacts]]) -> None:
        self._triggers = read

    def render(self) -> tuple[bytes, str]:
        """Everything in Prometheus's text format, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST

    def collect(self) -> Iterator[Metric]:
        """What `prometheus_client` calls for the series."""
        build = GaugeMetricFamily("posthouse_build_info", "Which version runs.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield CounterMetricFamily("posthouse_events_published", "Events appended to the log.", value=self._events)
        yield CounterMetricFamily("posthouse_published_bytes", "Payload bytes appended to the log.", value=self._bytes)
        yield from self._attempt_families()
        yield self._duration.family("posthouse_delivery_duration_seconds", "How long a request took, answered or not.")
        yield self._delivered.family(
            "posthouse_publish_to_delivered_seconds", "From the commit of an event to a target's confirmation."
        )
        yield self._publish_seconds.family("posthouse_publish_batch_seconds", "How long one append to the log took.")
        yield self._publish_events.family("posthouse_publish_batch_events", "How many events one append held.")
        yield self._journal_seconds.family("posthouse_journal_batch_seconds", "How long one journal write took.")
        yield self._journal_results.family(
            "posthouse_journal_batch_results", "How many results one journal write held."
        )
        yield self._schedule_late.family(
            "posthouse_schedule_late_seconds",
            "From when an event of a schedule was due to when it was taken to be published.",
        )
        for name, read in self._gauges.items():
            value = _read(read)
            if value is not None and name in COUNTERS:
                yield CounterMetricFamily(f"posthouse_{name}", COUNTERS[name], value=value)
            elif value is not None:
                yield GaugeMetricFamily(f"posthouse_{name}", GAUGES[name], value=value)
        yield from self._trigger_families()
        yield from self._cache_families()

    def _trigger_families(self) -> Iterable[Metric]:
        labels = ["trigger", "kind"]
        series = [
            (family(f"posthouse_trigger_{name}", documentation, labels=labels), value)
            for name, (family, documentation, value) in TRIGGERS.items()
        ]
        for facts in _read(self._triggers) or ():
            for family, value in series:
                if (read := value(facts.standing)) is not None:
                    family.add_metric([facts.reference, facts.kind], read)
        for family, _ in series:
            yield family

    def _cache_families(self) -> Iterable[Metric]:
        entries = GaugeMetricFamily("posthouse_cache_entries", "Entries that a cache holds now.", labels=["cache"])
        requests = CounterMetricFamily(
            "posthouse_cache_requests",
            "What was asked of a cache: what was there (hit), and what had to be fetched or made (miss).",
            labels=["cache", "result"],
        )
        for name, read in sorted(self._caches.items()):
            facts = _read(read)
            if facts is not None:
                entries.add_metric([name], facts.entries)
                requests.add_metric([name, "hit"], facts.hits)
                requests.add_metric([name, "miss"], facts.misses)
        yield entries
        yield requests

    def _attempt_families(self) -> Iterable[Metric]:
        by_outcome: Counter[str] = Counter({"delivered": 0, "failed": 0, "gave_up": 0})
        by_reason: Counter[str] = Counter()
        by_kind: Counter[str] = Counter()
        for (outcome, reason, kind), count in self._attempts.items():
            by_outcome[outcome] += count
            by_kind[kind] += count
            if outcome != "delivered":
                by_reason[reason] += count
        for name, documentation, label, counts in (
            ("posthouse_attempts", "Attempts by how they ended.", "outcome", by_outcome),
            ("posthouse_attempts_not_delivered", "Attempts that did not deliver, by reason.", "reason", by_reason),
            ("posthouse_attempts_by_class", "Attempts of live deliveries and of replays.", "class", by_kind),
        ):
            family = CounterMetricFamily(name, documentation, labels=[label])
            for value, count in sorted(counts.items()):
                family.add_metric([value], count)
            yield family


def _read(read: Callable[[], V]) -> V | None:
    try:
        return read()
    except Exception:  # noqa: BLE001 - one gauge that fails must not cost the operator all the others
        structlog.get_logger().exception("telemetry.gauge_failed")
        return None


# Logs

HIDDEN: Final = "<hidden>"
_HIDDEN_KEYS: Final = re.compile(
    r"authorization|secret|password|passwd|token|payload|cookie|signature|credential|(?:\A|_)body\Z"
    r"|(?:api|admin|master|private|signing|first)_?key|\Adsn\Z|database_url|_dsn\Z",
    re.IGNORECASE,
)
_HIDDEN_TEXT: Final = re.compile(
    r"\b(whsec_|whsk_|ph_)[A-Za-z0-9+/=_-]{8,}|\b(Bearer )\S+|(://[^/\s:@]+:)[^@\s/]+(?=@)"
    r"|([?&][\w.-]{0,40}(?:token|secret|key|sig|passw|auth)[\w.-]{0,40}=)[^&\s#\"']+",
    re.IGNORECASE,
)
_DEPTH_MAX: Final = 6


def redact(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """A structlog processor: no secret, no `Authorization`, no payload leaves this process in a log.

    What a telling name holds is replaced whole, at any depth; in all other texts whatever looks like a key, a bearer token,
    a password in a URL or a credential in its query.
    """
    for key, value in event.items():
        event[key] = HIDDEN if _HIDDEN_KEYS.search(str(key)) else _redacted(value, 0)
    return event


def _redacted(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _HIDDEN_TEXT.sub(_keep_prefix, value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(value)} bytes>"
    if depth >= _DEPTH_MAX:
        return HIDDEN
    if isinstance(value, Mapping):
        return {
            key: HIDDEN if _HIDDEN_KEYS.search(str(key)) else _redacted(item, depth + 1) for key, item in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item, depth + 1) for item in value]
    return value


def _keep_prefix(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None) + HIDDEN


def configure_logging(json: bool | None = None, level: str = "info") -> None:
    """Logs of ours and of the libraries to stderr: JSON lines, or for people where stderr is a terminal (`json=None`).

    Tracebacks are without local variables, which hold secrets.
    """
    as_json = not sys.stderr.isatty() if json is None else json
    naming: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
    ]
    telling: list[Any] = [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer(default=str)
        if as_json
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[*naming, Repetitions(), *telling, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(_level(level)),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*naming, *telling],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, redact, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_level(level))
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True


def _level(name: str) -> int:
    level = logging.getLevelNamesMapping().get(name.upper())
    if level is None:
        raise SetupError(f"there is no log level {name!r}; there are debug, info, warning, error and critical")
    return level
