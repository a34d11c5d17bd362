"""The garbage collector of a process that serves."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from posthouse.adapters.system.collector import THRESHOLDS, calm_collector, hold_collector


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    before, frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    yield
    gc.enable()
    gc.set_threshold(*before)
    if not frozen:
        gc.unfreeze()


def test_it_rests_while_a_process_starts_and_leaves_alone_what_is_there_by_then() -> None:
    gc.set_threshold(700, 10, 10)
    hold_collector()
    assert not gc.isenabled()
    frozen = gc.get_freeze_count()
    made = [[] for _ in range(1000)]  # type: ignore[var-annotated]
    calm_collector()
    assert gc.isenabled()
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() >= frozen + len(made)
