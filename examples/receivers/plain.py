# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk"]
# ///
"""A receiver on the standard library alone, whose events take effect exactly once.

    WEBHOOK_SECRET=whsec_… uv run examples/receivers/plain.py       # http://127.0.0.1:9000/

The work is a row in a database, and so is the confirmation: one transaction commits both, whatever dies in between.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from posthouse_sdk.receiving import ReceivedEvent, Receiver, ignore
from posthouse_sdk.receiving.stores.dbapi import DbApiReplayStore


def connect() -> sqlite3.Connection:
    return sqlite3.connect(os.environ.get("DATABASE", "orders.db"), timeout=30)


store = DbApiReplayStore(connect)
store.create_table()
with closing(connect()) as database:
    database.execute("CREATE TABLE IF NOT EXISTS orders (number text)")

receiver = Receiver(os.environ["WEBHOOK_SECRET"], store=store, fallback=ignore)


@receiver.on("order.created")
def created(event: ReceivedEvent[Any]) -> None:
    with closing(connect()) as database, database:  # commits, or rolls back
        database.execute("INSERT INTO orders VALUES (?)", [event.data["order"]])
        store.confirm_within(database, event)
    print(f"order {event.data['order']} was created", flush=True)


@receiver.on("order.*")
def changed(event: ReceivedEvent[Any]) -> None:
    print(f"order {event.data['order']}: {event.type}", flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > receiver.body_bytes_max:
            answer = receiver.too_large()
            self.close_connection = True
        else:
            answer = receiver.handle(self.rfile.read(length), self.headers)
        self.send_response(answer.status)
        for name, value in answer.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "9000"))), Handler).serve_forever()
