"""A third party of any platform on this machine: what an endpoint with a profile is sent is received, and answered, as the
profile has it.
"""

from __future__ import annotations

import asyncio
import json
import os
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from posthouse.cli.output import note, printable
from posthouse.cli.receiver import body_of, respond
from posthouse.domain.errors import Invalid
from posthouse_sdk import Profile, ProfileError, ProfileReceiver, Received, ReceiverError, VerificationError, profile
from posthouse_sdk.profiles.signers import OWN_SECRET
from posthouse_sdk.receiving.answers import refused

FROM_ENVIRONMENT: Final = "POSTHOUSE_LISTEN_KEY_"
KEYS_BYTES_MAX: Final = 256 * 1024
CONFIRM_SECONDS: Final = 10.0

Tell = Callable[[dict[str, Any]], None]


class ThirdParty:
    """An ASGI application. `status` answers events in the place of what confirms; `confirm` is whether a URL that confirms is
    followed. Each request is told as a row."""

    def __init__(
        self, receiver: ProfileReceiver, tell: Tell, *, status: int | None = None, confirm: bool = False
    ) -> None:
        self._receiver: Final = receiver
        self._tell: Final = tell
        self._status: Final = status
        self._confirm: Final = confirm

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body = await body_of(receive, send)
        if body is None:
            return
        headers = Lines([(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]])
        raw, query = scope.get("raw_path") or scope["path"].encode(), scope["query_string"]
        target = (raw + b"?" + query if query else raw).decode("latin-1")
        row: dict[str, Any] = {"method": scope["method"], "path": scope["path"]}
        try:
            found = self._receiver.receive(scope["method"], headers.origin() + target, headers, body)
        except VerificationError as error:
            self._tell(row | {"verdict": f"{type(error).__name__}: {error}"})
            answer = refused(error)
            await respond(send, answer.status, dict(answer.headers), answer.body)
            return
        except ReceiverError as error:
            self._tell(row | {"verdict": f"cannot be verified: {error}"})
            await respond(send, 500)
            return
        self._tell(row | told(found))
        if found.event is not None and self._status is not None:
            await respond(send, self._status)
        else:
            await respond(send, found.status, found.headers, found.body)
        if found.confirm_url is not None and self._confirm:
            self._tell(row | {"confirm_url": found.confirm_url, "verdict": await _confirmed(found.confirm_url)})


class Lines:
    """Headers as they came, those that are there twice too."""

    def __init__(self, lines: list[tuple[str, str]]) -> None:
        self._lines: Final = lines

    def items(self) -> list[tuple[str, str]]:
        return self._lines

    def origin(self) -> str:
        """Of the request's URL: a proxy before this may have been told another."""
        return f"http://{dict(self._lines).get('host', '')}"


def told(found: Received) -> dict[str, Any]:
    """A request that was taken, as a row."""
    if found.event is None:
        row: dict[str, Any] = {"verdict": "verified", "handshake": found.handshake}
        return row | ({"confirm_url": found.confirm_url} if found.confirm_url is not None else {})
    event = found.event
    return {
        "verdict": "verified",
        "id": event.id,
        "type": event.type,
        "timestamp": _time(event.timestamp),
        "data": event.data.decode("utf-8", "replace") if isinstance(event.data, bytes) else event.data,
    }


def line(row: Mapping[str, Any]) -> str:
    """A row as people read it."""
    shown = [row["method"], row["path"], *(row[name] for name in ("type", "id", "timestamp") if row.get(name))]
    if row.get("handshake"):
        shown.append(f"handshake {row['handshake']}, answered")
    if row.get("confirm_url"):
        shown.append(f"to confirm, go to {row['confirm_url']}")
    text = printable("  ".join([*map(str, shown), row["verdict"]]))
    if "data" in row:
        text += f"\n{printable(json.dumps(row['data'], indent=2, ensure_ascii=False, default=str))}\n"
    return text


def third_party(
    source: str,
    *,
    settings: Sequence[str] = (),
    keys: Sequence[str] = (),
    keys_file: Path | None = None,
    secrets: Sequence[str] = (),
    public_url: str | None = None,
) -> ProfileReceiver:
    """The receiving side of a profile, with the keys that were given, and a word on what it plays.

    Raises: Invalid, which says what is missing and how it is given.
    """
    try:
        played = profile(source, dict(_pairs(settings, "--set")))
        texts = _keys(played, keys, keys_file, secrets)
        receiver = ProfileReceiver(played, texts, url=public_url)
    except ProfileError as error:
        told = Invalid(f"--profile: {error}")
        told.add_note(
            "settings are given as --set NAME=TEXT; `posthouse profiles show NAME` lists a profile's settings and keys"
        )
        raise told from None
    except ReceiverError as error:
        raise Invalid(str(error)) from None
    note(f"this plays {played.title or played.name}: {played.about}")
    note(f"keys: {', '.join(sorted(texts)) or 'none, so that nothing is verified'}")
    if public_url is not None:
        note(f"requests are sent to {public_url}, as signatures have it")
    return receiver


def _keys(played: Profile, given: Sequence[str], file: Path | None, secrets: Sequence[str]) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {} if file is None else _from_file(file)
    for name, text in _pairs(given, "--named-key"):
        texts.setdefault(name, []).append(_read(text))
    if secrets:
        texts.setdefault(OWN_SECRET, []).extend(secrets)
    for key in played.keys:
        if key.name not in texts and (found := os.environ.get(_variable(key.name))):
            texts[key.name] = [found]
    missing = [key for key in played.keys if key.name not in texts]
    if missing:
        listed = "".join(f"\n  {key.name}  {key.about}" for key in missing)
        raise Invalid(
            f"the profile {played.name} needs keys, those that the endpoint has:{listed}\n"
            f"Give each as --named-key {missing[0].name}=TEXT (@FILE reads a file), in a JSON file with --keys-file, or in "
            f"the environment: {_variable(missing[0].name)}"
        )
    return texts


def _variable(name: str) -> str:
    return FROM_ENVIRONMENT + name.upper().replace("-", "_")


def _pairs(words: Sequence[str], flag: str) -> list[tuple[str, str]]:
    pairs = []
    for word in words:
        name, mark, text = word.partition("=")
        if not mark or not name:
            raise Invalid(f"{flag} takes NAME=TEXT")
        pairs.append((name, text))
    return pairs


def _read(text: str) -> str:
    if not text.startswith("@"):
        return text
    return _content(Path(text[1:]), "--named-key").removesuffix("\n").removesuffix("\r")


def _from_file(path: Path) -> dict[str, list[str]]:
    try:
        read = json.loads(_content(path, "--keys-file"))
    except (ValueError, RecursionError):
        raise Invalid(f'--keys-file: {path} is not JSON: {{"name": "text", …}}') from None
    texts: dict[str, list[str]] = {}
    for name, value in read.items() if isinstance(read, dict) else [("", None)]:
        listed = [value] if isinstance(value, str) else value
        if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
            raise Invalid(f"--keys-file: {path} is an object of texts, or of lists of texts")
        texts[name] = listed
    return texts


def _content(path: Path, flag: str) -> str:
    try:
        if path.stat().st_size > KEYS_BYTES_MAX:
            raise Invalid(f"{flag}: {path} has more than {KEYS_BYTES_MAX} bytes")
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"{flag}: {path} cannot be read: {getattr(error, 'strerror', None) or 'no text'}") from None


async def _confirmed(url: str) -> str:
    """What came of going there."""
    if urlsplit(url).scheme not in ("http", "https"):
        return "not confirmed: this is no URL of http or https"

    def get() -> int:
        with urllib.request.urlopen(url, timeout=CONFIRM_SECONDS) as answer:  # noqa: S310 - judged above
            status: int = answer.status
            return status

    try:
        return f"confirmed: {await asyncio.to_thread(get)}"
    except (OSError, ValueError) as error:
        return f"not confirmed: {error}"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
