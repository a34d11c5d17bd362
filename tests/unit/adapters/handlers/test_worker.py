"""A handlers' process, without the process: what it answers to what it is asked, whatever the handlers do."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import posthouse
from posthouse import callbacks
from posthouse.adapters.handlers.speech import Asking, Broken, Called, Failed, Loaded, Who, decode_reply, encode
from posthouse.adapters.handlers.worker import load, reply_to
from posthouse.callbacks import Callback, on_callback
from posthouse.domain.action import Emit, Forward, Notify
from posthouse.domain.calling import (
    Call,
    CallData,
    CalledApp,
    CalledEndpoint,
    CalledEvent,
    CallFailed,
    Done,
    FailedBecause,
    KeptAnswer,
)
from posthouse.domain.limits import CALL_DETAIL_LENGTH_MAX

ANSWER = KeptAnswer(200, (("content-type", "application/json"), ("via", "a"), ("via", "b")), b'{"code": 0}')


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "registered", [])


def call_for(event_type: str = "order.created", *, response: KeptAnswer | None = ANSWER, **about: Any) -> Call:
    told: dict[str, Any] = {"outcome": "delivered", "reason": "confirmed", "kind": "live", "number": 2}
    return Call(
        id="eff_1",
        event=CalledEvent(
            id="evt_1", type=event_type, time=1_800_000_000.5, content_type="application/json", payload=b'{"id": 7}'
        ),
        app=CalledApp(id="app_1", uid="acme", name="Acme"),
        endpoint=CalledEndpoint(id="ep_1", url="https://example.com/", uid="crm", metadata={"tier": "gold"}),
        about=CallData(
            event="evt_1",
            attempt="att_1",
            url="https://example.com/a",
            started_at=1.0,
            response=response,
            **told | about,
        ),
    )


def ask(call: Call) -> Done | CallFailed:
    with asyncio.Runner() as runner:

        async def awaited(work: Any) -> Any:
            return await work

        reply = decode_reply(reply_to(encode(Asking(call)), None, lambda work: runner.run(awaited(work))))
    assert isinstance(reply, Called | Failed)
    return reply.done if isinstance(reply, Called) else reply.failed


def handled_by(handler: Callable[[Callback], Any], *patterns: str, **more: Any) -> Done | CallFailed:
    on_callback(*(patterns or ("*",)))(handler)
    return ask(call_for(**more))


def test_a_handler_is_given_everything_of_the_attempt() -> None:
    given: list[Callback] = []
    assert handled_by(given.append) == Done((), 1)
    (callback,) = given
    assert (callback.event.id, callback.event.type, callback.event.data) == ("evt_1", "order.created", {"id": 7})
    assert callback.event.time.isoformat() == "2027-01-15T08:00:00.500000+00:00"
    assert (callback.app.uid, callback.app.name, callback.endpoint.uid) == ("acme", "Acme", "crm")
    assert callback.endpoint.metadata == {"tier": "gold"}
    assert (callback.url, callback.attempt, callback.attempt_id) == ("https://example.com/a", 2, "att_1")
    assert (callback.outcome, callback.reason, callback.replay) == ("delivered", "confirmed", False)
    response = callback.response
    assert response is not None
    assert (response.status, response.headers["via"], response.json) == (200, "a, b", {"code": 0})


def test_without_an_answer_there_is_an_error() -> None:
    given: list[Callback] = []
    handled_by(given.append, response=None, outcome="gave_up", reason="connect_failed", error="refused", kind="replay")
    (callback,) = given
    assert (callback.response, callback.error, callback.outcome) == (None, "refused", "gave_up")
    assert callback.replay


def test_all_handlers_for_the_event_are_called_in_order_each_once_with_keys_of_their_own() -> None:
    called: list[tuple[str, str]] = []

    @on_callback("order.*")
    @on_callback("order.created", "*")
    def first(callback: Callback) -> posthouse.Action:
        called.append(("first", callback.idempotency_key))
        return Notify("1")

    @on_callback("order.shipped")
    def other(callback: Callback) -> None:
        called.append(("other", ""))

    @on_callback("*")
    async def second(callback: Callback) -> list[Notify]:
        await asyncio.sleep(0)
        called.append(("second", callback.idempotency_key))
        return [Notify("2"), Notify("3")]

    assert ask(call_for()) == Done((Notify("1"), Notify("2"), Notify("3")), 2)
    assert [name for name, _ in called] == ["first", "second"]
    keys = [key for _, key in called]
    assert len(set(keys)) == 2
    assert all(key.startswith("eff_1-") for key in keys)
    called.clear()
    ask(call_for())
    assert [key for _, key in called] == keys, "the same whenever it is called again"


def test_for_an_event_that_nobody_is_for_there_is_nothing_to_do() -> None:
    assert handled_by(lambda callback: Notify(), "user.*") == Done((), 0)


@pytest.mark.parametrize(
    ("response", "data"),
    [(ANSWER, {"code": 0}), (KeptAnswer(200, (), b"success"), "success"), (None, None)],
)
def test_data_that_is_left_out_is_the_answer(response: KeptAnswer | None, data: object) -> None:
    done = handled_by(lambda callback: [Emit("order.shipped"), Forward("crm")], response=response)
    assert done == Done((Emit("order.shipped", data), Forward("crm", data=data)), 1)


def test_what_python_has_and_json_has_not_is_written_as_json_has_it() -> None:

    done = handled_by(lambda callback: Emit("a.b", {"at": datetime(2026, 1, 2, tzinfo=UTC), "sum": Decimal("1.10")}))
    assert done == Done((Emit("a.b", {"at": "2026-01-02T00:00:00Z", "sum": "1.10"}),), 1)


def nested() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("answered", "told"),
    [
        (17, r"returned 17; return an action"),
        ([None], r"returned None, which is no action"),
        ({"then": "emit"}, r"return an action"),
        (Emit("no type"), r"\[0\].type: 'no type' is no name of an event type"),
        (Emit(17), r"Expected `str`, got `int`"),  # type: ignore[arg-type]
        (Emit("a.b", object()), r"Encoding objects of type object is unsupported"),
        (Emit("a.b", nested()), r"recursion"),
        (Emit("a.b", "x" * 2_000_000), r"at most 1048576 bytes"),
        ([Notify()] * 101, r"at most 100 actions"),
    ],
)
def test_what_is_no_action_fails_the_call_with_words(answered: Any, told: str) -> None:
    failed = handled_by(lambda callback: answered)
    assert isinstance(failed, CallFailed)
    assert failed.because is FailedBecause.BAD_ACTION

    assert re.search(told, failed.detail), failed.detail
    assert "test_worker" in failed.detail, "it names the handler"


def raising(error: BaseException) -> Callable[[Callback], None]:
    def handler(callback: Callback) -> None:
        raise error

    return handler


@pytest.mark.parametrize(
    "error", [ValueError("no such order"), SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError(), MemoryError()]
)
def test_whatever_is_raised_fails_the_call_and_ends_nothing(error: BaseException) -> None:
    failed = handled_by(raising(error))
    assert isinstance(failed, CallFailed)
    assert failed.because is FailedBecause.RAISED
    assert type(error).__name__ in failed.detail
    assert "raise error" in failed.detail, "where it was raised"
    assert "adapters/handlers/worker.py" not in failed.detail, "and nothing of ours"


def test_an_async_handler_that_raises_is_told_of_the_same_way() -> None:
    async def handler(callback: Callback) -> None:
        await asyncio.sleep(0)
        raise LookupError("not found")

    failed = handled_by(handler)
    assert isinstance(failed, CallFailed)
    assert failed.detail.endswith("LookupError: not found")


def test_a_long_story_is_cut_to_its_end() -> None:
    failed = handled_by(raising(ValueError("x" * 100_000 + " the end")))
    assert isinstance(failed, CallFailed)
    assert len(failed.detail) <= CALL_DETAIL_LENGTH_MAX + 1
    assert failed.detail.endswith("the end")


def test_an_event_that_is_no_json_though_it_says_so_comes_as_bytes() -> None:
    seen: list[object] = []
    on_callback("*")(lambda callback: seen.append(callback.event.data))
    call = call_for()

    done = ask(msgspec.structs.replace(call, event=msgspec.structs.replace(call.event, payload=b"{")))
    assert isinstance(done, Done)
    assert seen == [b"{"]


# Loading


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


HANDLER = "import posthouse\n@posthouse.on_callback('order.*', '*')\ndef f(callback): ...\n"


def test_modules_are_loaded_and_tell_their_patterns(folder: Path) -> None:
    (folder / "some_hooks.py").write_text(HANDLER)
    (folder / "more_hooks.py").write_text(HANDLER.replace("*", "x"))
    assert load(["some_hooks", "more_hooks"]) is None
    reply = decode_reply(reply_to(encode(Who()), None, lambda work: None))
    assert reply == Loaded(("order.*", "*", "order.x", "x"), ("some_hooks.f", "more_hooks.f"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "No module named 'some_hooks'"),
        ("import sys; sys.exit(1)", "SystemExit: 1"),
        ("1 +", "SyntaxError"),
        ("raise ValueError('not today')", "not today"),
        ("import posthouse", "declares no handler"),
        (HANDLER.replace("order.*", "no type"), "'no type' is no event type"),
    ],
)
def test_a_module_that_cannot_be_used_says_why(folder: Path, text: str | None, told: str) -> None:
    if text is not None:
        (folder / "some_hooks.py").write_text(text)
    broken = load(["some_hooks"])
    assert isinstance(broken, Broken)
    assert broken.detail.startswith("some_hooks ")
    assert told in broken.detail
    assert decode_reply(reply_to(encode(Who()), broken, lambda work: None)) == broken
