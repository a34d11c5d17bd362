"""`posthouse doctor`: look for what is wrong with an installation. Facts are gathered here, and judged in `manage.diagnose`."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import platform
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from posthouse.cli.client import url_given
from posthouse.cli.output import COLOURS, as_json, note, printable, terminal
from posthouse.cli.verbs import Json
from posthouse.domain.errors import Invalid

if TYPE_CHECKING:
    from posthouse.config import Settings
    from posthouse.manage.diagnose import Finding
    from posthouse.ports.diagnosis import DatabaseFacts, DirectoryFacts, Facts, GuardFacts, NameFacts, ServerFacts

ASK_SECONDS: Final = 5
ANSWER_BYTES_MAX: Final = 64 * 1024
NAMES_MAX: Final = 5
_MARKS: Final = {"ok": "✓", "warn": "!", "fail": "✗", "skipped": "-"}
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def doctor(
    *,
    database_url: str | None = None,
    data_dir: Path | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    url: str | None = None,
    resolve: Annotated[list[str] | None, Parameter(negative="")] = None,
    json_wanted: Json = False,
) -> int:
    """Look for what is wrong with an installation, and say what to do. Nothing is changed.

    It looks at this machine (data directory, keys, disk, limits, DNS, address guard), at the database, and at who answers
    where the server should. Run it where the server runs, as the same user, with the same settings. Exit code 0: all is in
    order; 6: there are warnings; 1: something is wrong.

    Parameters
    ----------
    database_url
        The database, as for serve (default: POSTHOUSE_DATABASE_URL, else the embedded one).
    data_dir
        The data directory of the embedded database, as for serve.
    host
        Where the server listens, as for serve.
    port
        The port on which the server listens, as for serve.
    workers
        How many processes the server has, as for serve; of one that runs on the data directory it is known.
    url
        Where the server is reached, instead of --host and --port (default, where neither is given: POSTHOUSE_URL, else where
        serve would listen). Everything but the server is looked at on this machine all the same.
    resolve
        A name to look up in DNS instead of those of endpoints; may be repeated.
    """
    from posthouse import config
    from posthouse.manage.diagnose import diagnose, exit_code

    listens = host is not None or port is not None
    if url is not None and listens:
        raise Invalid("--url says where the server is, and so do --host and --port: one of them")
    settings = config.load(database_url=database_url, data_dir=data_dir, host=host, port=port, workers=workers)
    if url is None and not listens and os.environ.get("POSTHOUSE_URL"):
        url = url_given(None)
        note(f"the server is looked for at {url} (POSTHOUSE_URL), and everything else on this machine")
    elif url is not None:
        url = url_given(url)
    findings = diagnose(asyncio.run(gather(settings, url=url, resolve=resolve or [])))
    if as_json(json_wanted):
        for finding in findings:
            print(json.dumps(finding._asdict(), ensure_ascii=False))
    else:
        _tell(findings)
    return exit_code(findings)


def _tell(findings: Sequence[Finding]) -> None:
    from rich.padding import Padding
    from rich.text import Text

    console = terminal()
    width = max(len(finding.check) for finding in findings)
    for finding in _gathered(findings):
        style = COLOURS.get(finding.verdict, "dim")
        head = Text.assemble(
            (f"{_MARKS[finding.verdict]} ", style),
            (finding.check.ljust(width + 2), "bold" if finding.verdict in ("warn", "fail") else ""),
        )
        for part, text_style in (
            (finding.found, "dim" if finding.verdict == "skipped" else ""),
            (finding.advice, style),
        ):
            if part:
                lines = Text(printable(part), style=text_style).wrap(console, max(console.width - width - 4, 20))
                for line in lines:
                    console.print(Text.assemble(head, line))
                    head = Text(" " * (width + 4))
    counted = {verdict: sum(f.verdict == verdict for f in findings) for verdict in _MARKS}
    console.print(
        Padding(Text(", ".join(f"{count} {verdict}" for verdict, count in counted.items() if count)), (1, 0, 0, 0))
    )


def _gathered(findings: Sequence[Finding]) -> list[Finding]:
    """Checks that were skipped for one reason, as one."""
    told: list[Finding] = []
    for finding in findings:
        if told and finding.verdict == told[-1].verdict == "skipped" and told[-1].found.startswith(finding.found):
            names = told[-1].advice or told[-1].check
            told[-1] = told[-1]._replace(check="skipped", advice=f"{names}, {finding.check}")
        else:
            told.append(finding)
    return told


# Gathering


async def gather(settings: Settings, *, resolve: Sequence[str], url: str | None = None) -> Facts:
    """Everything there is to know about the installation that these settings speak of; `url` is where its server is reached,
    if that is not where it listens."""
    from posthouse import __version__
    from posthouse.adapters.postgres.examine import embedded_dsn, examine
    from posthouse.adapters.system.datadir import default_data_dir
    from posthouse.adapters.system.examine import arguments, directory_facts, open_files_max
    from posthouse.ports.diagnosis import Facts, Trouble

    directory: DirectoryFacts | None = None
    dsn: str | Trouble
    if settings.database_url is None:
        path = settings.data_dir or default_data_dir()
        directory = directory_facts(path, key_file=settings.master_key_file)
        dsn = embedded_dsn(path)
    else:
        dsn = (settings.database_direct_url or settings.database_url).get_secret_value()
    pid = directory.holder_pid if directory else None
    open_secret, key_trouble = _keyring(settings, directory)
    urls: list[str] = []
    database: DatabaseFacts | Trouble
    if isinstance(dsn, Trouble):
        database = dsn
    else:
        database, urls = await examine(dsn, open_secret)
    server = await asyncio.to_thread(ask_server, _listening_at(settings) if url is None else url)
    open_files, whose = open_files_max(pid)
    flags = arguments(pid) if pid is not None else []
    return Facts(
        posthouse_version=__version__,
        python_version=sys.version_info[:3],
        platform=f"{platform.system()} {platform.machine()}",
        uid=os.geteuid(),
        database=database,
        directory=directory,
        server=server,
        guard=_guard(settings, flags),
        names=await _look_up(list(resolve) or _hosts(urls)),
        open_files_max=open_files,
        open_files_of=whose,
        sockets_max=settings.sockets_max,
        workers=workers_of(settings, flags),
        owns=settings.role != "api",
        master_key=key_trouble,
    )


def _keyring(settings: Settings, directory: DirectoryFacts | None) -> tuple[Callable[..., object] | None, str | None]:
    """How stored secrets are opened; or why they cannot be."""
    from posthouse.adapters.system.keyring import load_keyring
    from posthouse.domain.errors import SetupError
    from posthouse.wire.sealing import binding

    try:
        keyring = load_keyring(
            value=None if settings.master_key is None else settings.master_key.get_secret_value(),
            file=settings.master_key_file,
            data_dir=None if directory is None else Path(directory.path),
            create=False,
        )
    except SetupError as error:
        return None, str(error)

    def open_secret(sealed: bytes, owner: bytes, kind: str, version: int) -> bytes:
        return keyring.open(sealed, bound_to=binding(owner, kind, version))

    return open_secret, None


def workers_of(settings: Settings, flags: Sequence[str]) -> int:
    """How many processes serve: of the server that runs, as its flags say."""
    words = [word for flag in flags for word in flag.split("=", 1)]
    told = (int(value) for flag, value in pairwise(words) if flag == "--workers" and value.isdigit())
    return next(told, settings.workers)


def _guard(settings: Settings, flags: Sequence[str]) -> GuardFacts:
    """What is let through by the settings, and by the flags of the server that runs."""
    from posthouse.adapters.http.guard import METADATA
    from posthouse.ports.diagnosis import GuardFacts

    networks = settings.allowed_networks
    return GuardFacts(
        loopback=settings.allow_loopback_targets or "--dev" in flags,
        private=settings.allow_private_targets or "--allow-private-targets" in flags,
        networks=tuple(map(str, networks)),
        metadata_allowed=any(address in network for address in METADATA for network in networks),
    )


def _listening_at(settings: Settings) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)  # noqa: S104
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.port}"


def ask_server(url: str) -> ServerFacts:
    """Who answers at this URL. Why nobody did, or nothing of ours, is told where that is not plain."""
    from posthouse.ports.diagnosis import ServerFacts

    try:
        if not _is_ok(f"{url}/healthz"):
            ours = _asked(f"{url}/v1/keys").get("code") == "unauthorised"
            return ServerFacts(url, "posthouse", hidden=True) if ours else ServerFacts(url, "other")
        ready = _asked(f"{url}/readyz")
    except (OSError, ValueError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ConnectionRefusedError):
            return ServerFacts(url, "nobody")
        note(f"{url}: {getattr(reason, 'strerror', None) or reason}")
        # A URLError comes of connecting: only of TLS does it say that somebody is there.
        connected = not isinstance(error, urllib.error.URLError) or isinstance(reason, ssl.SSLError)
        return ServerFacts(url, "other" if connected else "nobody")
    reason = None if ready.get("status") == "ok" else str(ready.get("detail", "it does not say why"))
    return ServerFacts(url, "posthouse", reason)


def _is_ok(url: str) -> bool:
    """Raises OSError."""
    try:
        return _asked(url) == {"status": "ok"}
    except ValueError:  # a proxy's page, perhaps
        return False


def _asked(url: str) -> dict[str, Any]:
    """The JSON object at a URL, also of an error. Raises OSError, ValueError."""
    try:
        with _DIRECT.open(url, timeout=ASK_SECONDS) as answer:
            text = answer.read(ANSWER_BYTES_MAX)
    except urllib.error.HTTPError as error:
        with error:
            text = error.read(ANSWER_BYTES_MAX)
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _hosts(urls: Sequence[str]) -> list[str]:
    """The names in these URLs, each once; addresses need no look-up."""
    from posthouse.adapters.http.guard import parse_address

    hosts: dict[str, None] = {}
    for url in urls:
        try:
            host = urlsplit(url).hostname or ""
            if host and parse_address(host) is None:
                hosts[host] = None
        except ValueError:
            note(f"cannot read the target URL {printable(url.partition('?')[0])}")
    return list(hosts)[:NAMES_MAX]


async def _look_up(names: Sequence[str]) -> tuple[NameFacts, ...]:
    from posthouse.adapters.http.resolver import AresResolver, LookupFailed
    from posthouse.ports.diagnosis import NameFacts

    resolver = AresResolver()

    async def look_up(name: str) -> NameFacts:
        try:
            found = await resolver.lookup(name)
        except OSError as error:
            return NameFacts(name, error.strerror or str(error), ours=True)
        if isinstance(found, LookupFailed):
            return NameFacts(name, found.detail, ours=found.timed_out)
        return NameFacts(name, None)

    try:
        return tuple(await asyncio.gather(*(look_up(name.lower().rstrip(".")) for name in names)))
    finally:
        await resolver.close()
