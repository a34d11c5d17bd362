"""One scrape of any worker tells of all of them, in a text that Prometheus can read."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from posthouse.adapters.system.exposition import merged
from posthouse.adapters.system.siblings import Siblings
from posthouse.adapters.system.telemetry import PrometheusTelemetry
from posthouse.domain.cache_use import CacheFacts


def telemetry(events: int) -> PrometheusTelemetry:
    made = PrometheusTelemetry()
    made.published(events, 10)
    made.attempt("delivered", "confirmed", "live", 0.01)
    made.watch("lanes", lambda: float(events))
    made.watch_cache("routes", lambda: CacheFacts(entries=events, hits=7 * events, misses=events))
    return made


def samples(text: bytes) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    found = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found, "a series is told twice"
            found[key] = sample.value
    return found


@pytest.fixture
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(dir="/tmp") as made:
        yield Path(made)


def test_every_series_of_every_worker_is_there_once_with_its_label() -> None:
    texts = {n: telemetry(n + 1).render()[0] for n in range(3)}
    together = samples(merged(texts))
    for n, text in texts.items():
        for (name, labels), value in samples(text).items():
            assert together[name, tuple(sorted((*labels, ("worker", str(n)))))] == value
    assert together["posthouse_worker_up", (("worker", "2"),)] == 1.0
    assert len(together) == 3 + sum(len(samples(text)) for text in texts.values())
    heads = [line for line in merged(texts).decode().splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads)), "a family stands in one place"


def test_a_worker_without_an_answer_is_told_as_down() -> None:
    together = samples(merged({0: telemetry(1).render()[0], 1: None}))
    assert together["posthouse_worker_up", (("worker", "1"),)] == 0.0
    assert not any(("worker", "1") in labels for name, labels in together if name != "posthouse_worker_up")


async def test_any_worker_answers_for_all(folder: Path) -> None:
    workers = [Siblings(folder, n, 3, telemetry(n + 1).render) for n in range(2)]
    for worker in workers:
        await worker.start()
    for worker in workers:
        text, content_type = await worker.render()
        assert content_type.startswith("text/plain")
        together = samples(text)
        assert [together["posthouse_lanes", (("worker", str(n)),)] for n in range(2)] == [1.0, 2.0]
        assert together["posthouse_worker_up", (("worker", "2"),)] == 0.0, "it was never started"
    await workers[1].close()
    again = Siblings(folder, 1, 3, telemetry(9).render)
    await again.start()  # in the place of one that died
    assert samples((await workers[0].render())[0])["posthouse_lanes", (("worker", "1"),)] == 9.0
    for worker in (workers[0], again):
        await worker.close()


async def test_a_worker_that_hangs_does_not_keep_the_scrape(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthouse.adapters.system.siblings.ANSWER_SECONDS_MAX", 0.05)
    gate = asyncio.Event()

    async def hang(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await gate.wait()
        writer.close()

    hanging = await asyncio.start_unix_server(hang, folder / "worker-1.sock")
    worker = Siblings(folder, 0, 2, telemetry(1).render)
    together = samples((await worker.render())[0])
    assert together["posthouse_worker_up", (("worker", "1"),)] == 0.0
    gate.set()
    hanging.close()
