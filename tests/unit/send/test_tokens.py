"""Tokens in memory: asked for once for all who wait, renewed ahead of their end, given up after a 401, and bounded."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable

import pytest
from tests.fakes import FakeClock, answer, failure, virtual_time

from posthouse.domain.authentication import OAuth2Auth
from posthouse.domain.exchange import Failure, Fault, Request, Result
from posthouse.send import tokens as tokens_module
from posthouse.send.tokens import AGAIN_SECONDS, FAILED_SECONDS, REFUSED_SECONDS, Tokens
from posthouse.wire.authentication import TokenGrant, compile_authentication


def grant(client_id: str = "posthouse") -> TokenGrant:
    auth = OAuth2Auth(token_url="https://login.example.com/token", client_id=client_id, key="k")
    made = compile_authentication(auth, {"k": ["s3cr3t"]}, app=b"a" * 16)
    assert isinstance(made, TokenGrant)
    return made


class TokenServer:
    """`ports.transport.Transport` to a token endpoint: tokens `t1`, `t2`, … Each answer takes `seconds`."""

    def __init__(self, *, expires_in: int = 1_000, seconds: float = 0.5) -> None:
        self.asked: list[float] = []
        self.expires_in = expires_in
        self.seconds = seconds
        self.instead: Result | Exception | None = None

    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        self.asked.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.seconds)
        if isinstance(self.instead, Exception):
            raise self.instead
        if self.instead is not None:
            return self.instead
        body = b'{"access_token":"t%d","token_type":"Bearer","expires_in":%d}'
        return answer(body=body % (len(self.asked), self.expires_in))

    async def close(self) -> None: ...


class Desk:
    def __init__(self, **options: float) -> None:
        self.server = TokenServer(**options)  # type: ignore[arg-type]
        self.tokens = Tokens(self.server, FakeClock())

    async def bearer(self, of: TokenGrant | None = None, *, seconds: float = 15.0) -> str:
        found = await self.tokens.bearer(of or grant(), seconds=seconds)
        assert isinstance(found, str), found
        return found

    async def fault(self, *, seconds: float = 15.0) -> tuple[Fault, str]:
        found = await self.tokens.bearer(grant(), seconds=seconds)
        assert isinstance(found, Failure), found
        return found.fault, found.detail


@virtual_time
async def test_one_request_for_all_who_wait() -> None:
    desk = Desk()
    assert set(await asyncio.gather(*(desk.bearer() for _ in range(50)))) == {"t1"}
    assert await desk.bearer() == "t1"
    assert len(desk.server.asked) == 1
    assert await desk.bearer(grant("another")) == "t2"


@virtual_time
async def test_a_token_is_renewed_ahead_of_its_end_while_it_is_still_used() -> None:
    desk = Desk(expires_in=1_000)
    await desk.bearer()
    await asyncio.sleep(938)
    assert await desk.bearer() == "t1"
    assert len(desk.server.asked) == 1
    await asyncio.sleep(2)
    assert [await desk.bearer() for _ in range(3)] == ["t1"] * 3, "nobody waits for the renewal"
    await asyncio.sleep(1)
    assert await desk.bearer() == "t2"
    assert desk.server.asked == [0.0, pytest.approx(940.5)]


@virtual_time
async def test_a_token_that_ended_is_not_used() -> None:
    desk = Desk(expires_in=10)
    await desk.bearer()
    await asyncio.sleep(8.4)
    assert await desk.bearer() == "t1"  # and the renewal begins
    desk.server.seconds = 5.0
    await asyncio.sleep(600)
    assert await desk.bearer() == "t3"


@virtual_time
async def test_a_renewal_that_fails_is_tried_again_while_the_token_holds() -> None:
    desk = Desk(expires_in=1_000)
    await desk.bearer()
    desk.server.instead = failure(Fault.CONNECT_FAILED)
    await asyncio.sleep(945)
    for _ in range(20):
        assert await desk.bearer() == "t1"
        await asyncio.sleep(1)
    asked = desk.server.asked[1:]
    assert 3 <= len(asked) <= 5
    assert all(later - earlier >= AGAIN_SECONDS for earlier, later in itertools.pairwise(asked))
    desk.server.instead = None
    await asyncio.sleep(AGAIN_SECONDS)
    await desk.bearer()
    await asyncio.sleep(1)
    assert await desk.bearer() != "t1"


@virtual_time
@pytest.mark.parametrize(
    ("result", "fault", "detail"),
    [
        (
            answer(400, body=b'{"error":"invalid_client"}'),
            Fault.OAUTH2_TOKEN_FAILED,
            "the token endpoint answered 400: invalid_client",
        ),
        (answer(200, body=b"<html>"), Fault.OAUTH2_TOKEN_FAILED, "the token endpoint's answer is not a JSON object"),
        (failure(Fault.CONNECT_FAILED), Fault.OAUTH2_TOKEN_FAILED, "the token endpoint gave no answer: refused"),
        (failure(Fault.FIRST_BYTE_TIMEOUT), Fault.OAUTH2_TOKEN_TIMEOUT, "the token endpoint gave no answer: refused"),
    ],
)
async def test_a_failure_answers_all_who_ask_for_a_moment(result: Result, fault: Fault, detail: str) -> None:
    desk = Desk()
    desk.server.instead = result
    assert set(await asyncio.gather(*(desk.fault() for _ in range(20)))) == {(fault, detail)}
    await asyncio.sleep(FAILED_SECONDS / 2)
    assert await desk.fault() == (fault, detail)
    assert len(desk.server.asked) == 1
    desk.server.instead = None
    await asyncio.sleep(FAILED_SECONDS)
    assert await desk.bearer() == "t2"


@virtual_time
async def test_who_waits_waits_no_longer_than_it_may_and_leaves_the_token_to_the_others() -> None:
    desk = Desk(seconds=4.0)
    patient = asyncio.create_task(desk.bearer())
    cancelled = asyncio.create_task(desk.bearer())
    assert await desk.fault(seconds=1.0) == (
        Fault.OAUTH2_TOKEN_TIMEOUT,
        "no token from the token endpoint within 1 s",
    )
    cancelled.cancel()
    assert await patient == "t1"
    assert len(desk.server.asked) == 1


@virtual_time
async def test_our_own_faults_are_raised_and_forgotten() -> None:
    desk = Desk()
    desk.server.instead = OSError(24, "too many open files")
    results = await asyncio.gather(*(desk.bearer() for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [OSError] * 3
    desk.server.instead = None
    assert await desk.bearer() == "t2"


@virtual_time
async def test_a_refused_token_is_given_up_once_for_all() -> None:
    desk = Desk()
    await desk.bearer()
    assert desk.tokens.refused(grant(), "t1")
    assert desk.tokens.refused(grant(), "t1"), "many were refused with the same token"
    assert set(await asyncio.gather(*(desk.bearer() for _ in range(20)))) == {"t2"}
    assert not desk.tokens.refused(grant(), "t2"), "a target that refuses whatever it is shown is not shown more"
    assert await desk.bearer() == "t2"
    await asyncio.sleep(REFUSED_SECONDS)
    assert desk.tokens.refused(grant(), "t2")
    assert await desk.bearer() == "t3"


@virtual_time
async def test_tokens_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "OAUTH2_TOKENS_MAX", 2)
    desk = Desk()
    for name in ("a", "b", "a", "c", "a", "b"):
        await desk.bearer(grant(name))
    assert len(desk.server.asked) == 4  # b made room for c
    assert len(desk.tokens._entries) == 2
