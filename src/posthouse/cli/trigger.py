"""`posthouse trigger`: publish one event."""

from __future__ import annotations

import json
import sys
from typing import Annotated

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import show
from posthouse.domain.errors import Invalid


def trigger(
    event_type: str,
    /,
    *,
    app: str,
    data: str,
    subject: str | None = None,
    url: str | None = None,
    api_key: Annotated[str | None, Parameter(name="--key")] = None,
    event_key: str | None = None,
    json_output: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> None:
    """Publish one event to an app.

    Parameters
    ----------
    event_type
        The event's type, such as user_register.
    app
        The app's id or uid.
    data
        The event's data as JSON; - reads it from standard input.
    subject
        Whom the event is about, such as shop:42.
    url
        The server (default: POSTHOUSE_URL, else http://127.0.0.1:8080).
    api_key
        The API key (default: POSTHOUSE_KEY).
    event_key
        The event's ordering key.
    json_output
        JSON even on a terminal.
    """
    text = sys.stdin.read() if data == "-" else data
    try:
        decoded = json.loads(text)
    except ValueError as error:
        raise Invalid(f"--data is not JSON: {error}") from None
    body = {"type": event_type, "data": decoded}
    body |= {name: value for name, value in (("subject", subject), ("key", event_key)) if value is not None}
    accepted = Client(url, api_key).post("apps", app, "events", body=body)
    show([accepted], ["id", "type", "created_at"], as_json=json_output)
