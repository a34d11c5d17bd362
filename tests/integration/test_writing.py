"""Requests that take long to be written, end to end: a server that has others do it, and goes on meanwhile."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl

import pytest
from tests.serving import ask, call, listed, serving
from tests.targets import OK, Peer, target

from posthouse.domain.limits import TAKEN_APART_AT_ONCE_BYTES_MAX
from posthouse.wire.formats.form_body import FormMaker

APP = "/v1/apps/acme"
LARGE = {"items": ["x"] * (TAKEN_APART_AT_ONCE_BYTES_MAX // 4 + 1)}
SMALL = {"items": ["x"] * 10}


async def written_elsewhere(port: int) -> int:
    metrics = (await ask(port, "GET", "/metrics")).body.decode()
    (calls,) = re.findall(r"^posthouse_writing_calls_total (\S+)$", metrics, re.MULTILINE)
    return int(float(calls))


async def test_a_large_form_is_not_written_by_the_process_that_serves(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here: list[int] = []
    write = FormMaker.write

    def noted(self: FormMaker, event: Any, message: Any) -> None:
        here.append(len(event.payload))
        write(self, event, message)

    monkeypatch.setattr(FormMaker, "write", noted)

    async def script(peer: Peer) -> None:
        while True:
            await peer.request()
            await peer.send(OK)

    async with serving(database, auto_create_event_types=True) as server, target(script) as served:
        port = server.port
        await call(port, "POST", "/v1/apps", {"uid": "acme"})
        fields = {"uid": "main", "url": f"http://127.0.0.1:{served.port}/", "format": "form", "events": ["a.*"]}
        await call(port, "POST", f"{APP}/endpoints", fields)
        for count, data in enumerate((SMALL, LARGE)):
            event = await call(port, "POST", f"{APP}/events", {"type": "a.b", "data": data})
            path = f"{APP}/events/{event['id']}/attempts"
            (found,) = await listed(port, path, lambda rows: len(rows) == 1, "its attempt")
            assert found["outcome"] == "delivered"
            assert await written_elsewhere(port) == count
            # Looked at, it is made again: once to be shown, and twice to find what was signed.
            shown = await call(port, "GET", f"{APP}/attempts/{found['id']}")
            assert await written_elsewhere(port) == 4 * count
            sent = dict(parse_qsl(shown["request"]["body"]))
            assert sent[f"data[items][{len(data['items']) - 1}]"] == "x"
        assert max(here) < 1_000
        made = await call(port, "POST", f"{APP}/endpoints/main/preview", {"type": "a.b", "data": LARGE})
        assert len(made["request"]["body"]) > len(LARGE["items"])
        await call(port, "POST", f"{APP}/endpoints/main/test", {"type": "a.b", "data": LARGE})
        assert await written_elsewhere(port) == 8
        assert max(here) < 1_000
