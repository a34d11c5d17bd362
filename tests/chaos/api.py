"""A client for servers that may be dead, stopped or cut off: it says whether a request can have been read at all."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from typing import Any, Final

KEY: Final = "ph_chaos_" + "k" * 40
PATIENCE_SECONDS: Final = 3.0


class Unreached(Exception):
    """Nothing was sent."""


class Lost(Exception):
    """No answer came: the connection ended, or (`late`) our patience."""

    late = False


async def ask(port: int, method: str, path: str, body: object = None, **headers: str) -> tuple[int, Any]:
    """One request on a connection of its own: status and decoded body. Raises Unreached, Lost."""
    content = b"" if body is None else json.dumps(body).encode()
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    try:
        reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), PATIENCE_SECONDS)
    except (OSError, TimeoutError) as error:
        raise Unreached(str(error)) from error
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            writer.write(
                f"{method} {path} HTTP/1.1\r\nHost: chaos\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n{lines}"
                f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
                + content
            )
            answer = await reader.read()
    except TimeoutError as error:
        lost = Lost("no answer in time")
        lost.late = True
        raise lost from error
    except OSError as error:
        raise Lost(str(error)) from error
    finally:
        writer.close()
    head, separator, told = answer.partition(b"\r\n\r\n")
    if not separator:
        raise Lost("the connection was closed without an answer")
    _, _, length = head.lower().partition(b"content-length:")
    if len(told) < int(length.split(b"\r\n", 1)[0] or 0):
        raise Lost("the answer was cut off")
    return int(head.split(b" ", 2)[1]), json.loads(told) if told.strip() else None


async def insist(
    ports: Sequence[int], chance: random.Random, method: str, path: str, body: object = None
) -> tuple[int, Any, int]:
    """Ask one server after another until one answers, and not with 503: status, body, and how often it was asked for. What was
    asked before the last may have come to pass, too, or may still."""
    times = 1
    while True:
        try:
            status, told = await ask(chance.choice(ports), method, path, body)
        except Unreached:
            await asyncio.sleep(0.05)
            continue
        except Lost:
            times += 1
            continue
        if status != 503:
            return status, told, times
        times += 1
        await asyncio.sleep(0.1)
