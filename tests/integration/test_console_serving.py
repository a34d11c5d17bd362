"""The console as a whole server serves it: from the files of the package, on its own and behind a proxy with a prefix."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from tests.serving import KEY, ask, exchange, request, serving
from tests.tidy.tree import PACKAGE

from posthouse import bootstrap

BUILT = (PACKAGE / "console" / "index.html").is_file()
PREFIX = "/hooks"


@pytest.fixture
async def server(database: str) -> AsyncIterator[bootstrap.Posthouse]:
    async with serving(database, public_url=f"http://127.0.0.1{PREFIX}") as running:
        yield running


@asynccontextmanager
async def stripping(port: int) -> AsyncIterator[int]:
    """A proxy that takes a prefix away, as `proxy_pass http://…/;` of nginx does; its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        method, path, rest = head.split(b" ", 2)
        if path.startswith(PREFIX.encode() + b"/"):
            length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
            body = await reader.readexactly(int(length[1]) if length else 0)
            to_reader, to_writer = await asyncio.open_connection("127.0.0.1", port)
            to_writer.write(b" ".join((method, path[len(PREFIX) :], rest)) + body)
            writer.write(await to_reader.read())
            to_writer.close()
        else:
            writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    proxy = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        proxy.close()


@pytest.mark.skipif(not BUILT, reason="the console is not built here: make ui")
async def test_what_the_page_asks_for_is_there_under_any_prefix(server: bootstrap.Posthouse) -> None:
    async with stripping(server.port) as port:
        page = await ask(port, "GET", f"{PREFIX}/", key=None)
        assert page.status == 200
        text = page.body.decode()
        wanted = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert len(wanted) >= 3
        assert all(each.startswith("./") for each in wanted), "relative: the page does not know where it is"
        for each in wanted:
            found = await ask(port, "GET", f"{PREFIX}/{each[2:]}", key=None, headers={"Accept-Encoding": "gzip"})
            assert (found.status, found.headers["content-encoding"]) == (200, "gzip"), each
            assert found.headers["content-security-policy"] == page.headers["content-security-policy"]
            assert gzip.decompress(found.body)
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", text), "the policy would stop it"

        console = {"X-Posthouse-Console": "1", "Origin": f"http://127.0.0.1:{port}"}
        signed_in = await ask(port, "POST", f"{PREFIX}/v1/session", {"key": KEY}, key=None, headers=console)
        assert signed_in.status == 201
        mine = console | {"Cookie": signed_in.headers["set-cookie"].partition(";")[0]}
        assert (await ask(port, "GET", f"{PREFIX}/v1/apps", key=None, headers=mine)).status == 200


async def test_no_path_leads_out_of_the_folder(server: bootstrap.Posthouse) -> None:
    for path in (
        "/../config.py",
        "/assets/../../config.py",
        "/%2e%2e/config.py",
        "/assets/%2e%2e/%2e%2e/config.py",
        "/assets/..%2f..%2fconfig.py",
        "/..%5cconfig.py",
        "//etc/passwd",
        "/assets//etc/passwd",
        "/sources.sha256",
        "/index.html",
        "/assets/",
        "/.",
    ):
        reply = await exchange(server.port, request("GET", path, key=None))
        assert reply.status == 404, path
        assert b"class Settings" not in str(reply.body).encode()


async def test_what_the_api_answers_is_what_it_says(server: bootstrap.Posthouse) -> None:
    for path, key in (("/v1/apps", KEY), ("/v1/apps", None), ("/openapi.json", None), ("/nowhere", None)):
        assert (await ask(server.port, "GET", path, key=key)).headers["x-content-type-options"] == "nosniff"


async def test_head_and_other_methods(server: bootstrap.Posthouse) -> None:
    got = await ask(server.port, "GET", "/", key=None)
    head = await ask(server.port, "HEAD", "/", key=None)
    assert (head.status, head.body) == (got.status, b"")
    assert head.headers["content-length"] == got.headers["content-length"]
    assert (await ask(server.port, "POST", "/", {}, key=None)).status == 404
