"""The live stream of a server, followed: what the connection cuts off is taken up again where it was."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from posthouse.cli.client import Client, NotOurs
from posthouse.cli.output import note
from posthouse.cli.sse import Block, Reader
from posthouse.domain.errors import Invalid, Overloaded, PosthouseError, StoreUnavailable

SILENCE_SECONDS_MAX: Final = 45.0  # the server sends something every 15 seconds
BACKOFF_SECONDS: Final = 0.5
BACKOFF_SECONDS_MAX: Final = 30.0


class Backoff:
    """How long to wait: from half a second, doubled each time up to half a minute; of which between a half and all."""

    def __init__(self, draw: Callable[[], float]) -> None:
        self._draw = draw
        self._failures = 0

    def next(self) -> float:
        most = min(BACKOFF_SECONDS * 2.0 ** min(self._failures, 10), BACKOFF_SECONDS_MAX)
        self._failures += 1
        return max(most * (0.5 + self._draw() / 2), BACKOFF_SECONDS)

    def reset(self) -> None:
        self._failures = 0


class Follower:
    """Follows the stream, and hands each of its messages to `take` until it is interrupted. `lost` says, of what came while
    nothing could be heard, what does not happen to it.

    Raises what the server refuses for good: Unauthorised, Forbidden, NotFound, Invalid; and NotOurs where no server of ours
    was ever there. One that cannot be reached is tried again for ever.
    """

    def __init__(self, client: Client, query: Mapping[str, str], take: Callable[[Block], None], *, lost: str) -> None:
        self._client = client
        self._query = dict(query)
        self._take = take
        self._lost = lost
        self._backoff = Backoff(random.random)
        self._last_id: str | None = None

    def run(self) -> None:
        while True:
            note(f"connecting to {self._client.url}")
            least = 0.0
            try:
                self._follow()
                why = "the server ended the stream"
            except (StoreUnavailable, Overloaded) as error:
                if isinstance(error, NotOurs) and self._last_id is None:
                    raise
                why = str(error)
                least = 1.0 if isinstance(error, Overloaded) else 0.0
            except BrokenPipeError:
                raise  # whoever read our lines is gone
            except (OSError, http.client.HTTPException) as error:
                why = why_of(error)
            except Invalid as error:
                if self._last_id is None:
                    raise
                note(f"cannot go on where it was: {error}")
                note(f"beginning anew: what came in between {self._lost}")
                self._last_id = None
                continue
            except PosthouseError as error:
                if type(error) is not PosthouseError:
                    raise
                why = str(error)  # the server's own fault
            wait = max(self._backoff.next(), least)
            note(f"reconnecting in {wait:.1f} s ({why})")
            time.sleep(wait)

    def _follow(self) -> None:
        """One connection, to its end."""
        headers = {} if self._last_id is None else {"Last-Event-ID": self._last_id}
        with self._client.stream("stream", query=self._query, headers=headers, seconds=SILENCE_SECONDS_MAX) as answer:
            note("connected" if self._last_id is None else "connected, and going on where it was")
            for block in _blocks(answer):
                self._backoff.reset()
                if block.event == "problem" and block.data is not None:
                    raise Invalid(str(json.loads(block.data).get("detail", "the stream cannot go on")))
                if block.data is not None:
                    self._take(block)
                if block.id is not None:
                    # Only now: what was told up to here has been taken.
                    self._last_id = block.id


def why_of(error: Exception) -> str:
    """Why there was no answer, in a few words."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return f"the connection broke off ({type(error).__name__})"


def _blocks(answer: http.client.HTTPResponse) -> Iterator[Block]:
    reader = Reader()
    while data := answer.read1(65536):
        yield from reader.feed(data)
