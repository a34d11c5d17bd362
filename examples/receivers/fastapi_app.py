# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk[fastapi]", "uvicorn"]
# ///
"""A receiver with FastAPI: handlers by type, each event once.

    WEBHOOK_SECRET=whsec_… uv run examples/receivers/fastapi_app.py       # http://127.0.0.1:9000/hook

In a project that has the packages, `python` instead of `uv run` does as well. With several workers, take a store that they
share (`posthouse_sdk.receiving.stores`: Redis, or your database).
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import uvicorn
from fastapi import FastAPI

from posthouse_sdk.receiving import MemoryReplayStore, ReceivedEvent, Receiver, ignore
from posthouse_sdk.receiving.fastapi import route

receiver = Receiver(os.environ["WEBHOOK_SECRET"], store=MemoryReplayStore(), fallback=ignore)


@dataclass
class Order:
    order: str


@receiver.on("order.created", data=Order)
async def created(event: ReceivedEvent[Order]) -> None:
    print(f"order {event.data.order} was created", flush=True)


@receiver.on("order.*")
def changed(event: ReceivedEvent[dict[str, str]]) -> None:
    print(f"order {event.data['order']}: {event.type}", flush=True)


app = FastAPI()
app.add_api_route("/hook", route(receiver), methods=["POST"])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "9000")), log_level="warning")
