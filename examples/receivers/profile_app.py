# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk[fastapi,encryption]", "uvicorn"]
# ///
"""A receiver of a platform's events with FastAPI: the profile says how they are verified, opened and answered.

    PROFILE=feishu KEYS='{"encrypt_key": "…", "verification_token": "…"}' uv run examples/receivers/profile_app.py

Handshakes come to the same URL, by whichever method the platform has. SETTINGS is JSON as KEYS is, where the profile has
settings.
"""

from __future__ import annotations

import json
import os
import secrets

import uvicorn
from fastapi import FastAPI, Request, Response

from posthouse_sdk import ProfileReceiver, VerificationError
from posthouse_sdk.receiving import Claim, MemoryReplayStore
from posthouse_sdk.receiving.answers import refused

receiver = ProfileReceiver(
    os.environ["PROFILE"], json.loads(os.environ["KEYS"]), settings=json.loads(os.environ.get("SETTINGS", "{}"))
)
store = MemoryReplayStore()
app = FastAPI()


@app.api_route("/hook", methods=["POST", "GET", "OPTIONS"])
async def hook(request: Request) -> Response:
    try:
        received = receiver.receive(request.method, str(request.url), request.headers, await request.body())
    except VerificationError as error:
        answer = refused(error)
        return Response(answer.body, answer.status, dict(answer.headers))
    event = received.event
    if event is not None:
        token = secrets.token_hex(16)
        match store.claim(event.id, token):
            case Claim.GRANTED:
                print(f"{event.type}: {json.dumps(event.data, ensure_ascii=False)}", flush=True)
                store.confirm(event.id, token)
            case Claim.HELD:
                return Response(status_code=409)
            case Claim.CONFIRMED:
                pass  # it came again, and is confirmed again
    return Response(received.body, received.status, dict(received.headers))


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "9000")), log_level="warning")
