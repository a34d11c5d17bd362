"""A target's answer as the payload of an event. Pure."""

from __future__ import annotations

from typing import Final

from posthouse.domain.event import JSON_CONTENT
from posthouse.domain.exchange import Answer
from posthouse.domain.json_text import decoded
from posthouse.wire.headers import is_content_type

TEXT_CONTENT: Final = "text/plain; charset=utf-8"
BYTES_CONTENT: Final = "application/octet-stream"

_NOTHING: Final = b"null"


def payload_of(answer: Answer | None) -> tuple[bytes, str]:
    """The body and its content type: JSON as JSON, anything else as it came. What was not said of the body is found out: text
    is UTF-8, and the rest bytes. No answer, or one without a body, is the JSON null."""
    if answer is None or not answer.body:
        return _NOTHING, JSON_CONTENT
    named = (answer.header(b"content-type") or b"").decode("latin-1").strip()
    essence = named.partition(";")[0].rstrip().lower()
    if (not essence or essence.endswith(("/json", "+json"))) and _is_json(answer.body):
        return answer.body, JSON_CONTENT
    if is_content_type(named) and essence != JSON_CONTENT:
        return answer.body, named
    try:
        answer.body.decode("utf-8")
    except UnicodeDecodeError:
        return answer.body, BYTES_CONTENT
    return answer.body, TEXT_CONTENT


def _is_json(body: bytes) -> bool:
    try:
        decoded(body)
    except (ValueError, RecursionError):
        return False
    return True
