"""Waiting for a database no longer than one wants to.

What psycopg does where its caller gives up (take the statement back, and wait for the server to say so) never ends with a
server that is silent. So the connection is cut instead, and is good for nothing afterwards.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final, TypeVar

import psycopg

T = TypeVar("T")

END_SECONDS_MAX: Final = 1.0
"""For work whose connection was cut to end."""


async def bounded(connection: psycopg.AsyncConnection, work: Coroutine[Any, Any, T], seconds: float) -> T:
    """What some work on a connection comes to. Where it takes longer, or the caller is cancelled, the connection is cut.

    Raises TimeoutError, and what the work raises.
    """
    task = asyncio.ensure_future(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        await _cut(connection, task)
        raise
    if not done:
        await _cut(connection, task)
        raise TimeoutError
    return task.result()


async def _cut(connection: psycopg.AsyncConnection, task: asyncio.Future[Any]) -> None:
    task.add_done_callback(_hear)
    # Not closed: whoever waits for it would wait for another one's descriptor.
    with suppress(OSError, psycopg.Error), socket.socket(fileno=os.dup(connection.pgconn.socket)) as other:
        other.shutdown(socket.SHUT_RDWR)
    await asyncio.wait({task}, timeout=END_SECONDS_MAX)


def _hear(task: asyncio.Future[Any]) -> None:
    """Nobody else asks for its exception."""
    if not task.cancelled():
        task.exception()
