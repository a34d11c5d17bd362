"""`posthouse open`, and the link of a demo that stays."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Served, on_terminal, rows, run, running, served


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served("--dev") as running:
        yield running


def signs_in(link: str) -> int:
    """The status with which a browser that opened a link is answered."""
    url, _, code = link.partition("/#/in?code=")
    asked = urllib.request.Request(
        f"{url}/v1/session",
        json.dumps({"code": code}).encode(),
        {"Content-Type": "application/json", "X-Posthouse-Console": "1"},
    )
    try:
        with urllib.request.urlopen(asked, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_prints_a_link_that_works_once(server: Served) -> None:
    told = run("open", **server.reach)
    assert (told.returncode, told.stderr) == (0, ""), "where nobody looks on, no browser is started"
    assert re.fullmatch(rf"http://127\.0\.0\.1:{server.port}/#/in\?code=[\w-]{{43}}\n", told.stdout)
    assert signs_in(told.stdout.strip()) == 201
    assert signs_in(told.stdout.strip()) == 401
    (made,) = rows(run("open", "--json", **server.reach))
    assert made.keys() == {"url", "expires_at"}
    assert signs_in(made["url"]) == 201


def test_the_link_leads_where_the_command_found_the_server(server: Served) -> None:
    # As behind a proxy that takes a prefix away; here the server itself stands for it, and ignores the query.
    told = run("open", **server.reach | {"POSTHOUSE_URL": f"http://localhost:{server.port}/"})
    assert told.stdout.startswith(f"http://localhost:{server.port}/#/in?code=")


def test_the_code_is_in_no_argument_of_the_browser(server: Served, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    browser.write_text(
        f'#!/bin/sh\nprintf %s "$1" > {tmp_path}/argument\ncp "${{1#file://}}" {tmp_path}/page\n'
        f'stat -c %a "${{1#file://}}" > {tmp_path}/mode\n'
    )
    browser.chmod(0o755)
    here = server.reach | {"DISPLAY": ":0", "BROWSER": str(browser)}
    code, said = on_terminal(("open",), here, width=200)
    assert code == 0, said
    (link,) = re.findall(r"http://\S+code=\S{43}", said)
    argument = (tmp_path / "argument").read_text()
    assert argument.startswith("file://")
    assert link.partition("code=")[2] not in argument, "everybody on the machine may read it"
    assert link in (tmp_path / "page").read_text()
    assert (tmp_path / "mode").read_text().strip() == "600"
    assert not Path(argument.removeprefix("file://")).exists(), "it is gone once it was read"
    (tmp_path / "argument").unlink()
    for words in (("open", "--print"), ("open", "--json")):
        assert on_terminal(words, here)[0] == 0
    assert not (tmp_path / "argument").exists()


def test_it_says_why_there_is_no_link(server: Served) -> None:
    assert run("apps", "create", "--uid", "acme", **server.reach).returncode == 0
    made = run("keys", "create", "--app", "acme", **server.reach)
    told = run("open", **server.reach | {"POSTHOUSE_KEY": made.stdout.strip()})
    assert told.returncode == 3
    assert "needs a key of scope admin" in told.stderr
    told = run("open", POSTHOUSE_URL=server.reach["POSTHOUSE_URL"])
    assert (told.returncode, "no API key" in told.stderr) == (3, True)


def test_the_demo_that_stays_prints_one_too() -> None:
    with running("demo", "--keep") as demo:
        link = demo.until(r"http://127\.0\.0\.1:\d+/#/in\?code=\S{43}")[0]
        assert signs_in(link) == 201


def test_it_makes_a_link_to_the_portal_of_an_app(server: Served) -> None:
    assert run("apps", "create", "--uid", "shop", **server.reach).returncode == 0
    told = run("portal", "shop", **server.reach)
    assert (told.returncode, told.stderr) == (0, "")
    assert re.fullmatch(rf"http://127\.0\.0\.1:{server.port}/portal#/in\?code=[\w-]{{43}}\n", told.stdout)
    elsewhere = run("portal", "shop", **server.reach | {"POSTHOUSE_URL": f"http://localhost:{server.port}/"})
    assert elsewhere.stdout.startswith(f"http://localhost:{server.port}/portal#/in?code="), "where the command found it"
    (made,) = rows(run("portal", "shop", "--seconds", "60", "--json", **server.reach))
    assert made.keys() == {"url", "expires_at"}
    for words, code, said in (
        (("portal", "nobody"), 4, "there is no app 'nobody'"),
        (("portal", "shop", "--seconds", "5"), 2, "seconds"),
    ):
        told = run(*words, **server.reach)
        assert told.returncode == code, told
        assert said in told.stderr
