"""`posthouse listen`: a local target that verifies and prints what arrives, or a relay of the live stream to one."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from posthouse.cli.output import note, printable
from posthouse.domain.errors import Invalid

if TYPE_CHECKING:
    from posthouse.cli.receiver import Arrival


def listen(
    *,
    port: int = 9000,
    host: str = "127.0.0.1",
    secret: Annotated[list[str] | None, Parameter(negative="")] = None,
    status: int | None = None,
    profile: str | None = None,
    setting: Annotated[list[str] | None, Parameter(name="--set", negative="")] = None,
    named_key: Annotated[list[str] | None, Parameter(negative="")] = None,
    keys_file: Path | None = None,
    public_url: str | None = None,
    confirm: Annotated[bool, Parameter(negative="")] = False,
    forward_to: str | None = None,
    app: str | None = None,
    types: str | None = None,
    retry: int = 0,
    url: str | None = None,
    api_key: Annotated[str | None, Parameter(name="--key")] = None,
    json_output: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Listen as a third party would, and print each request that arrives.

    With --profile it plays a third party of that platform: it verifies and opens what an endpoint with the profile is
    sent, and answers handshakes and events as the platform's receivers do.

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
        The status to answer events with (default: 200; with --profile, what it confirms with). With --secret, what is not
        signed with it is answered 401 all the same.
    profile
        The name of a profile (feishu, meta, wecom, …), or the path of a file: ./shop.toml.
    setting
        With --profile: one of its settings, as NAME=TEXT; may be given several times.
    named_key
        With --profile: one of the endpoint's keys, as NAME=TEXT, or NAME=@FILE to keep it out of the list of processes; several
        of one name are in force together. Else it is looked for in the environment: POSTHOUSE_LISTEN_KEY_NAME.
    keys_file
        With --profile: a JSON file with the keys, {"name": "text", …}.
    public_url
        With --profile: the URL that the sender sends to, where it is another than this machine's and is signed.
    confirm
        With --profile: go to the URL that a request for confirmation brings.
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
    if profile is not None and forward_to is not None:
        raise Invalid("--profile receives, and --forward-to sends on: one of them")
    if profile is None and (setting or named_key or keys_file is not None or public_url is not None or confirm):
        raise Invalid("--set, --named-key, --keys-file, --public-url and --confirm belong to --profile")
    if forward_to is not None:
        _forward(forward_to, secret, {"app": app, "types": types}, retry, url, api_key, as_json=as_json)
        return
    if app is not None or types is not None or retry or url is not None or api_key is not None:
        raise Invalid("--app, --types, --retry, --url and --key belong to --forward-to")

    if profile is not None:
        from posthouse.cli.third_party import ThirdParty, line, third_party

        receiver = third_party(
            profile,
            settings=setting or (),
            keys=named_key or (),
            keys_file=keys_file,
            secrets=secret or (),
            public_url=public_url,
        )

        def tell(row: dict[str, Any]) -> None:
            print(json.dumps(row, ensure_ascii=False, default=str) if as_json else line(row), flush=True)

        _run(ThirdParty(receiver, tell, status=status, confirm=confirm), host, port)
        return

    from posthouse.cli.receiver import Receiver

    def answer(arrival: Arrival) -> int:
        print(_line(arrival) if as_json else _told(arrival), flush=True)
        if secret and not arrival.verified:
            return 401  # whatever --status says: what nobody vouches for is not confirmed
        return 200 if status is None else status

    if not secret:
        note("signatures are not verified: give the endpoint's secret with --secret")
    else:
        _verifiable(secret)
    _run(Receiver(answer, secret), host, port)


def _verifiable(secrets: list[str]) -> None:
    """Raises Invalid where one of these is no secret: better than a 500 to each request."""
    from posthouse_sdk import SecretError, Webhook

    try:
        Webhook(secrets)
    except SecretError as error:
        raise Invalid(f"--secret: {error}; `posthouse endpoints secret ENDPOINT --app APP` shows it") from None


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


def _run(target: Any, host: str, port: int) -> None:
    import asyncio

    with suppress(KeyboardInterrupt):
        asyncio.run(_listen(target, host, port))


async def _listen(target: Any, host: str, port: int) -> None:
    """Raises BrokenPipeError once nobody reads what is printed any more, where the server by itself would go on."""
    import asyncio

    from posthouse.cli.receiver import Served, respond

    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def watched(scope: Any, receive: Any, send: Any) -> None:
        try:
            await target(scope, receive, send)
        except BrokenPipeError as error:
            if not ended.done():
                ended.set_exception(error)
            await respond(send, 503)  # nobody has seen it: it may come again

    async with Served(watched, host=host, port=port) as served:
        note(f"listening on {served.url}/; give this URL to an endpoint. Ctrl-C stops it")
        await ended


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
