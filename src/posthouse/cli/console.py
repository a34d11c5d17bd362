"""`posthouse open` and `posthouse portal`: into the console, or the portal of an app, by a link that works once."""

from __future__ import annotations

import html
import os
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import note, printable, show_record
from posthouse.cli.verbs import Json, Key, Url
from posthouse.domain.access import Page
from posthouse.domain.errors import NotFound
from posthouse.domain.limits import PORTAL_LINK_SECONDS

BROWSER_SECONDS: Final = 5.0  # until a browser that was started has read what it was given

_PAGE: Final = """\
<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={link}">
<title>Posthouse</title>
<a href="{link}">Posthouse</a>
"""


PrintOnly = Annotated[bool, Parameter(name="--print", negative="", show_default=False)]


def open_console(
    *,
    print_only: PrintOnly = False,
    url: Url = None,
    api_key: Key = None,
    json_wanted: Json = False,
) -> None:
    """Print a link that signs in to the console, and open it in a browser where there is one.

    It works once, within a day, and stands for the API key that this command uses, which has to be an administrator's.

    Parameters
    ----------
    print_only
        Open nothing.
    """
    client = Client(url, api_key)
    try:
        made = client.post("session", "links")
    except NotFound as error:
        error.add_note("its console is switched off (POSTHOUSE_CONSOLE), or it is of a version that has none")
        raise
    _hand_over(made, "console", client, print_only=print_only, json_wanted=json_wanted)


def open_portal(
    app: str,
    /,
    *,
    seconds: int = PORTAL_LINK_SECONDS,
    print_only: PrintOnly = False,
    url: Url = None,
    api_key: Key = None,
    json_wanted: Json = False,
) -> None:
    """Print a link that signs in to the portal of an app, and open it in a browser where there is one.

    It works once. Whoever opens it looks after the app's endpoints for twelve hours, unless the API key that this command uses
    is revoked.

    Parameters
    ----------
    app
        Id or uid of the app.
    seconds
        How long the link waits for somebody to use it.
    print_only
        Open nothing.
    """
    client = Client(url, api_key)
    try:
        made = client.post("apps", app, "portal-links", body={"seconds": seconds})
    except NotFound as error:
        if error.code == "route_not_found":
            error.add_note("its portal is switched off (POSTHOUSE_PORTAL), or it is of a version that has none")
        raise
    _hand_over(made, "portal", client, print_only=print_only, json_wanted=json_wanted)


def _hand_over(made: dict[str, Any], page: Page, client: Client, *, print_only: bool, json_wanted: bool) -> None:
    link = _from_here(made["url"], page, client.url)
    if json_wanted:
        show_record(made | {"url": link}, json_wanted=True)
        return
    print(printable(link), flush=True)
    if not print_only and sys.stdout.isatty() and _has_display():
        _open(link)


def _from_here(link: str, page: Page, server: str) -> str:
    """The link by the URL that this command has just reached the server by, where both name the same host: that one may have a
    path which a proxy takes away before the server sees it. Otherwise the server knows better where browsers find it."""
    there, here = urlsplit(link), urlsplit(server)
    place = "/" if page == "console" else f"/{page}"
    return f"{server}{place}#{there.fragment}" if there.netloc == here.netloc else link


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY"))


def _open(link: str) -> None:
    """Not as an argument of the browser, which everybody on this machine could read: in a file for our own account alone."""
    with tempfile.TemporaryDirectory(prefix="posthouse-open-", ignore_cleanup_errors=True) as folder:
        page = Path(folder) / "console.html"
        page.touch(mode=0o600)
        page.write_text(_PAGE.format(link=html.escape(link, quote=True)), "utf-8")
        if not webbrowser.open(page.as_uri()):
            note("no browser could be started; open the link in one")
            return
        note("opening it in your browser …")
        time.sleep(BROWSER_SECONDS)
