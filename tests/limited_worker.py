"""The main of the limited processes that tests ask: each request says what to do."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from posthouse.adapters.limited.serving import serve

NEVER_READY = "never"


def prepare(arguments: Sequence[str]) -> Callable[[bytes], bytes]:
    if arguments[:1] == [NEVER_READY]:
        sys.exit(1)
    return answer


def answer(request: bytes) -> bytes:
    what, number = msgspec.json.decode(request, type=tuple[str, float])
    match what:
        case "pid":
            return str(os.getpid()).encode()
        case "sleep":
            time.sleep(number)
        case "spin":  # in code that does not let go of the interpreter
            sum(range(int(number)))
        case "memory":
            return str(len(bytearray(int(number)))).encode()
        case "reply":
            return bytes(int(number))
        case "raise":
            raise ValueError("with a value that nobody is told")
        case "exit":
            sys.exit(int(number))
        case "die":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "environment":
            return msgspec.json.encode(dict(os.environ))
        case "files":
            return msgspec.json.encode(_files())
        case "garbage":
            for number in _files():
                os.write(number, b"\0\0\0\x03abc")
    return b"done"


def _files() -> list[int]:
    """The numbers of the files that are open, without the first three."""
    found = []
    for number in range(3, 64):
        with suppress(OSError):
            os.fstat(number)
            found.append(number)
    return found


if __name__ == "__main__":
    serve(prepare)
