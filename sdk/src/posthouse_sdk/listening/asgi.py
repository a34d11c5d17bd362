"""The listener around an ASGI application: FastAPI, Starlette, Django, and every other.

app.add_middleware(AsgiListener, listener=listener)                # FastAPI, Starlette
application = AsgiListener(get_asgi_application(), listener)       # Django, and in general
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping, Sequence
from typing import Any

from posthouse_sdk.listening.listener import Listener
from posthouse_sdk.listening.observation import Finding, Head, Observation
from posthouse_sdk.listening.sink import Durable
from posthouse_sdk.listening.table import Match

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


class AsgiListener:
    """Passes everything on as it is; a request that no rule can match costs a look at its method and path.

    Of one that a rule may match, what goes by is looked at, too: the bodies that rules need, and no others. Its answer is held
    back before its end until the event is durable, for `Listener.hold_seconds` at most; on loops that are not asyncio's, never.

    With the server's lifespan the listener starts, and ends after the application; without, it starts with the first request
    (so in each worker, after `fork`) and ends as the process exits.
    """

    def __init__(self, app: App, listener: Listener) -> None:
        self.app = app
        self.listener = listener

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path = scope["path"]
            if root := scope.get("root_path"):
                path = _within(path, root)
            matches = self.listener.find(scope["method"], path)
            if matches and (observation := self._observation(scope, path, matches)) is not None:
                await _Watched(self.listener, observation, send).run(self.app, scope, receive)
                return
        elif scope["type"] == "lifespan":
            send = self._lifespan(send)
        await self.app(scope, receive, send)

    def _observation(self, scope: Scope, path: str, matches: Sequence[Match]) -> Observation | None:
        try:
            query = bytes(scope.get("query_string") or b"").decode("latin-1")
            head = Head(scope["method"], path, query, _headers(scope["headers"]))
        except Exception as error:  # noqa: BLE001 - told
            self.listener.broken(error)
            return None
        return self.listener.observe(head, matches)

    def _lifespan(self, send: Send) -> Send:
        async def told(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":
                self.listener.start()
            elif message["type"] in ("lifespan.shutdown.complete", "lifespan.shutdown.failed"):
                try:
                    await asyncio.to_thread(self.listener.close)
                except Exception as error:  # noqa: BLE001 - told
                    self.listener.broken(error)
            await send(message)

        return told


class _Watched:
    """One request that a rule may match."""

    def __init__(self, listener: Listener, observation: Observation, send: Send) -> None:
        self._listener = listener
        self._observation: Observation | None = observation
        self._send = send

    async def run(self, app: App, scope: Scope, receive: Receive) -> None:
        observation = self._observation
        if observation is not None and observation.wants_request:
            receive = self._seen(receive, observation)
        try:
            await app(scope, receive, self._sent)
        finally:
            if self._observation is not None:
                self._take(lambda observation: observation.end(whole=False))

    def _seen(self, receive: Receive, observation: Observation) -> Receive:
        body = observation.request

        async def seen() -> Message:
            message = await receive()
            if body.keeps and message["type"] == "http.request":
                try:
                    body.add(message.get("body") or b"")
                    body.ended = not message.get("more_body", False)
                except Exception as error:  # noqa: BLE001 - told
                    self._give_up(error)
            return message

        return seen

    async def _sent(self, message: Message) -> None:
        if self._observation is not None:
            durable = self._take(lambda observation: _observed(observation, message))
            if durable is not None and not durable.done():
                await self._held(durable)
        await self._send(message)

    def _take(self, step: Callable[[Observation], Iterable[Finding]]) -> Durable | None:
        """Go a step in the observation, which ends with it or goes on. What is to be waited for, if anything is."""
        observation = self._observation
        assert observation is not None
        try:
            findings = step(observation)
            if observation.is_idle:
                self._observation = None
            return self._listener.take(findings)
        except Exception as error:  # noqa: BLE001 - told
            self._give_up(error)
            return None

    def _give_up(self, error: Exception) -> None:
        self._observation = None
        self._listener.broken(error)

    async def _held(self, durable: Durable) -> None:
        try:
            waiting = asyncio.wrap_future(durable)
        except RuntimeError:  # another kind of loop
            self._listener.late()
            return
        done, _ = await asyncio.wait([waiting], timeout=self._listener.hold_seconds)
        if not done:
            self._listener.late()


def _within(path: str, root: str) -> str:
    """The path within an application that is mounted at `root`; servers and frameworks leave the root in it, or do not."""
    rest = path[len(root) :]
    return (rest or "/") if path.startswith(root) and (not rest or rest.startswith("/")) else path


def _observed(observation: Observation, message: Message) -> Iterable[Finding]:
    """What a message of the answer, which is about to go out, tells."""
    match message["type"]:
        case "http.response.start":
            return observation.start(message["status"], _headers(message.get("headers") or ()))
        case "http.response.body":
            findings = observation.answer(message.get("body") or b"")
            return findings if message.get("more_body") else [*findings, *observation.end()]
        case "http.response.pathsend" | "http.response.zerocopysend":
            return observation.end(whole=False)  # a file, which does not come by here
        case _:
            return ()


def _headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
