"""What the examples of platforms share: a Posthouse server, a third party that listens, and the platform with its relay.

Everything is started in a temporary folder, used once, shown, and ended.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from posthouse_sdk import Webhook

PATIENCE_SECONDS: Final = 60.0
POSTHOUSE: Final = (sys.executable, "-m", "posthouse.cli.main")


def ask(method: str, url: str, body: object = None, key: str | None = None) -> tuple[int, Any]:
    """One request of JSON: status and answer."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:
            status, told = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        status, told = error.code, error.read()
    return status, json.loads(told) if told else None


def until(fact: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        time.sleep(0.05)


class ThirdParty:
    """A target URL that keeps what it verified."""

    def __init__(self) -> None:
        self.secret = "whsec_" + secrets.token_hex(16) + "="
        self.events: list[dict[str, Any]] = []
        webhook, events = Webhook(self.secret), self.events

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                events.append(webhook.verify(body, dict(self.headers.items())))
                print("the third party hears of", json.dumps(events[-1], ensure_ascii=False), flush=True)
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def running(command: Sequence[str], **environment: str) -> Iterator[None]:
    process = subprocess.Popen(command, env=os.environ | environment)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    try:
        return ask("GET", url)[0] < 500
    except OSError:
        return False
    except ValueError:
        return True  # a page of HTML


def show(platform: Callable[[Path, int], tuple[Sequence[str], Sequence[str], dict[str, str]]]) -> None:
    """Start everything, register a user twice, create two orders, and wait until the third party heard of them.

    `platform` says, for a folder and a port, how the platform is started, how its relay is, and with which environment.
    """
    with tempfile.TemporaryDirectory(prefix="posthouse-example-", dir="/tmp", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        with ExitStack() as stack:
            _show(stack, folder, platform)


def _show(
    stack: ExitStack,
    folder: Path,
    platform: Callable[[Path, int], tuple[Sequence[str], Sequence[str], dict[str, str]]],
) -> None:
    key = "ph_example_" + secrets.token_hex(20)
    port, shop_port = free_port(), free_port()
    server, shop = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{shop_port}"
    serve = [*POSTHOUSE, "serve", "--dev", "--port", str(port), "--data-dir", str(folder / "data")]
    stack.enter_context(running(serve, POSTHOUSE_ADMIN_KEY=key, POSTHOUSE_LOG_LEVEL="warning"))
    command, relay, environment = platform(folder, shop_port)
    stack.enter_context(running(command, **environment))
    until(lambda: answers(f"{server}/readyz"), "the server")
    until(lambda: answers(f"{shop}/"), "the shop")

    party = ThirdParty()
    for path, body in (
        ("event-types", {"name": "user_register"}),
        ("event-types", {"name": "order_create"}),
        ("apps", {"uid": "acme"}),
        ("apps/acme/grants", {"types": ["*"], "subjects": ["*"]}),
        ("apps/acme/endpoints", {"url": party.url, "ordering": "key", "secret": party.secret}),
    ):
        status, told = ask("POST", f"{server}/v1/{path}", body, key)
        if status != 201:
            sys.exit(f"the server refused {path}: {told}")
    status, made = ask("POST", f"{server}/v1/keys", {"name": "relay", "scope": "publish"}, key)
    if status != 201:
        sys.exit(f"the server refused a key: {made}")
    reach = {"POSTHOUSE_URL": server, "POSTHOUSE_API_KEY": made["key"]}
    stack.enter_context(running(relay, **environment, **reach))

    print("registered:", ask("POST", f"{shop}/users", {"name": "li"}), flush=True)
    print("refused, and rolled back:", ask("POST", f"{shop}/users", {"name": "li"}), flush=True)
    for amount in (100, 250):
        print("ordered:", ask("POST", f"{shop}/orders", {"shop": 42, "amount_cents": amount}), flush=True)
    until(lambda: len(party.events) >= 3, "three events")
    if len(party.events) != 3:
        sys.exit("it heard of what was rolled back, too")
    print("done: three events, and none of what was rolled back", flush=True)
