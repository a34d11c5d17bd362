"""`posthouse listen`: a local target that verifies and prints what arrives."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import suppress
from typing import Annotated

from cyclopts import Parameter

from posthouse.cli.output import note
from posthouse.cli.receiver import Arrival, Receiver, Served


def listen(
    *,
    port: int = 9000,
    host: str = "127.0.0.1",
    secret: Annotated[list[str] | None, Parameter(negative="")] = None,
    status: int = 200,
    json_output: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Listen as a third party would, and print each request that arrives.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    host
        The address to listen on.
    secret
        The endpoint's secret (whsec_… or whpk_…), to verify with; may be given several times.
    status
        The status to answer with.
    json_output
        A line of JSON a request, even on a terminal.
    """
    as_json = json_output or not sys.stdout.isatty()

    def answer(arrival: Arrival) -> int:
        print(_line(arrival) if as_json else _told(arrival), flush=True)
        return status

    with suppress(KeyboardInterrupt):
        asyncio.run(_listen(Receiver(answer, secret), host, port))


async def _listen(receiver: Receiver, host: str, port: int) -> None:
    async with Served(receiver, host=host, port=port) as served:
        note(f"listening on {served.url}/; give this URL to an endpoint. Ctrl-C stops it")
        if not receiver.secrets:
            note("signatures are not verified: give the endpoint's secret with --secret")
        await asyncio.Event().wait()


def _line(arrival: Arrival) -> str:
    return json.dumps(
        {
            "method": arrival.method,
            "path": arrival.path,
            "webhook-id": arrival.headers.get("webhook-id"),
            "verdict": arrival.verdict,
            "body": arrival.decoded(),
        },
        ensure_ascii=False,
    )


def _told(arrival: Arrival) -> str:
    body = arrival.decoded()
    text = body if isinstance(body, str) else json.dumps(body, indent=2, ensure_ascii=False)
    head = f"{arrival.method} {arrival.path}  {arrival.headers.get('webhook-id', 'no webhook-id')}  {arrival.verdict}"
    return f"{_printable(head)}\n{_printable(text)}\n"


def _printable(text: str) -> str:
    """What strangers send must not drive the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
