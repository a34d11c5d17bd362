"""Server-sent events, read.

Source: WHATWG HTML, section 9.2.6 (https://html.spec.whatwg.org/multipage/server-sent-events.html).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from posthouse.domain.errors import PosthouseError

BLOCK_BYTES_MAX: Final = 64 * 1024 * 1024


class Block(NamedTuple):
    """What came before an empty line. Without data it is no message, but its id counts all the same."""

    event: str = ""
    data: bytes | None = None
    id: str | None = None


class Reader:
    """Makes blocks of bytes as they come, wherever they were cut."""

    def __init__(self) -> None:
        self._rest = b""
        self._block = Block()
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Block]:
        """The blocks that these bytes complete. Raises PosthouseError for one that is too large."""
        data = self._rest + data
        # A line ends with LF, CR or both; so a CR at the end waits for what comes next.
        end = max(data.rfind(b"\n"), data.rfind(b"\r", 0, -1)) + 1
        self._rest = data[end:]
        found = [block for line in data[:end].splitlines() if (block := self._line(line)) is not None]
        if self._size + len(self._rest) > BLOCK_BYTES_MAX:
            raise PosthouseError(f"the server sent a message of over {BLOCK_BYTES_MAX} bytes")
        return found

    def _line(self, line: bytes) -> Block | None:
        if not line:
            block = self._block._replace(data=b"\n".join(self._data) if self._data else None)
            self._block, self._data, self._size = Block(), [], 0
            return block if block != Block() else None
        name, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match name:
            case b"event":
                self._block = self._block._replace(event=value.decode("utf-8", "replace"))
            case b"data":
                self._data.append(value)
                self._size += len(value)
            case b"id" if b"\0" not in value:
                self._block = self._block._replace(id=value.decode("utf-8", "replace"))
        return None
