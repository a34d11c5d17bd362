"""HTTP proxies: a tunnel to an address (CONNECT) over a connected socket.

Sources: RFC 9110 sections 9.3.6 and 11.7, RFC 9112 section 3.2.3.
"""

from __future__ import annotations

import asyncio
import re
import socket
from base64 import b64encode
from typing import Final
from urllib.parse import unquote, urlsplit

import msgspec

from posthouse.domain.errors import SetupError

ANSWER_BYTES_MAX: Final = 8 * 1024
_STATUS: Final = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: [^\r\n]*)?\r\n")
_END: Final = b"\r\n\r\n"


class Proxy(msgspec.Struct, frozen=True):
    """A proxy of the operator's. `credentials` are `user:password`, empty for none."""

    name: str
    host: str
    port: int
    credentials: str = ""

    def __repr__(self) -> str:
        return f"Proxy(name={self.name!r}, host={self.host!r}, port={self.port})"


class Refused(Exception):
    """The proxy made no tunnel; the text says why."""


def parse_proxy(name: str, url: str) -> Proxy:
    """The proxy at `http://[user:password@]host:port`. Raises: SetupError, which does not repeat the URL."""
    wanted = f"the proxy {name!r} must be given as http://host:port or http://user:password@host:port"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise SetupError(wanted) from None
    if parts.scheme == "https":
        raise SetupError(f"{wanted}: a proxy that is itself spoken to over TLS is not supported")
    if parts.scheme != "http" or not parts.hostname or port is None or parts.path.strip("/") or parts.query:
        raise SetupError(wanted)
    credentials = ""
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return Proxy(name, parts.hostname, port, credentials)


async def tunnel(sock: socket.socket, proxy: Proxy, address: str, port: int) -> None:
    """Ask a proxy for a tunnel to an address, over a connected socket; the caller bounds the time.

    Raises: Refused; OSError.
    """
    where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    lines = [f"CONNECT {where} HTTP/1.1", f"Host: {where}"]
    if proxy.credentials:
        lines.append(f"Proxy-Authorization: Basic {b64encode(proxy.credentials.encode()).decode('ascii')}")
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    answer = b""
    while _END not in answer:
        more = await loop.sock_recv(sock, ANSWER_BYTES_MAX)
        if not more:
            raise Refused("it closed the connection" if answer else "it closed the connection without an answer")
        answer += more
        if len(answer) > ANSWER_BYTES_MAX:
            raise Refused(f"its answer is larger than {ANSWER_BYTES_MAX // 1024} KiB")
    found = _STATUS.match(answer)
    if found is None:
        raise Refused("its answer is not HTTP/1.1")
    status = int(found[1])
    if not 200 <= status < 300:
        raise Refused(f"it answered {status} to CONNECT {where}{_MEANINGS.get(status, '')}")
    if not answer.endswith(_END) or answer.count(_END) > 1:
        raise Refused("it sent more than its answer")  # the target waits until it is asked


_MEANINGS: Final = {
    403: " (it may not connect to this address or port)",
    407: " (it asks for credentials, or does not take those that it got)",
    502: " (it cannot reach the target)",
    503: " (it cannot reach the target)",
    504: " (it cannot reach the target)",
}
