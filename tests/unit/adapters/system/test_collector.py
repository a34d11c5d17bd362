"""The garbage collector of a process that serves."""

from __future__ import annotations

import subprocess
import sys
from typing import Final

# In a process of its own: what is there in one of tests takes seconds to look through.
PROGRAM: Final = """
import gc
from posthouse.adapters.system.collector import THRESHOLDS, calm_collector, hold_collector

hold_collector()
print("held", not gc.isenabled())
made = [[] for _ in range(1000)]
calm_collector()
print("calm", gc.isenabled() and gc.get_threshold() == THRESHOLDS)
print("frozen", gc.get_freeze_count() > len(made))
"""


def test_it_rests_while_a_process_starts_and_leaves_alone_what_is_there_by_then() -> None:
    told = subprocess.run([sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True)
    assert told.stdout == "held True\ncalm True\nfrozen True\n"
