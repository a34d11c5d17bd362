"""`posthouse open`: into the console, by a link that works once."""

from __future__ import annotations

import html
import os
import sys
import tempfile
import time
import webbrowser
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from posthouse.cli.client import Client
from posthouse.cli.output import note, printable, show_record
from posthouse.cli.verbs import Json, Key, Url
from posthouse.domain.errors import NotFound

BROWSER_SECONDS: Final = 5.0  # until a browser that was started has read what it was given

_PAGE: Final = """\
<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={link}">
<title>Posthouse</title>
<a href="{link}">Posthouse</a>
"""


def open_console(
    *,
    print_only: Annotated[bool, Parameter(name="--print", negative="", show_default=False)] = False,
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
    link = _from_here(made["url"], client.url)
    if json_wanted:
        show_record(made | {"url": link}, json_wanted=True)
        return
    print(printable(link), flush=True)
    if not print_only and sys.stdout.isatty() and _has_display():
        _open(link)


def _from_here(link: str, server: str) -> str:
    """The link by the URL that this command has just reached the server by, where both name the same host: that one may have a
    path which a proxy takes away before the server sees it. Otherwise the server knows better where browsers find it."""
    there, here = urlsplit(link), urlsplit(server)
    return f"{server}/#{there.fragment}" if there.netloc == here.netloc else link


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
