"""What a process must mind before it forks, and its child after: locks, threads and connections are not to be shared.

A server that loads the application and then forks its workers (gunicorn's `--preload`) does so before the first request, and
nothing has begun by then. But a program may fork at any time, and SQLite must not even be open while it does.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Forking(Protocol):
    """Whoever has threads, connections or locks."""

    def before_fork(self) -> None:
        """Let go of what a child must not inherit, and hold still. Never raises, and does not wait for long."""

    def after_in_parent(self) -> None:
        """Go on."""

    def forked(self) -> None:
        """This is the child: begin anew, with nothing in memory. What waits there is the parent's."""


def mind(forking: Forking) -> None:
    """See to it that it hears of every fork of this process."""
    _all.add(forking)


_all: weakref.WeakSet[Forking] = weakref.WeakSet()
_held: list[Forking] = []
_forking = threading.Lock()  # two threads may fork at the same time


def _before() -> None:
    _forking.acquire()
    _held.extend(_all)
    for forking in _held:
        forking.before_fork()


def _after_in_parent() -> None:
    while _held:
        _held.pop().after_in_parent()
    _forking.release()


def _after_in_child() -> None:
    _forking.release()
    while _held:
        _held.pop().forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_parent=_after_in_parent, after_in_child=_after_in_child)
