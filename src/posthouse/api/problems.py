"""Errors as answers: `application/problem+json` (RFC 9457) with a stable `code`, all made here.

{"type": "about:blank", "title": "Not Found", "status": 404, "code": "app_not_found", "detail": "…", "path"?: "…"}

`title` and `detail` are in the language that `Accept-Language` prefers (`texts`); `code` and `path` are for programs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

import msgspec
import structlog

from posthouse.api.texts.accepted import CHINESE, ENGLISH, Language
from posthouse.api.texts.catalogue import chinese
from posthouse.api.texts.reading import said
from posthouse.domain.errors import (
    Conflict,
    Forbidden,
    InDoubt,
    Invalid,
    NotFound,
    Overloaded,
    PosthouseError,
    PreconditionFailed,
    QuotaExceeded,
    SourceRefused,
    SourceUnavailable,
    StoreRejected,
    StoreTrouble,
    StoreUnavailable,
    TooLarge,
    Unauthorised,
    Unreadable,
)

log = structlog.get_logger()

PROBLEM_CONTENT: Final = b"application/problem+json"
PATH_LENGTH_MAX: Final = 256
ERRORS_TOLD_MAX: Final = 10

Headers = list[tuple[bytes, bytes]]

# What is wrong with the request as such rather than with the values in it.
_INVALID_STATUS: Final = {
    "malformed_json": 400,
    "invalid_cursor": 400,
    "malformed_request": 400,
    "body_timeout": 408,
    "not_verified": 401,
    "method_not_allowed": 405,
    "headers_too_large": 431,
    "unsupported_encoding": 415,
    "unsupported_media_type": 415,
}
_STATUS: Final[Sequence[tuple[type[PosthouseError], int]]] = (
    (Unauthorised, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Conflict, 409),
    (Unreadable, 409),
    (PreconditionFailed, 412),
    (TooLarge, 413),
    (StoreRejected, 422),
    (Overloaded, 503),
    (StoreUnavailable, 503),
    (SourceRefused, 422),
    (SourceUnavailable, 503),
)


# As RFC 9110 calls them; Python's names for these changed with its versions.
_TITLES: Final = {413: "Content Too Large", 422: "Unprocessable Content"}


class InvalidFields(Invalid):
    """Several fields are wrong; the error itself tells of the first one. `fields` are (path, message)."""

    def __init__(self, fields: Sequence[tuple[str, str]]) -> None:
        path, message = fields[0]
        super().__init__(message, path=path)
        self.fields = fields


def problem_bytes(error: BaseException, language: Language = ENGLISH) -> tuple[int, Headers, bytes]:
    """An error as status, headers (without Content-Length) and body, in this language.

    What is not an error of the domain is a bug or a fault of ours: 500, and nothing about it is told. Whoever caught it
    logs it.
    """
    status = status_of(error)
    headers: Headers = [(b"content-type", PROBLEM_CONTENT), *language_headers(language)]
    if isinstance(error, Unauthorised):
        headers.append((b"www-authenticate", b"Bearer"))
    extra: dict[str, Any] = {}
    code = error.code if isinstance(error, PosthouseError) and status != 500 else "internal_error"
    detail = str(error)
    match error:
        case _ if status == 500:
            detail = "something went wrong on our side; it was logged"
        case InDoubt():
            detail = "the database did not answer in time, and whether this was done is unknown; look, or send it again"
        case Unreadable():
            detail = (
                "a secret that this needs does not open with the master keys of this server: an operator has to start it with "
                "the one that sealed it; where that is lost, secrets are made anew (`posthouse keys rekey --data-keys`, then "
                "rotate with overlap_seconds 0)"
            )
        case StoreUnavailable(trouble=StoreTrouble.DISK_FULL):
            detail = (
                "the disk of the database is full, and nothing was changed; try again when its operator has made room"
            )
        case StoreUnavailable(trouble=StoreTrouble.READ_ONLY):
            detail = "the database takes no writes now, and nothing was changed; try again shortly"
        case StoreUnavailable(trouble=StoreTrouble.NO_CONNECTION):
            detail = "the database has no connection left, and nothing was changed; try again shortly"
        case StoreUnavailable():
            detail = "the database did not answer, and nothing was changed; try again shortly"
        case StoreRejected():
            detail = "the store cannot hold these data; look for numbers out of range and for unusual characters"
        case Invalid(path=path) | NotFound(path=path) | Conflict(path=path) if path:
            extra["path"] = shown(path)
    if isinstance(error, InvalidFields) and len(error.fields) > 1:
        told = error.fields[:ERRORS_TOLD_MAX]
        extra["errors"] = [{"path": shown(path), "detail": said(message, language)} for path, message in told]
    if (
        isinstance(error, Overloaded | StoreUnavailable | SourceUnavailable | QuotaExceeded)
        and error.retry_after is not None
    ):
        headers.append((b"retry-after", b"%d" % error.retry_after))
    return status, headers, problem_body(status, code, detail, language, **extra)


def status_of(error: BaseException) -> int:
    """The status that an error is answered with."""
    if isinstance(error, Invalid):
        return _INVALID_STATUS.get(error.code, 422)
    if isinstance(error, QuotaExceeded):
        return 403 if error.retry_after is None else 429
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


def problem_body(status: int, code: str, detail: str, language: Language = ENGLISH, **extra: Any) -> bytes:
    """The body of a problem, in this language but for `extra`."""
    title = _TITLES.get(status) or HTTPStatus(status).phrase
    if language == CHINESE:
        title = chinese().title(title)
    detail = said(detail, language)
    return msgspec.json.encode(
        {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail, **extra}
    )


def language_headers(language: Language) -> Headers:
    """What tells caches and people that an answer has a language, and which."""
    return [(b"content-language", language.encode("ascii")), (b"vary", b"Accept-Language")]


def as_fields(headers: Headers) -> dict[str, str]:
    """Headers as the framework takes them."""
    return {name.decode(): value.decode() for name, value in headers}


def language_fields(language: Language) -> dict[str, str]:
    """`language_headers` as the framework takes them."""
    return as_fields(language_headers(language))


def shown(path: str) -> str:
    """A path made of what a client sent, fit for a terminal and a log."""
    path = path[:PATH_LENGTH_MAX]
    return path if path.isprintable() else path.encode("unicode_escape").decode("ascii")


def join_path(parts: Iterable[str | int]) -> str:
    """`retry.schedule[2]` of its parts."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else str(part)
    return path


def fields_of(errors: Sequence[Mapping[str, Any]]) -> InvalidFields:
    """What pydantic found, in our words: `retry.schedule[2]` for a field of the body, `?limit` for one of the query."""
    return InvalidFields([(_path(error["loc"]), _message(error)) for error in errors[:ERRORS_TOLD_MAX]])


def _path(location: Sequence[str | int]) -> str:
    where, *parts = location
    path = join_path(parts)
    return f"?{path}" if where == "query" else path


NO_BODY: Final = "the body is missing; send a JSON object"
_MESSAGES: Final = {
    "extra_forbidden": "this field is not known",
    "missing": "this field is missing",
    "model_attributes_type": "should be an object",
    "model_type": "should be an object",
    "dict_type": "should be an object",
    "list_type": "should be an array",
}


def _message(error: Mapping[str, Any]) -> str:
    if error["type"] == "missing" and len(error["loc"]) == 1:
        return NO_BODY
    known = _MESSAGES.get(error["type"])
    if known is not None:
        return known
    text = str(error["msg"]).removeprefix("Value error, ").replace("Input should", "should")
    return text[:1].lower() + text[1:]
