"""Run histories: `python -m tests.simulation 300`, `1000-2000`, `=17` or `17,4` for some; `make simulate` does it."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence

from tests.simulation import history
from tests.simulation.scheduler import Endless, bounded


def seeds_of(text: str) -> Sequence[int]:
    """`300` is the first three hundred, `1000-2000` a range with both ends, `=17` one seed, `17,4` these."""
    if text.startswith("=") or "," in text:
        return [int(seed) for seed in text.removeprefix("=").split(",")]
    first, dash, last = text.partition("-")
    return range(int(first), int(last) + 1) if dash else range(int(first))


def judged(seed: int, tell: Callable[[str], None] | None = None) -> history.Verdict:
    """A history's verdict; one that breaks down is wrong, too."""
    try:
        with bounded():
            return history.run(seed, tell)
    except (Exception, Endless):
        return history.Verdict(seed, traceback.format_exc(), 0, 0, 0)


def verdicts(seeds: Sequence[int], jobs: int, tell: Callable[[str], None] | None) -> Iterator[history.Verdict]:
    """As they come."""
    if jobs == 1:
        yield from (judged(seed, tell) for seed in seeds)
        return
    with multiprocessing.get_context("fork").Pool(jobs) as pool:
        yield from pool.imap_unordered(judged, seeds)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("seeds", nargs="?", default="100", help="a number, a range such as 1000-2000, =17, or 17,4")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no further history after so long")
    parser.add_argument("--first", action="store_true", help="end at the first that is wrong")
    parser.add_argument("--tell", action="store_true", help="print all that happens")
    parser.add_argument("--digests", action="store_true", help="print each history's digest")
    options = parser.parse_args(arguments)
    began, done, events, statements, wrong = time.monotonic(), 0, 0, 0, 0
    for verdict in verdicts(seeds_of(options.seeds), options.jobs, print if options.tell else None):
        done += 1
        events += verdict.events
        statements += verdict.statements
        if options.digests:
            print(f"{verdict.seed}: {verdict.digest:08x}")
        if verdict.wrong:
            wrong += 1
            print(f"seed {verdict.seed}: {verdict.wrong}\n    again: make simulate SEED={verdict.seed}", flush=True)
        if (wrong and options.first) or time.monotonic() - began > options.seconds:
            break
    seconds = time.monotonic() - began
    print(f"{done} histories in {seconds:.1f} s: {events} events, {statements} commits; {wrong} wrong", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # A history must be the same each time, and sets are ordered by hashes.
        os.environ["PYTHONHASHSEED"] = "0"
        os.execv(sys.executable, [sys.executable, "-m", "tests.simulation", *sys.argv[1:]])
    # Tasks of the dead end nowhere; that is what dying is.
    warnings.simplefilter("ignore", RuntimeWarning)
    sys.unraisablehook = lambda about: None
    sys.exit(main(sys.argv[1:]))
