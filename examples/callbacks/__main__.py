"""`python -m examples.callbacks`: a server that calls the hooks of a small shop (hooks.py) with what its warehouse answers."""

from __future__ import annotations

import secrets
import sqlite3
import sys
import tempfile
import threading
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from examples.platform import POSTHOUSE, answers, ask, free_port, running, until


def target(content_type: str, answer: bytes) -> str:
    """A target URL that answers with this, always."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/"


def parcels(database: Path) -> list[tuple[int, str]]:
    connection = sqlite3.connect(database, timeout=30)
    try:
        return connection.execute("SELECT order_id, parcel FROM parcels").fetchall()
    except sqlite3.OperationalError:
        return []  # the hooks have not made it yet
    finally:
        connection.close()


def show(stack: ExitStack, folder: Path) -> None:
    key, port = "ph_example_" + secrets.token_hex(20), free_port()
    server, database = f"http://127.0.0.1:{port}", folder / "shop.db"
    serve = [*POSTHOUSE, "serve", "--dev", "--port", str(port), "--data-dir", str(folder / "data")]
    serve += ["--callbacks", "examples.callbacks.hooks"]
    stack.enter_context(running(serve, POSTHOUSE_ADMIN_KEY=key, SHOP_DATABASE=str(database)))
    until(lambda: answers(f"{server}/readyz"), "the server")

    warehouse = target("text/xml; charset=utf-8", b"<receipt><parcel>P-7</parcel></receipt>")
    carrier = target("application/json", b'{"collected": "tomorrow"}')
    for path, body in (
        ("event-types", {"name": "order.paid"}),
        ("event-types", {"name": "order.packed"}),
        ("apps", {"uid": "acme"}),
        ("apps/acme/endpoints", {"uid": "warehouse", "url": warehouse, "events": ["order.paid"]}),
        ("apps/acme/endpoints", {"uid": "carrier", "url": carrier, "events": ["order.packed"]}),
    ):
        status, told = ask("POST", f"{server}/v1/{path}", body, key)
        if status != 201:
            sys.exit(f"the server refused {path}: {told}")
    ask("POST", f"{server}/v1/apps/acme/events", {"type": "order.paid", "data": {"order": 42}}, key)

    def packed() -> list[dict[str, object]]:
        _, found = ask("GET", f"{server}/v1/apps/acme/attempts?type=order.packed", key=key)
        return [attempt for attempt in found["data"] if attempt["outcome"] == "delivered"]

    until(lambda: bool(packed()), "the event that the hooks ask for")
    until(
        lambda: ask("GET", f"{server}/v1/apps/acme/endpoints/warehouse", key=key)[1]["metadata"] != {}, "the metadata"
    )
    if parcels(database) != [(42, "P-7")] or len(packed()) != 1:
        sys.exit(f"not as it should be: {parcels(database)}, {packed()}")
    print("done: the warehouse's answer is in the shop's database, and the carrier heard of it", flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="posthouse-example-", dir="/tmp", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        with ExitStack() as everything:
            show(everything, Path(name))
