"""The console's files: those that were there at the start, each with what keeps a browser from doing more than it must."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any, Final

import pytest
from tests.asgi import Client

from posthouse.api import static_pages
from posthouse.api.static_pages import StaticPages
from posthouse.domain.access import Page
from posthouse.domain.errors import SetupError

BOTH: Final[tuple[Page, ...]] = ("console", "portal")
SCRIPT = b"console.log('posthouse');" * 100


async def behind(scope: dict[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 418, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"not a file"})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_bytes(b"<!doctype html><p>Posthouse")
    (tmp_path / "portal.html").write_bytes(b"<!doctype html><p>Webhooks")
    (tmp_path / "assets" / "index-abc.js").write_bytes(SCRIPT)
    (tmp_path / "icon.svg").write_bytes(b"<svg/>")
    (tmp_path / "sources.sha256").write_bytes(b"0" * 64)
    return tmp_path


@pytest.fixture
def client(folder: Path) -> Client:
    return Client(StaticPages(behind, BOTH, folder))


async def test_index_is_asked_for_anew_and_what_has_a_hash_in_its_name_never_again(client: Client) -> None:
    page = await client.get("/")
    assert (page.status, page.body) == (200, b"<!doctype html><p>Posthouse")
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-cache"
    script = await client.get("/assets/index-abc.js")
    assert (script.status, script.body) == (200, SCRIPT)
    assert script.headers["content-type"] == "text/javascript; charset=utf-8"
    assert script.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (await client.get("/icon.svg")).headers["cache-control"] == "no-cache"


async def test_every_file_keeps_the_browser_in_bounds(client: Client) -> None:
    for path in ("/", "/assets/index-abc.js", "/icon.svg"):
        headers = (await client.get(path)).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy == {
            "default-src": "'none'",
            "script-src": "'self'",
            "style-src": "'self'",
            "img-src": "'self' data:",
            "connect-src": "'self'",
            "font-src": "'self'",
            "manifest-src": "'self'",
            "base-uri": "'none'",
            "form-action": "'none'",
            "frame-ancestors": "'none'",
            "require-trusted-types-for": "'script'",
            "trusted-types": "'none'",
        }
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        assert "camera=()" in headers["permissions-policy"]


async def test_it_is_sent_compressed_to_whoever_takes_that(client: Client) -> None:
    path = "/assets/index-abc.js"
    for accepted in ("gzip", "br, GZIP;q=0.5", "gzip, deflate, br"):
        reply = await client.get(path, headers={"Accept-Encoding": accepted})
        assert reply.headers["content-encoding"] == "gzip"
        assert reply.headers["content-length"] == str(len(reply.body)) != str(len(SCRIPT))
        assert gzip.decompress(reply.body) == SCRIPT
        assert reply.headers["vary"] == "accept-encoding"
    for accepted in ("", "br", "gzip;q=0", "gzip; q=0.000", "x-gzip"):
        reply = await client.get(path, headers={"Accept-Encoding": accepted})
        assert (reply.body, "content-encoding" in reply.headers) == (SCRIPT, False), accepted


async def test_what_a_browser_has_it_is_not_sent_again(client: Client) -> None:
    plain = (await client.get("/")).headers["etag"]
    squeezed = (await client.get("/", headers={"Accept-Encoding": "gzip"})).headers["etag"]
    assert plain != squeezed, "they are not the same bytes"
    for tags in (plain, f"W/{plain}", f'"x", {plain}', "*"):
        reply = await client.get("/", headers={"If-None-Match": tags})
        assert (reply.status, reply.body) == (304, b""), tags
        assert reply.headers["etag"] == plain
    assert (await client.get("/", headers={"If-None-Match": '"another"'})).status == 200


async def test_head_tells_what_get_would(client: Client) -> None:
    got, head = await client.get("/"), await client.request("HEAD", "/")
    assert (head.status, head.body, head.headers) == (200, b"", got.headers)


@pytest.mark.parametrize(
    "path",
    [
        "/sources.sha256",
        "/index.html",
        "/assets",
        "/assets/",
        "/assets/../index.html",
        "/../cli/serve.py",
        "/%2e%2e/cli/serve.py",
        "/assets/%2e%2e%2f%2e%2e%2fcli/serve.py",
        "//icon.svg",
        "/icon.svg/",
        "/icon.svg\\",
        "/assets/index-abc.js\0",
        "/C:/windows/win.ini",
        "/v1/apps",
    ],
)
async def test_nothing_else_is_reached(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 418


async def test_what_appears_later_is_not_served(client: Client, folder: Path) -> None:
    (folder / "later.html").write_bytes(b"later")
    (folder / "icon.svg").unlink()
    assert (await client.get("/later.html")).status == 418
    assert (await client.get("/icon.svg")).status == 200


async def test_each_page_is_there_where_it_is_wanted_and_its_file_nowhere_else(folder: Path, client: Client) -> None:
    assert (await client.get("/portal")).body == b"<!doctype html><p>Webhooks"
    assert (await client.get("/portal.html")).status == (await client.get("/index.html")).status == 418
    console, portal = (Client(StaticPages(behind, [page], folder)) for page in BOTH)
    assert [(await console.get(path)).status for path in ("/", "/portal", "/icon.svg")] == [200, 418, 200]
    assert [(await portal.get(path)).status for path in ("/", "/portal", "/icon.svg")] == [418, 200, 200]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_not_for_files(client: Client, method: str) -> None:
    assert (await client.request(method, "/")).status == 418


async def test_without_a_build_it_says_what_to_do_in_both_languages(tmp_path: Path) -> None:
    (tmp_path / "icon.svg").write_bytes(b"<svg/>")
    client = Client(StaticPages(behind, BOTH, tmp_path))
    reply = await client.get("/")
    assert reply.status == 404
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    text = reply.body.decode()
    for told in ("make ui", "are not built", "尚未构建", "openapi.json"):
        assert told in text
    assert (await client.get("/", headers={"If-None-Match": reply.headers["etag"]})).status == 404
    assert (await client.get("/portal")).status == 404
    assert (await client.get("/icon.svg")).status == 418
    assert (await Client(StaticPages(behind, BOTH, tmp_path / "nowhere")).get("/")).status == 404


def test_a_folder_that_holds_more_than_a_console_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(static_pages, "CONSOLE_FILES_MAX", 2)
    with pytest.raises(SetupError, match="more than a console"):
        StaticPages(behind, BOTH, folder)
    monkeypatch.setattr(static_pages, "CONSOLE_FILES_MAX", 4)
    monkeypatch.setattr(static_pages, "CONSOLE_BYTES_MAX", 100)
    with pytest.raises(SetupError, match="more than a console"):
        StaticPages(behind, BOTH, folder)
