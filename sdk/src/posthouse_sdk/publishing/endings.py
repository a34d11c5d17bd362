"""What the backgrounds of a process owe it: what waits is sent before it exits.

The exit is minded from the import of this module on. Callbacks of `atexit` run in reverse order, so those of an application
that imported it before come first, and what they publish is sent, too; what is registered as the process exits is never called.
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import weakref
from typing import Protocol

log = logging.getLogger("posthouse_sdk")


class Ending(Protocol):
    """Whoever has events in memory, and a lock."""

    def at_exit(self) -> None:
        """Send what waits, or tell that it was not sent. Called more than once in some processes."""


def mind(ending: Ending) -> None:
    """See to it that it hears of the exit of this process, if it is still there then."""
    _all.add(ending)


def hold(ending: Ending) -> None:
    """It has events: it is there until `let_go`, whether or not anybody else remembers it. Its lock is held."""
    global _finalized_in
    _holding.add(ending)
    # Children of multiprocessing leave without what `atexit` holds, and forget what was registered before they were forked.
    pools = sys.modules.get("multiprocessing.util")
    if pools is None or _finalized_in == os.getpid():
        return
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        _finalized_in = os.getpid()
        pools.Finalize(None, _at_exit, exitpriority=0)


def let_go(ending: Ending) -> None:
    """It has none any more. Its lock is held."""
    _holding.discard(ending)


_all: weakref.WeakSet[Ending] = weakref.WeakSet()
_holding: set[Ending] = set()
_finalized_in = -1


def _at_exit() -> None:
    for ending in list(_all):
        try:
            ending.at_exit()
        except Exception:
            log.exception("what waits could not be sent at the exit of the process")


atexit.register(_at_exit)
