"""The listener around a WSGI application: Flask, Django, and every other (PEP 3333).

app.wsgi_app = WsgiListener(app.wsgi_app, listener)                # Flask
application = WsgiListener(get_wsgi_application(), listener)       # Django, and in general
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import TimeoutError as NotDoneError
from typing import Any

from posthouse_sdk.listening.listener import Listener
from posthouse_sdk.listening.observation import Finding, Head, Observation
from posthouse_sdk.listening.table import Match

Environ = dict[str, Any]
Headers = list[tuple[str, str]]
Write = Callable[[bytes], object]
StartResponse = Callable[..., Write]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


class WsgiListener:
    """Passes everything on as it is; a request that no rule can match costs a look at its method and path.

    Of one that a rule may match, what goes by is looked at, too: the bodies that rules need, and no others. Its answer is held
    back before its end, until the event is durable (`Listener.hold_seconds` at most). The listener starts with the first
    request (so in each worker, after `fork`), and ends as the process exits.
    """

    def __init__(self, app: App, listener: Listener) -> None:
        self.app = app
        self.listener = listener

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO") or "/"
        if not path.isascii():
            path = path.encode("latin-1", "replace").decode("utf-8", "replace")
        matches = self.listener.find(environ["REQUEST_METHOD"], path)
        if matches and (observation := self._observation(environ, path, matches)) is not None:
            return _Watched(self.listener, observation, start_response).run(self.app, environ)
        return self.app(environ, start_response)

    def _observation(self, environ: Environ, path: str, matches: Sequence[Match]) -> Observation | None:
        try:
            query = environ.get("QUERY_STRING") or ""
            head = Head(environ["REQUEST_METHOD"], path, query, _request_headers(environ))
        except Exception as error:  # noqa: BLE001 - told
            self.listener.broken(error)
            return None
        return self.listener.observe(head, matches)


class _Watched:
    """One request that a rule may match."""

    def __init__(self, listener: Listener, observation: Observation, start_response: StartResponse) -> None:
        self._listener = listener
        self._observation: Observation | None = observation
        self._start_response = start_response
        self._head: tuple[int, dict[str, str]] | None = None  # as long as nothing of the answer went out

    def run(self, app: App, environ: Environ) -> Iterable[bytes]:
        observation = self._observation
        if observation is not None and observation.wants_request and "wsgi.input" in environ:
            environ["wsgi.input"] = _Input(environ["wsgi.input"], observation, self.give_up)
        answer = app(environ, self._started)
        if isinstance(answer, list | tuple):  # all of it is there
            for data in answer:
                self.goes(data)
            self.ends()
            return answer
        if self._head is not None:
            self._begin()
        return answer if self._observation is None else _Answer(answer, self)

    def _started(self, status: str, headers: Headers, *rest: Any) -> Write:
        try:
            # Until something of the answer goes out, an application may still change its mind.
            self._head = (int(status.split(" ", 1)[0]), _joined(headers))
        except Exception as error:  # noqa: BLE001 - told
            self.give_up(error)
        write = self._start_response(status, headers, *rest)

        def written(data: bytes) -> object:
            self.goes(data)
            return write(data)

        return written

    # What the answer does

    def goes(self, data: bytes) -> None:
        """A piece of the answer is about to go out."""
        self._begin()
        if self._observation is not None:
            self._take(lambda observation: observation.answer(data))

    def ends(self) -> None:
        """All of it went out, but for the word that this is so."""
        self._begin()
        if self._observation is not None:
            self._take(lambda observation: observation.end())

    def breaks_off(self) -> None:
        """It is closed, whether all of it went out or not."""
        if self._observation is not None:
            self._take(lambda observation: observation.end(whole=False))

    def give_up(self, error: Exception) -> None:
        self._observation = None
        self._listener.broken(error)

    @property
    def is_over(self) -> bool:
        return self._observation is None

    def _begin(self) -> None:
        """Its head is about to go out."""
        head, self._head = self._head, None
        if head is None or self._observation is None:
            return
        status, headers = head
        self._take(lambda observation: observation.start(status, headers))

    def _take(self, step: Callable[[Observation], Iterable[Finding]]) -> None:
        """Go a step in the observation, which ends with it or goes on; and wait until what came of it is durable."""
        observation = self._observation
        assert observation is not None
        try:
            findings = step(observation)
            if observation.is_idle:
                self._observation = None
            durable = self._listener.take(findings)
            if durable is not None:
                try:
                    durable.result(self._listener.hold_seconds)
                except NotDoneError:
                    self._listener.late()
        except Exception as error:  # noqa: BLE001 - told
            self.give_up(error)


class _Answer:
    """What an application answered with, piece by piece."""

    def __init__(self, answer: Iterable[bytes], watched: _Watched) -> None:
        self._answer = answer
        self._pieces: Iterator[bytes] | None = None
        self._watched = watched

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._pieces is None:
            self._pieces = iter(self._answer)
        try:
            data = next(self._pieces)
        except StopIteration:
            if not self._watched.is_over:
                self._watched.ends()
            raise
        if not self._watched.is_over:
            self._watched.goes(data)
        return data

    def close(self) -> None:
        try:
            close = getattr(self._answer, "close", None)
            if close is not None:
                close()
        finally:
            self._watched.breaks_off()


class _Input:
    """A request's body: what the application reads of it, the observation sees."""

    def __init__(self, stream: Any, observation: Observation, give_up: Callable[[Exception], None]) -> None:
        self._stream = stream
        self._body = observation.request
        self._give_up = give_up
        length = observation.head.headers.get("content-length", "")
        self._left = int(length) if length.isascii() and length.isdigit() else None

    def read(self, size: int | None = -1, /) -> bytes:
        data: bytes = self._stream.read() if size is None else self._stream.read(size)
        self._see(data, at_end=size is None or size < 0 or (size > 0 and not data))
        return data

    def readline(self, size: int | None = -1, /) -> bytes:
        data: bytes = self._stream.readline() if size is None or size < 0 else self._stream.readline(size)
        self._see(data, at_end=size != 0 and not data)
        return data

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        lines: list[bytes] = self._stream.readlines() if hint is None or hint < 0 else self._stream.readlines(hint)
        self._see(b"".join(lines), at_end=hint is None or hint <= 0 or not lines)
        return lines

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._stream, name)
        if name == "read1":
            return self._read1
        return self._readinto if name in ("readinto", "readinto1") else found

    def _read1(self, size: int = -1, /) -> bytes:
        data: bytes = self._stream.read1(size)
        self._see(data, at_end=size != 0 and not data)
        return data

    def _readinto(self, buffer: Any, /) -> int | None:
        count: int | None = self._stream.readinto(buffer)
        self._see(bytes(memoryview(buffer)[: count or 0]), at_end=count == 0 and len(buffer) > 0)
        return count

    def _see(self, data: bytes, *, at_end: bool) -> None:
        if not self._body.keeps:
            return
        try:
            self._body.add(data)
            if self._left is not None:
                self._left -= len(data)
            self._body.ended = at_end or (self._left is not None and self._left <= 0)
        except Exception as error:  # noqa: BLE001 - told
            self._give_up(error)


def _request_headers(environ: Environ) -> dict[str, str]:
    found = {
        name[5:].replace("_", "-").lower(): value
        for name, value in environ.items()
        if name.startswith("HTTP_") and isinstance(value, str)
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            found[name.replace("_", "-").lower()] = environ[name]
    return found


def _joined(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in pairs:
        name = name.lower()
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
