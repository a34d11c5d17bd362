"""What a pool and its workers say to each other: frames of four bytes of length (big-endian), then MessagePack."""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Final

import msgspec

LENGTH_BYTES: Final = 4
FRAME_BYTES_SLACK: Final = 4096  # of a frame, beside what it carries


class Told(msgspec.Struct, frozen=True):
    """What a worker is told as it is started: its first argument, as JSON."""

    socket: int  # the number of the file that it has its end of the connection in
    parent: int  # the process that it works for
    memory_bytes: int
    reply_bytes: int
    niceness: int
    quiet: bool  # once it is ready, nothing that it writes is shown


class Ready(msgspec.Struct, array_like=True, tag="ready"):
    """A worker waits for its first call."""


class Asked(msgspec.Struct, array_like=True):
    """A call. A worker that is not done a while after `seconds` ends itself, should nobody be there any more to end it."""

    seconds: float
    request: bytes


class Trouble(StrEnum):
    """Why a call has no reply, where the worker itself can tell."""

    MEMORY = "memory"
    TOO_LARGE = "too_large"
    RAISED = "raised"


class Done(msgspec.Struct, array_like=True, tag="done"):
    reply: bytes


class Troubled(msgspec.Struct, array_like=True, tag="troubled"):
    """`detail` names the error and nothing that it says."""

    trouble: Trouble
    detail: str


Said = Ready | Done | Troubled

_encode: Final = msgspec.msgpack.Encoder().encode
decode_asked: Final = msgspec.msgpack.Decoder(Asked).decode
decode_said: Final = msgspec.msgpack.Decoder(Said).decode


def frame(message: Asked | Said) -> bytes:
    """As it goes over the connection."""
    body = _encode(message)
    return struct.pack("!I", len(body)) + body


def length_of(head: bytes) -> int:
    """How many bytes follow the first four of a frame."""
    return int(struct.unpack("!I", head)[0])
