"""`posthouse listen`: a local target that verifies and prints what arrives, or a relay of the live stream to one."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from posthouse.cli.output import note, printable
from posthouse.domain.errors import Invalid

if TYPE_CHECKING:
    from posthouse.cli.receiver import Arrival, Receiver


def listen(
    *,
    port: int = 9000,
    host: str = "127.0.0.1",
    secret: Annotated[list[str] | None, Parameter(negative="")] = None,
    status: int = 200,
    forward_to: str | None = None,
    app: str | None = None,
    types: str | None = None,
    retry: int = 0,
    url: str | None = None,
    api_key: Annotated[str | None, Parameter(name="--key")] = None,
    json_output: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Listen as a third party would, and print each request that arrives.

    With --forward-to no port is opened: events come from the server's live stream, and each is sent on to a URL of this
    machine, signed as a webhook.

    Parameters
    ----------
    port
        The port to listen on; 0 takes a free one.
    host
        The address to listen on.
    secret
        The endpoint's secret (whsec_… or whpk_…), to verify with; may be given several times. With --forward-to: to sign
        with; without one, one is made and shown.
    status
        The status to answer with.
    forward_to
        Send each event of the live stream on to this URL, such as http://127.0.0.1:3000/hooks.
    app
        With --forward-to: only events for this app (id or uid).
    types
        With --forward-to: only events of these types, such as order.*,user_register.
    retry
        With --forward-to: how often an event is sent again that was not answered with 2xx.
    url
        With --forward-to: the server (default: POSTHOUSE_URL, else http://127.0.0.1:8080).
    api_key
        With --forward-to: the API key (default: POSTHOUSE_KEY).
    json_output
        A line of JSON a request, even on a terminal.
    """
    as_json = json_output or not sys.stdout.isatty()
    if forward_to is not None:
        _forward(forward_to, secret, {"app": app, "types": types}, retry, url, api_key, as_json=as_json)
        return
    if app is not None or types is not None or retry or url is not None or api_key is not None:
        raise Invalid("--app, --types, --retry, --url and --key belong to --forward-to")

    import asyncio

    from posthouse.cli.receiver import Receiver

    def answer(arrival: Arrival) -> int:
        print(_line(arrival) if as_json else _told(arrival), flush=True)
        return status

    with suppress(KeyboardInterrupt):
        asyncio.run(_listen(Receiver(answer, secret), host, port))


def _forward(
    target: str,
    secrets: list[str] | None,
    wanted: dict[str, str | None],
    retry: int,
    url: str | None,
    key: str | None,
    *,
    as_json: bool,
) -> None:
    import os
    import signal

    from posthouse.cli.client import Client
    from posthouse.cli.relay import Outcome, Relay, Target, Told, line, row
    from posthouse_sdk import SecretError
    from posthouse_sdk.signatures import HMAC_KEY_BYTES, generate_hmac_key

    if retry < 0:
        raise Invalid("--retry is how often an event is sent again: 0 or more")
    shown = secrets or [generate_hmac_key(os.urandom(HMAC_KEY_BYTES)).text]
    try:
        to = Target(target, shown)
    except SecretError as error:
        raise Invalid(f"--secret: {error}") from None

    def tell(event: Told, outcome: Outcome) -> None:
        told = json.dumps(row(event, outcome), ensure_ascii=False) if as_json else line(event, outcome)
        print(told, flush=True)

    query = {"kinds": "events", "data": "true"} | {name: value for name, value in wanted.items() if value is not None}
    relay = Relay(Client(url, key), to, query, tell, tries=1 + retry)
    note(f"events go to {to.url}; Ctrl-C stops it")
    if secrets is None:
        note(f"they are signed with {shown[0]}")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # even where the shell had it ignored
    try:
        relay.run()
    except KeyboardInterrupt:
        note(f"\nrelayed: {relay.delivered} delivered, {relay.failed} not")


async def _listen(receiver: Receiver, host: str, port: int) -> None:
    import asyncio

    from posthouse.cli.receiver import Served

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
    return f"{printable(head)}\n{printable(text)}\n"
