"""Every error of the domain as an answer."""

from __future__ import annotations

import msgspec
import pytest

from posthouse.api.problems import InvalidFields, fields_of, join_path, problem_bytes, status_of
from posthouse.domain import errors
from posthouse.domain.errors import (
    Conflict,
    Forbidden,
    InDoubt,
    Invalid,
    InvalidExpression,
    LogRewound,
    NotFound,
    Overloaded,
    PosthouseError,
    SetupError,
    StoreRejected,
    StoreUnavailable,
    TooLarge,
    Unauthorised,
)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (Invalid("no", path="a.b"), 422, "invalid"),
        (Invalid("no", code="malformed_json"), 400, "malformed_json"),
        (Invalid("no", code="invalid_cursor"), 400, "invalid_cursor"),
        (Invalid("no", code="body_timeout"), 408, "body_timeout"),
        (Invalid("no", code="unsupported_media_type"), 415, "unsupported_media_type"),
        (Unauthorised("who"), 401, "unauthorised"),
        (Forbidden("no"), 403, "forbidden"),
        (NotFound("no", code="app_not_found"), 404, "app_not_found"),
        (Conflict("no", code="uid_taken"), 409, "uid_taken"),
        (TooLarge("no"), 413, "too_large"),
        (Overloaded("busy", retry_after=7), 503, "overloaded"),
        (StoreUnavailable("connect to db.internal:5432 failed"), 503, "store_unavailable"),
        (InDoubt("connect to db.internal:5432 failed"), 503, "store_unavailable"),
        (StoreRejected("PostgreSQL refused"), 422, "rejected_by_store"),
        (LogRewound("internal"), 500, "internal_error"),
        (SetupError("internal"), 500, "internal_error"),
        (ValueError("internal"), 500, "internal_error"),
    ],
)
def test_status_and_code(error: Exception, status: int, code: str) -> None:
    answered, headers, body = problem_bytes(error)
    assert answered == status == status_of(error)
    assert (b"content-type", b"application/problem+json") in headers
    assert not any(name == b"content-length" for name, _ in headers)
    problem = msgspec.json.decode(body)
    assert (problem["status"], problem["code"], problem["type"]) == (status, code, "about:blank")
    assert problem["title"]
    assert problem["detail"]
    for told in ("internal", "PostgreSQL"):
        assert told not in problem["detail"]


def test_every_error_of_the_domain_has_a_status() -> None:
    known = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, PosthouseError)]
    assert len(known) > 10
    for kind in known:
        error = kind("text", path="ack") if kind is InvalidExpression else kind("text")
        assert 400 <= status_of(error) < 600


def test_what_to_do_next_is_in_the_headers() -> None:
    assert (b"www-authenticate", b"Bearer") in problem_bytes(Unauthorised("who"))[1]
    assert (b"retry-after", b"7") in problem_bytes(Overloaded("busy", retry_after=7))[1]
    assert (b"retry-after", b"2") in problem_bytes(StoreUnavailable("gone"))[1]


def test_a_path_is_told_and_a_hostile_one_does_no_harm() -> None:
    def path(error: Exception) -> object:
        return msgspec.json.decode(problem_bytes(error)[2]).get("path")

    assert path(Invalid("no", path="retry.schedule[2]")) == "retry.schedule[2]"
    assert path(Invalid("no")) is None
    assert path(Invalid("no", path="a\x1b[31m\n")) == "a\\x1b[31m\\n"
    long = path(Invalid("no", path="x" * 10_000))
    assert isinstance(long, str)
    assert len(long) == 256


def test_several_wrong_fields_are_all_told_the_first_one_foremost() -> None:
    body = msgspec.json.decode(problem_bytes(InvalidFields([("a", "one"), ("b[0]", "two")]))[2])
    assert (body["path"], body["detail"]) == ("a", "one")
    assert body["errors"] == [{"path": "a", "detail": "one"}, {"path": "b[0]", "detail": "two"}]
    assert "errors" not in msgspec.json.decode(problem_bytes(InvalidFields([("a", "one")]))[2])


def test_paths_read_as_they_are_written() -> None:
    assert join_path(["retry", "schedule", 2]) == "retry.schedule[2]"
    assert join_path([3, "data", "x"]) == "[3].data.x"
    assert join_path([]) == ""


def test_what_the_framework_found_is_told_in_our_words() -> None:
    told = fields_of(
        [
            {"loc": ("body", "retry", "schedule", 2), "type": "float_type", "msg": "Input should be a valid number"},
            {"loc": ("query", "limit"), "type": "greater_than", "msg": "Input should be greater than 0"},
            {"loc": ("body", "foo"), "type": "extra_forbidden", "msg": "Extra inputs are not permitted"},
            {"loc": ("body",), "type": "missing", "msg": "Field required"},
        ]
    )
    assert told.fields == [
        ("retry.schedule[2]", "should be a valid number"),
        ("?limit", "should be greater than 0"),
        ("foo", "this field is not known"),
        ("", "the body is missing; send a JSON object"),
    ]
