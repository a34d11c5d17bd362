"""The request target of a message: what its signatures are about and what its first line says, one and the same."""

from __future__ import annotations

from urllib.parse import parse_qsl

from posthouse.wire.documents import encoded_query
from posthouse.wire.message import Message


def request_path(message: Message) -> str:
    """The URL's own path and query, and after them what was added to the message so far."""
    path = message.target.path
    if not message.query:
        return path
    joint = "" if path[-1] in "?&" else "&" if "?" in path else "?"
    return f"{path}{joint}{encoded_query(message.query, message.charset)}"


def request_url(message: Message) -> str:
    """The same with scheme and host in front (the port only where it is not the scheme's own)."""
    return f"{message.target.scheme}://{message.target.authority}{request_path(message)}"


def parameters(message: Message) -> list[tuple[str, str]]:
    """The parameters of the request target as texts, in order."""
    query = request_path(message).partition("?")[2]
    return parse_qsl(query, keep_blank_values=True, encoding=message.charset)
