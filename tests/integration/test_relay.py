"""`posthouse listen --forward-to`, as a person runs it: the server goes and comes back, and nothing is missing."""

from __future__ import annotations

import json
import signal
import socket
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.commands import PATIENCE_SECONDS, Running, run, running
from tests.postgres import end_server, open_folder

from posthouse_sdk import Webhook

KEY = "ph_test_" + "r" * 40
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


class LocalTarget:
    """A third party's program on this machine. `statuses` are its next answers; then 200."""

    def __init__(self) -> None:
        self.arrived: list[tuple[str, dict[str, str], bytes]] = []
        self.statuses: list[int] = []
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                target.arrived.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(target.statuses.pop(0) if target.statuses else 200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hooks?from=relay"

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.arrived]


@pytest.fixture
def target() -> Iterator[LocalTarget]:
    made = LocalTarget()
    thread = threading.Thread(target=made.server.serve_forever)
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def serve(folder: Path, port: int) -> Any:
    words = ("serve", "--port", str(port), "--data-dir", str(folder / "data"), "--dev", "--auto-create-event-types")
    return running(*words, POSTHOUSE_ADMIN_KEY=KEY)


def ask(url: str, path: str, body: object) -> Any:
    request = urllib.request.Request(
        url + path, json.dumps(body).encode(), {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def publish(url: str, app: str, data: object, *, type: str = "order.created") -> str:
    event_id: str = ask(url, f"/v1/apps/{app}/events", {"type": type, "data": data})["id"]
    return event_id


def relayed(relay: Running, event_id: str) -> dict[str, Any]:
    """The line of an event."""
    found: dict[str, Any] = json.loads(relay.until(rf'(\{{"id": "{event_id}".*\}})\n')[1])
    return found


def test_nothing_is_missing_at_the_target_when_the_server_is_killed(folder: Path, target: LocalTarget) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    reach = {"POSTHOUSE_URL": url, "POSTHOUSE_KEY": KEY}
    with running("listen", "--forward-to", target.url, "--secret", SECRET, **reach) as relay:
        relay.until(r"reconnecting in \d+\.\d s \(no server there")
        with serve(folder, port) as server:
            server.until("listens on")
            relay.until(r"\nconnected\n")
            ask(url, "/v1/apps", {"uid": "shop"})
            sent = [publish(url, "shop", n) for n in range(20)]
            relayed(relay, sent[-1])
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(PATIENCE_SECONDS)
        end_server(folder / "data")
        relay.until(r"reconnecting in \d+\.\d s \((?!no server there)")
        with serve(folder, port) as server:
            server.until("listens on")
            sent += [publish(url, "shop", n) for n in range(20, 40)]
            relay.until("connected, and going on where it was")
            told = relayed(relay, sent[-1])
            relay.process.send_signal(signal.SIGINT)
            assert relay.process.wait(PATIENCE_SECONDS) == 0
    assert target.ids == sent, "in order, and each once"
    assert told.keys() == {"id", "type", "app", "status", "duration_ms", "error"}
    assert (told["type"], told["status"], told["error"]) == ("order.created", 200, None)
    for number, (path, headers, body) in enumerate(target.arrived):
        assert path == "/hooks?from=relay"
        assert headers["content-type"] == "application/json"
        found = Webhook(SECRET).verify(body, headers)
        assert found["data"] == number
        assert found["type"] == "order.created"


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    with serve(folder, 0) as server:
        url: str = server.until(r"listens on (http://\S+);")[1]
        for app in ("shop", "other"):
            ask(url, "/v1/apps", {"uid": app})
        yield url


def test_a_target_that_fails_is_shown_and_does_not_end_the_relay(served: str, target: LocalTarget) -> None:
    reach = {"POSTHOUSE_URL": served, "POSTHOUSE_KEY": KEY}
    with running("listen", "--forward-to", target.url, "--app", "shop", "--types", "order.*", **reach) as relay:
        relay.until(r"\nconnected\n")
        secret = relay.until(r"signed with (whsec_\S+)")[1]
        publish(served, "other", 0)
        publish(served, "shop", 0, type="user_register")
        target.statuses = [500]
        first, second = publish(served, "shop", 1), publish(served, "shop", 2)
        assert relayed(relay, first)["status"] == 500
        assert relayed(relay, second)["status"] == 200
        assert target.ids == [first, second]
        for _, headers, body in target.arrived:
            Webhook(secret).verify(body, headers)
        target.server.socket.close()
        third = publish(served, "shop", 3)
        told = relayed(relay, third)
        assert told["status"] is None
        assert told["error"]
        relay.process.send_signal(signal.SIGTERM)
        assert relay.process.wait(PATIENCE_SECONDS) == 0
        relay.until("1 delivered, 2 not")


def test_retry_sends_an_event_again(served: str, target: LocalTarget) -> None:
    reach = {"POSTHOUSE_URL": served, "POSTHOUSE_KEY": KEY}
    with running("listen", "--forward-to", target.url, "--retry", "2", **reach) as relay:
        relay.until(r"\nconnected\n")
        target.statuses = [503, 404]
        sent = publish(served, "shop", 1)
        relay.until(r'"status": 503(.|\n)*"status": 404(.|\n)*"status": 200')
    assert target.ids == [sent] * 3


def test_what_is_refused_ends_it_with_its_exit_code(served: str, target: LocalTarget) -> None:
    forward = ("listen", "--forward-to", target.url)
    reach = {"POSTHOUSE_URL": served, "POSTHOUSE_KEY": KEY}
    assert run(*forward, POSTHOUSE_URL=served).returncode == 3
    refused = run(*forward, "--key", "ph_wrong", POSTHOUSE_URL=served)
    assert refused.returncode == 3
    assert "not known" in refused.stderr
    unknown = run(*forward, "--app", "nobody", **reach)
    assert unknown.returncode == 4
    assert "nobody" in unknown.stderr
    assert run(*forward, "--types", "a b", **reach).returncode == 2
    assert run("listen", "--forward-to", "nowhere:x", **reach).returncode == 2
    assert run(*forward, "--secret", "short", **reach).returncode == 2
    assert run("listen", "--app", "shop", **reach).returncode == 2
