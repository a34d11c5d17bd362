# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk[fastapi,encryption]", "uvicorn"]
# ///
"""A receiver of a platform's events with FastAPI: the profile says how they are verified, opened and answered; handlers by
type, each event once.

    PROFILE=feishu KEYS='{"encrypt_key": "…", "verification_token": "…"}' uv run examples/receivers/profile_app.py

Handshakes come to the same URL, by whichever method the platform has. SETTINGS is JSON as KEYS is, where the profile has
settings.
"""

from __future__ import annotations

import json
import os
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response

from posthouse_sdk import ProfileReceiver, ReceivedEvent, VerificationError
from posthouse_sdk.receiving import MemoryReplayStore, Receiver, ignore
from posthouse_sdk.receiving.answers import refused

platform = ProfileReceiver(
    os.environ["PROFILE"], json.loads(os.environ["KEYS"]), settings=json.loads(os.environ.get("SETTINGS", "{}"))
)
receiver = Receiver(None, store=MemoryReplayStore(), fallback=ignore)


@receiver.on("order.*")
def changed(event: ReceivedEvent[Any]) -> None:
    print(f"{event.type}: {json.dumps(event.data, ensure_ascii=False)}", flush=True)


app = FastAPI()


@app.api_route("/hook", methods=["POST", "GET", "OPTIONS"])
async def hook(request: Request) -> Response:
    try:
        received = platform.receive(request.method, str(request.url), request.headers, await request.body())
    except VerificationError as error:
        answer = refused(error)
    else:
        answer = await receiver.arespond(received)
    return Response(answer.body, answer.status, dict(answer.headers))


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "9000")), log_level="warning")
