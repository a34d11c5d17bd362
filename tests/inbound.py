"""Requests of other systems to `/in/{source}` of a server under test, signed by our own sending side."""

from __future__ import annotations

import base64
import time
from typing import Any, Final
from urllib.parse import urlsplit

from tests.profiling import Sent, given_to, sent_by
from tests.serving import Reply, call, exchange

PUBLIC_URL: Final = "https://hooks.example"
UNSIGNED: Final = frozenset({"slack-incoming", "wecom-robot"})
"""Profiles of which nothing is verified."""


def settings_for(profile: str) -> dict[str, Any]:
    """The settings of a trigger that receives what `request_of` sends under this profile."""
    _, there, settings = given_to(profile)
    found: dict[str, Any] = {"profile": profile, "profile_settings": settings}
    if profile in UNSIGNED:
        return found | {"verify": False}
    names = {name for name in there if name != "secret"} or {"secret"}
    if "secret" in given_to(profile)[0] or names == {"secret"}:
        names.add("secret")
    return found | {"keys": {name: there[name] for name in names}}


def request_of(profile: str, source: str, **fields: Any) -> Sent:
    """What an endpoint of a profile sends to a source, signed now."""
    here, _, settings = given_to(profile)
    return sent_by(profile, here, settings, url=f"{PUBLIC_URL}/in/{source}", **{"now": time.time()} | fields)


async def send(port: int, sent: Sent, *, chunked: bool = False, **changed: Any) -> Reply:
    """Send it to the server at this port, whatever its URL says; `changed` are headers, with `_` for `-`."""
    parts = urlsplit(sent.url)
    ours = ("connection", "content-length", "host")
    headers = {name: value for name, value in sent.headers.items() if name.lower() not in ours}
    headers |= {"Host": parts.netloc, "Connection": "close", "Content-Length": str(len(sent.body))}
    headers |= {name.replace("_", "-"): value for name, value in changed.items()}
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    body = sent.body
    if chunked:
        headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
        headers["Transfer-Encoding"] = "chunked"
        half = len(body) // 2
        body = (
            b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part) + b"0\r\n\r\n"
        )
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return await exchange(port, f"{sent.method} {target} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + body)


async def trigger(port: int, uid: str, settings: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """An inbound trigger, whose events are of the type `order.paid` unless it is said."""
    body = {"kind": "inbound", "uid": uid, "type": "order.paid", "settings": settings} | fields
    made: dict[str, Any] = await call(port, "POST", "/v1/triggers", body)
    return made


async def events(port: int, app: str | None = None) -> list[dict[str, Any]]:
    """All events that there are, newest first."""
    path = "/v1/events?limit=200" if app is None else f"/v1/apps/{app}/events?limit=200"
    found: list[dict[str, Any]] = (await call(port, "GET", path))["data"]
    return found


def data_of(event: dict[str, Any]) -> Any:
    """What an event was published with: JSON, or bytes."""
    if event.get("data_base64") is not None:
        return base64.b64decode(event["data_base64"])
    return event["data"]
