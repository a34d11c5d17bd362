"""Closing a listening socket without a soul between door and desk.

The kernel completes handshakes by itself: a connection that nobody has accepted yet when its listener closes is reset, though
its client may have sent a request. So first no new handshake begins, then those under way are waited for and accepted.
"""

from __future__ import annotations

import ctypes
import socket
import struct
import sys
from typing import Final

_SO_ATTACH_FILTER: Final = 26
# Classic BPF over the TCP header: drop what has SYN set, let the rest pass.
_NO_SYN: Final = (
    (0x30, 0, 0, 13),  # load the byte with the flags
    (0x54, 0, 0, 0x02),  # and SYN
    (0x15, 0, 1, 0x02),  # unless it is set, skip one
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # pass
)


def shut(listening: socket.socket) -> bool:
    """Let no new connection begin, for every process that shares the socket; whether it was possible (Linux only).

    Whoever knocks gets no answer, and refusal once the socket is closed: the kernel of a client knocks again by itself.
    """
    if sys.platform != "linux":
        return False
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in _NO_SYN))
    told = struct.pack("HP", len(_NO_SYN), ctypes.addressof(program))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, told)
    except OSError:
        return False
    return True
