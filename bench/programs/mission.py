"""The program that a webhook platform begins with: one `requests.post` an event, one after the other.

This is what Posthouse is compared to. It signs each body, waits for each answer and goes on. It keeps no event, tries
nothing again, and a target that takes a second makes everyone wait for a second.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, Final, NamedTuple

SECRET: Final = b"a secret of thirty-two characters"
TIMEOUT_SECONDS: Final = 10


class MissionLoad(NamedTuple):
    """So many events to a target; over one kept connection (a session), or over a new one for each, as `requests.post` does."""

    url: str
    run: int
    events: int
    session: bool


def deliver(post: Callable[..., Any], url: str, event: dict[str, Any]) -> None:
    """Sign an event and bring it to its target."""
    body = json.dumps(event, separators=(",", ":")).encode()
    signature = hmac.new(SECRET, body, hashlib.sha256).hexdigest()
    headers = {"Content-Type": "application/json", "X-Signature": signature}
    post(url, data=body, headers=headers, timeout=TIMEOUT_SECONDS).raise_for_status()


def run(pipe: Connection) -> None:
    """Run each load that comes, and answer when it began and ended (unix seconds), and what it cost (seconds of CPU)."""
    import requests

    os.environ["NO_PROXY"] = "127.0.0.1"
    while (load := pipe.recv()) is not None:
        post = requests.Session().post if load.session else requests.post
        filler = "x" * 276
        started, cpu = time.time(), time.process_time()
        for number in range(load.events):
            data = {"n": f"{load.run:04d}{number:08d}", "t": f"{time.time_ns():019d}", "f": filler}
            deliver(post, load.url, {"type": "bench.event", "data": data})
        pipe.send((started, time.time(), time.process_time() - cpu))
