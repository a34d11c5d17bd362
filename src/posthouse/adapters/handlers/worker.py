"""The main of a handlers' process: it imports the modules that hold them, and calls them, one call at a time.

What a handler prints goes where the process's standard error goes, which is the server's log.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import os
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec
from msgspec import UNSET

from posthouse import callbacks
from posthouse.adapters.handlers.speech import (
    Asking,
    Broken,
    Called,
    Failed,
    Loaded,
    Reply,
    Who,
    decode_request,
    encode,
)
from posthouse.adapters.limited.serving import serve
from posthouse.callbacks import Callback, Handler, Response
from posthouse.domain.action import AnyAction, Emit, Forward, check_actions
from posthouse.domain.calling import Call, CallFailed, Done, FailedBecause, KeptAnswer
from posthouse.domain.delivery import DeliveryClass
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import CALL_DETAIL_LENGTH_MAX, CALL_FRAMES_MAX
from posthouse.domain.routing import matches_type

Run = Callable[[Awaitable[Any]], Any]
_OURS: Final = os.path.dirname(os.path.abspath(__file__))
_ACTIONS: Final = (*AnyAction.__args__,)


class _BadAction(Exception):
    """What a handler returned cannot be done."""


def prepare(modules: Sequence[str]) -> Callable[[bytes], bytes]:
    """Import the modules; what answers requests from then on."""
    # What whoever stops the server ends is the server: it lets us finish, and closes the connection.
    signal.signal(signal.SIGTERM, lambda *_: None)
    os.dup2(2, 1)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # a TextIOWrapper, as Python made it
    sys.path.insert(0, os.getcwd())
    broken = load(modules)
    # One loop for all calls: what a handler keeps between them (a client's connections) belongs to it.
    runner = asyncio.Runner()

    async def awaited(work: Awaitable[Any]) -> Any:
        return await work

    def answer(request: bytes) -> bytes:
        reply = reply_to(request, broken, lambda work: runner.run(awaited(work)))
        sys.stdout.flush()
        return reply

    return answer


def load(modules: Sequence[str]) -> Broken | None:
    """Import these; why they cannot be used, None where they can."""
    for name in modules:
        before = len(callbacks.registered)
        already = name in sys.modules
        try:
            importlib.import_module(name)
        except BaseException as error:  # noqa: BLE001 - whatever somebody's module does, it is told
            return Broken(f"{name} cannot be imported: {told_of(error)}")
        if len(callbacks.registered) == before and not already:
            return Broken(f"{name} declares no handler: decorate a function with @posthouse.on_callback(…)")
    return None


def reply_to(request: bytes, broken: Broken | None, run: Run) -> bytes:
    """The reply to a request. Never raises."""
    asked = decode_request(request)
    reply: Reply
    match asked:
        case _ if broken is not None:
            reply = broken
        case Who():
            patterns = dict.fromkeys(pattern for each, _ in callbacks.registered for pattern in each)
            reply = Loaded(tuple(patterns), tuple(name_of(handler) for _, handler in callbacks.registered))
        case Asking(call):
            return _called(call, run)
    return encode(reply)


def _called(call: Call, run: Run) -> bytes:
    try:
        actions, handlers = _actions_of(call, run)
        reply = encode(Called(Done(actions, handlers)))
    except _BadAction as error:
        return encode(Failed(CallFailed(FailedBecause.BAD_ACTION, str(error))))
    except BaseException as error:  # noqa: BLE001 - a handler may raise whatever it likes, and end neither us nor others
        return encode(Failed(CallFailed(FailedBecause.RAISED, told_of(error))))
    return reply


def _actions_of(call: Call, run: Run) -> tuple[tuple[AnyAction, ...], int]:
    """What all handlers for the event ask for, and how many they are."""
    handlers = list(_handlers(call.event.type))
    actions: list[AnyAction] = []
    for handler in handlers:
        callback = callback_of(call, handler)
        answered = handler(callback)
        if inspect.isawaitable(answered):
            answered = run(answered)
        asked = _listed(answered, handler)
        for action in asked:
            if not isinstance(action, _ACTIONS):
                raise _BadAction(f"{name_of(handler)} returned {_shown(action)}, which is no action")
        whole = [_completed(action, callback.response) for action in asked]
        try:
            # Strictly: what a struct was given when it was made was not looked at then.
            whole = list(msgspec.json.decode(encode(whole), type=tuple[AnyAction, ...]))
            check_actions(whole)
        except Invalid as error:
            raise _BadAction(f"{name_of(handler)}: {error.path}{': ' if error.path else ''}{error}") from error
        except (msgspec.MsgspecError, TypeError, ValueError, RecursionError) as error:
            raise _BadAction(f"{name_of(handler)}: {_cut(str(error))}") from error
        actions += whole
    try:
        check_actions(actions)
    except Invalid as error:
        raise _BadAction(f"{len(handlers)} handlers together: {error}") from error
    return tuple(actions), len(handlers)


def _handlers(event_type: str) -> Iterator[Handler]:
    """Those whose patterns match, each once."""
    seen: set[int] = set()
    for patterns, handler in callbacks.registered:
        if id(handler) not in seen and matches_type(patterns, event_type):
            seen.add(id(handler))
            yield handler


def _listed(answered: Any, handler: Handler) -> Sequence[Any]:
    if answered is None:
        return ()
    if isinstance(answered, (list, tuple)):
        return answered
    if isinstance(answered, _ACTIONS):
        return (answered,)
    raise _BadAction(f"{name_of(handler)} returned {_shown(answered)}; return an action, a list of them, or None")


def _completed(action: AnyAction, response: Response | None) -> AnyAction:
    """With the answer's body, where the handler left the data out."""
    if isinstance(action, (Emit, Forward)) and action.data is UNSET:
        data = None if response is None else (response.text if response.json is None else response.json)
        return msgspec.structs.replace(action, data=data)
    return action


def callback_of(call: Call, handler: Handler) -> Callback:
    """What the handler is given."""
    event, about = call.event, call.about
    return Callback(
        event=callbacks.Event(
            id=event.id,
            type=event.type,
            time=callbacks.time_of(event.time),
            data=callbacks.event_data(event.payload, event.content_type),
            subject=event.subject,
            key=event.key,
            content_type=event.content_type,
        ),
        app=callbacks.App(id=call.app.id, uid=call.app.uid, name=call.app.name),
        endpoint=callbacks.Endpoint(
            id=call.endpoint.id,
            url=call.endpoint.url,
            uid=call.endpoint.uid,
            description=call.endpoint.description,
            metadata=call.endpoint.metadata,
        ),
        idempotency_key=f"{call.id}-{sha256(name_of(handler).encode()).hexdigest()[:12]}",
        attempt=about.number,
        attempt_id=about.attempt,
        outcome=about.outcome,
        reason=about.reason,
        url=about.url,
        replay=about.kind == DeliveryClass.REPLAY.value,
        response=None if about.response is None else _response(about.response),
        error=about.error,
    )


def _response(kept: KeptAnswer) -> Response:
    headers: dict[str, str] = {}
    for name, value in kept.headers:
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Response(status=kept.status, headers=headers, body=kept.body, truncated=kept.truncated)


def name_of(handler: Handler) -> str:
    """`mypkg.hooks.shipped`."""
    module = getattr(handler, "__module__", "?")
    return f"{module}.{getattr(handler, '__qualname__', type(handler).__qualname__)}"


def told_of(error: BaseException) -> str:
    """An exception with the last frames that are not ours: the end of it, where it is long."""
    told = traceback.TracebackException.from_exception(error)
    for each in _with_causes(told):
        frames = [frame for frame in each.stack if not _is_ours(frame.filename)]
        each.stack = traceback.StackSummary.from_list(frames[-CALL_FRAMES_MAX:])
    return _cut("".join(told.format()).strip())


def _with_causes(told: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    each: traceback.TracebackException | None = told
    while each is not None:
        yield each
        each = each.__cause__ or each.__context__


def _is_ours(filename: str) -> bool:
    return filename.startswith((_OURS, "<frozen importlib")) or filename == importlib.__file__


def _cut(text: str) -> str:
    text = text.replace("\0", " ")
    return text if len(text) <= CALL_DETAIL_LENGTH_MAX else f"…{text[-CALL_DETAIL_LENGTH_MAX:]}"


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except Exception:  # noqa: BLE001 - the object is somebody's own
        return f"something of {type(value).__name__}"


if __name__ == "__main__":
    serve(prepare)
