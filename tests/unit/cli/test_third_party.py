"""`posthouse listen --profile`: what it is given, what it tells, and what it answers; without a socket."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.profiling import NOW, URL, Sent, sent_by

from posthouse.cli.third_party import ThirdParty, line, third_party
from posthouse.domain.errors import Invalid
from posthouse_sdk import ProfileReceiver

KEYS = {"app_secret": "s", "verify_token": "t"}


class Asked:
    """A third party that is asked, and what it said of that."""

    def __init__(self, receiver: ProfileReceiver, **options: Any) -> None:
        self.rows: list[dict[str, Any]] = []
        self._app = ThirdParty(receiver, self.rows.append, **options)

    async def __call__(self, sent: Sent, *, doubled: bool = False) -> tuple[int, dict[str, str], bytes]:
        path, _, query = sent.url.removeprefix("https://isv.example").partition("?")
        headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.headers.items()]
        scope = {
            "type": "http",
            "method": sent.method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [*headers, (b"x-hub-signature-256", b"sha256=00")] if doubled else headers,
        }
        answered: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": sent.body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            answered.append(message)

        await self._app(scope, receive, send)
        start, body = answered
        return start["status"], {name.decode(): value.decode() for name, value in start["headers"]}, body["body"]


def meta(**options: Any) -> Asked:
    return Asked(ProfileReceiver("meta", KEYS, clock=lambda: NOW), **options)


async def test_an_event_is_told_and_confirmed() -> None:
    asked = meta()
    assert await asked(sent_by("meta", KEYS)) == (200, {"content-length": "0"}, b"")
    (row,) = asked.rows
    assert (row["verdict"], row["method"], row["path"], row["data"]["order"]) == ("verified", "POST", "/hook", "A-1")
    assert "verified" in line(row)
    assert "A-1" in line(row)


async def test_another_status_may_be_asked_for() -> None:
    assert (await meta(status=503)(sent_by("meta", KEYS)))[0] == 503


async def test_a_handshake_is_answered_whatever_the_status() -> None:
    asked = meta(status=503)
    query = "hub.mode=subscribe&hub.challenge=42&hub.verify_token=t"
    status, headers, body = await asked(Sent("GET", f"{URL}&{query}", {"Host": "isv.example"}, b""))
    assert (status, body, headers["Content-Type"]) == (200, b"42", "text/plain; charset=utf-8")
    assert "handshake endpoint.verification, answered" in line(asked.rows[0])


async def test_what_is_not_the_senders_is_refused() -> None:
    asked, came = meta(), sent_by("meta", KEYS)
    status, _, body = await asked(came._replace(body=came.body + b" "))
    assert status == 401
    assert b"no signature was made with a key given here" in body
    assert (await asked(came, doubled=True))[0] == 400
    assert [row["verdict"].partition(":")[0] for row in asked.rows] == [
        "NoMatchingSignatureError",
        "MalformedHeaderError",
    ]


CONFIRMATION = {"kind": "json", "body": {"SubscribeURL": "{confirm_url}"}}


async def test_a_url_that_confirms_is_followed_where_that_is_wanted() -> None:
    profile = {
        "name": "sns",
        "endpoint": {
            "signing": [],
            "format": "raw",
            "handshake": {
                "steps": [{"kind": "confirm", "format": {"kind": "json", "body": {"SubscribeURL": "{confirm_url}"}}}]
            },
        },
    }
    with_target = json.dumps({"SubscribeURL": "ftp://a/"}).encode()
    for confirm in (False, True):
        asked = Asked(ProfileReceiver(profile, {}), confirm=confirm)
        await asked(Sent("POST", URL, {}, with_target))
        assert asked.rows[0]["confirm_url"] == "ftp://a/"
        assert [row["verdict"] for row in asked.rows[1:]] == (
            ["not confirmed: this is no URL of http or https"] if confirm else []
        )


def test_keys_come_from_words_files_and_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "keys.json").write_text(json.dumps({"app_secret": ["s", "old"]}))
    (tmp_path / "token").write_text("t\n")
    monkeypatch.setenv("POSTHOUSE_LISTEN_KEY_VERIFY_TOKEN", "t")
    came = sent_by("meta", KEYS)
    for receiver in (
        third_party("meta", keys_file=tmp_path / "keys.json"),
        third_party("meta", keys=["app_secret=s", f"verify_token=@{tmp_path / 'token'}"]),
    ):
        assert receiver.receive(*came).event is not None
        query = "hub.mode=subscribe&hub.challenge=42&hub.verify_token=t"
        assert receiver.receive("GET", f"/?{query}", {}, b"").body == b"42"
    said = capsys.readouterr().err
    assert "this plays Meta" in said
    assert "keys: app_secret, verify_token" in said
    assert "old" not in said


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "numbers.json").write_text('{"app_secret": 1}')
    (tmp_path / "bytes").write_bytes(b"\xff")
    return tmp_path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "needs keys, those that the endpoint has:\n  app_secret  The app's secret, which signs.\n  verify_token"),
        ({"keys": ["app_secret=s"]}, "POSTHOUSE_LISTEN_KEY_VERIFY_TOKEN"),
        ({"keys": ["app_secret"]}, "--named-key takes NAME=TEXT"),
        ({"keys": ["app_secret=@nowhere"]}, "nowhere cannot be read"),
        ({"settings": ["color=red"]}, "no such setting"),
        ({"keys_file": "list.json"}, "is an object of texts"),
        ({"keys_file": "numbers.json"}, "is an object of texts"),
        ({"keys_file": "bytes"}, "cannot be read"),
        ({"source": "nobody"}, "there is no profile nobody"),
        ({"keys": ["app_secret=s", "verify_token=t", "other=1"]}, "has no key other"),
    ],
)
def test_what_is_missing_is_told(files: Path, options: dict[str, Any], said: str) -> None:
    given = {"source": "meta"} | options
    if "keys_file" in given:
        given["keys_file"] = files / given["keys_file"]
    with pytest.raises(Invalid) as error:
        third_party(**given)
    assert said in str(error.value)
