"""Answers of token endpoints: the token, or why there is none; nothing that the endpoint wrote is repeated."""

from __future__ import annotations

import json

import msgspec
import pytest
from tests.fakes import answer

from posthouse.domain.limits import OAUTH2_TOKEN_BYTES_MAX, OAUTH2_TOKEN_SECONDS, OAUTH2_TOKEN_SECONDS_MAX
from posthouse.wire.tokens import NoToken, Token, read_token


@pytest.mark.parametrize(
    ("more", "seconds"),
    [
        ({"expires_in": 3600}, 3600.0),
        ({"expires_in": "3600"}, 3600.0),
        ({"expires_in": 10**9}, OAUTH2_TOKEN_SECONDS_MAX),
        ({"token_type": "bearer", "expires_in": 90.5, "scope": "x"}, 90.5),
        ({}, OAUTH2_TOKEN_SECONDS),
        *[({"expires_in": odd}, OAUTH2_TOKEN_SECONDS) for odd in (0, -5, None, True, "soon", "nan", [1], 10**400)],
    ],
)
def test_tokens(more: dict[str, object], seconds: float) -> None:
    body = json.dumps({"access_token": "a.b-c", "token_type": "Bearer"} | more).encode()
    token = read_token(answer(body=body))
    assert token == Token("a.b-c", seconds)
    assert "a.b-c" not in repr(token)


@pytest.mark.parametrize(
    ("status", "body", "detail"),
    [
        (400, b'{"error":"invalid_client","error_description":"s3cr3t"}', "answered 400: invalid_client"),
        (401, b'{"error":"s3cr3t"}', "answered 401"),
        (500, b"<html>s3cr3t", "answered 500"),
        (302, b"", "answered 302"),
        (201, b'{"access_token":"s3cr3t","token_type":"Bearer"}', "answered 201"),
        (200, b"s3cr3t", "is not a JSON object"),
        (200, b"[" * 100_000, "is not a JSON object"),
        (200, b"{}", "has no access_token"),
        (200, b'{"access_token":5}', "has no access_token"),
        (200, b'{"access_token":"","token_type":"Bearer"}', "has no access_token"),
        (200, b'{"access_token":"s3cr3t\\r\\nX-Evil: 1"}', "no header's value"),
        (200, b'{"access_token":"s3cr3t x"}', "no header's value"),
        (200, b'{"access_token":"%b"}' % (b"s" * (OAUTH2_TOKEN_BYTES_MAX + 1)), "no header's value"),
        (200, b'{"access_token":"s3cr3t","token_type":"mac"}', "token_type other than Bearer"),
        (200, b'{"access_token":"s3cr3t","token_type":7}', "token_type other than Bearer"),
    ],
)
def test_answers_without_a_token(status: int, body: bytes, detail: str) -> None:
    found = read_token(answer(status, body=body))
    assert isinstance(found, NoToken)
    assert found.detail.endswith(detail) or detail in found.detail
    assert "s3cr3t" not in found.detail


def test_an_answer_that_was_cut() -> None:
    cut = msgspec.structs.replace(answer(body=b'{"access_token":"s3cr3t"}'), truncated=True)
    assert isinstance(read_token(cut), NoToken)
