"""The console and the portal, as files: all that is ever served is read at the start, so no path leads to another file.

Whoever may use them is the API's business: these files are the same for everybody, and hold nothing of an installation.
"""

from __future__ import annotations

import gzip
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Final

from posthouse.api.arriving import Receive
from posthouse.api.gate import App, Scope, Send
from posthouse.domain.access import Page
from posthouse.domain.errors import SetupError
from posthouse.domain.limits import CONSOLE_BYTES_MAX, CONSOLE_FILES_MAX

FOLDER: Final = Path(__file__).parent.parent / "console"
INDEX: Final = "index.html"
PLACES: Final[Mapping[str, tuple[Page, str]]] = {INDEX: ("console", "/"), "portal.html": ("portal", "/portal")}
"""The pages by their files, and where they are; all other files are where their names say."""
HASHED: Final = "assets/"
"""Files whose names change with what is in them."""

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".webmanifest": "application/manifest+json",
    ".woff2": "font/woff2",
}
"""What is served; what has another suffix is not."""
_COMPRESSED: Final = (".css", ".html", ".js", ".json", ".svg", ".txt", ".webmanifest")

# Nothing is run, loaded or asked but what this server gives; nobody frames it; and no text becomes markup.
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
_GUARDS: Final = (
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
    (
        "permissions-policy",
        "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), "
        "midi=(), payment=(), usb=()",
    ),
)

NOT_BUILT: Final = """\
<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><title>Posthouse</title></head>
<body>
<h1>Posthouse is running. Its pages are not built.</h1>
<p>This server runs from a source checkout without the files of the console and the portal. With Node.js,
<code>make ui</code> builds them;
then start the server again. A <code>pip install posthouse</code> has them. The API answers all the same: see
<a href="openapi.json">openapi.json</a>.</p>
<div lang="zh-CN">
<h1>Posthouse 正在运行，但页面尚未构建。</h1>
<p>当前服务器运行自源码，其中没有控制台和门户的文件。装好 Node.js 后执行 <code>make ui</code> 即可构建，然后重启服务器。通过
<code>pip install posthouse</code> 安装的版本自带这些文件。API 不受影响，照常可用，参见
<a href="openapi.json">openapi.json</a>。</p>
</div>
</body>
</html>
"""


class _File:
    """`squeezed`: the body compressed, where that is worth it."""

    def __init__(self, body: bytes, tag: bytes, headers: list[tuple[bytes, bytes]], *, squeezes: bool) -> None:
        self.body = body
        self.tag = tag
        self.headers = headers
        self._squeezes = squeezes

    @cached_property
    def squeezed(self) -> bytes | None:
        return gzip.compress(self.body, mtime=0) if self._squeezes else None


class StaticPages:
    """Answers GET and HEAD for the files of a folder, of its pages (`PLACES`) for those that are wanted, and hands every other
    request to `next_app`.

    Where the folder has no `index.html`, every page says what to do, with 404. Raises SetupError for more than can be meant.
    """

    def __init__(self, next_app: App, pages: Collection[Page], folder: Path = FOLDER) -> None:
        self._next = next_app
        wanted = [place for page, place in PLACES.values() if page in pages]
        self._files = {place: file for place, page, file in _read(folder) if page is None or page in pages}
        self._not_built = frozenset(place for place in wanted if place not in self._files)
        self._files |= dict.fromkeys(self._not_built, _file(INDEX, NOT_BUILT.encode()))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        file = self._files.get(scope["path"]) if scope["type"] == "http" else None
        if file is None or scope["method"] not in ("GET", "HEAD"):
            await self._next(scope, receive, send)
            return
        asked = {name: value for name, value in scope["headers"] if name in (b"accept-encoding", b"if-none-match")}
        status = 404 if scope["path"] in self._not_built else 200
        body, tag, headers = file.body, file.tag, list(file.headers)
        if _takes_gzip(asked.get(b"accept-encoding", b"")) and (squeezed := file.squeezed) is not None:
            body, tag = squeezed, tag[:-1] + b'-gzip"'
            headers.append((b"content-encoding", b"gzip"))
        headers.append((b"etag", tag))
        if status == 200 and _has(asked.get(b"if-none-match", b""), tag):
            status, body = 304, b""
        else:
            headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _read(folder: Path) -> Iterator[tuple[str, Page | None, _File]]:
    """Every file, by its place, and the page that it is, if it is one."""
    if not (folder / INDEX).is_file():
        return
    found = sorted(path for path in folder.rglob("*") if path.suffix in TYPES and path.is_file())
    if len(found) > CONSOLE_FILES_MAX or sum(path.stat().st_size for path in found) > CONSOLE_BYTES_MAX:
        raise SetupError(
            f"{folder} holds more than a console: over {CONSOLE_FILES_MAX} files, or {CONSOLE_BYTES_MAX} bytes"
        )
    for path in found:
        name = path.relative_to(folder).as_posix()
        page, place = PLACES.get(name, (None, f"/{name}"))
        yield place, page, _file(name, path.read_bytes())


def _file(name: str, body: bytes) -> _File:
    suffix = Path(name).suffix
    squeezes = suffix in _COMPRESSED
    # What has a name for ever is kept for ever; for the rest it is asked whether it is still so.
    kept = "public, max-age=31536000, immutable" if name.startswith(HASHED) else "no-cache"
    headers = {"content-type": TYPES[suffix], "cache-control": kept, **dict(_GUARDS)}
    if squeezes:
        headers["vary"] = "accept-encoding"
    tag = b'"%b"' % sha256(body).hexdigest()[:32].encode()
    return _File(body, tag, [(key.encode(), value.encode()) for key, value in headers.items()], squeezes=squeezes)


def _takes_gzip(accepted: bytes) -> bool:
    """Whether it is named, and not by a weight of none (RFC 9110, section 12.5.3)."""
    for part in accepted.lower().split(b","):
        name, _, weight = part.partition(b";")
        if name.strip() == b"gzip":
            return weight.replace(b" ", b"").rstrip(b"0") not in (b"q=", b"q=0.", b"q=.")
    return False


def _has(tags: bytes, tag: bytes) -> bool:
    """Whether a tag is among those of `If-None-Match`, compared weakly (RFC 9110, section 13.1.2)."""
    return any(one.strip().removeprefix(b"W/") in (tag, b"*") for one in tags.split(b","))
