# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk[flask]"]
# ///
"""A receiver with Flask: an ordinary view behind a gate, which lets each event in once.

WEBHOOK_SECRET=whsec_… uv run examples/receivers/flask_app.py       # http://127.0.0.1:9000/hook
"""

from __future__ import annotations

import os
from typing import Any

from flask import Flask

from posthouse_sdk.receiving import Gate, MemoryReplayStore, ReceivedEvent
from posthouse_sdk.receiving.flask import webhook

app = Flask(__name__)
gate = Gate(os.environ["WEBHOOK_SECRET"], store=MemoryReplayStore())


@app.post("/hook")
@webhook(gate)
def hook(event: ReceivedEvent[Any]) -> None:
    """What it raises, or any answer but 2xx, makes the event come again."""
    if event.type == "order.created":
        print(f"order {event.data['order']} was created", flush=True)
    else:
        print(f"order {event.data['order']}: {event.type}", flush=True)


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "9000")))
