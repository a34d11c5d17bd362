"""The commands, as a person runs them: real processes, real ports."""

from __future__ import annotations

import gzip
import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import PATIENCE_SECONDS, environment, run, running
from tests.postgres import open_folder

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def test_help_loads_nothing_heavy() -> None:
    """What makes `posthouse --help` quick: no command's module, no framework, no driver."""
    code = (
        "import sys; sys.argv = ['posthouse', '--help']\n"
        "from posthouse.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'fastapi', 'asyncpg', 'pydantic', 'uvicorn', 'structlog', 'cryptography', 'posthouse.bootstrap'}\n"
        "print('LOADED', sorted(heavy & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, timeout=30)
    assert "LOADED []" in told.stdout, told.stdout + told.stderr
    for command in ("demo", "serve", "listen", "trigger", "keys", "migrate"):
        assert command in told.stdout


def test_demo_tells_the_story() -> None:
    told = run("demo")
    assert told.returncode == 0, told.stdout + told.stderr
    for fact in (
        "John Doe",
        "verified",
        "answers 503",
        "closed is disabled: gone",
        "0 still owed",
        "That is the story.",
    ):
        assert fact in told.stdout
    assert "Traceback" not in told.stderr


def test_serve_from_first_start_to_stop(folder: Path) -> None:
    data = str(folder / "data")
    with running("serve", "--port", "0", "--data-dir", data, "--dev") as server:
        key = server.until(r"(ph_\S+)\n")[1]
        url = server.until(r"listens on (http://\S+);")[1]
        reach = {"POSTHOUSE_URL": url, "POSTHOUSE_KEY": key}
        code = server.until(rf"(?m)^  {re.escape(url)}/#/in\?code=(\S{{43}})$")[1]
        assert not [line for line in server.said.splitlines() if line.startswith("{") and code in line], "in no log"

        other = run("serve", "--port", "0", "--data-dir", data)
        assert other.returncode == 1
        assert "in use" in other.stderr

        made = run("keys", "create", "--name", "second", **reach)
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("ph_")
        rows = [json.loads(line) for line in run("keys", "list", **reach).stdout.splitlines()]
        assert len(rows) == 2
        second = next(row for row in rows if row["name"] == "second")
        assert run("keys", "revoke", second["id"], **reach).returncode == 0
        refused = run("keys", "list", POSTHOUSE_URL=url, POSTHOUSE_KEY=made.stdout.strip())
        assert refused.returncode == 3, "a revoked key"

        unknown = run("trigger", "user_register", "--app", "nobody", "--data", "{}", **reach)
        assert unknown.returncode == 4
        assert "nobody" in unknown.stderr
        broken = run("trigger", "user_register", "--app", "nobody", "--data", "{", **reach)
        assert broken.returncode == 2
        assert "JSON" in broken.stderr

        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_SECONDS) == 0
    with running("serve", "--port", "0", "--data-dir", data) as server:
        server.until(r"listens on")
        assert "ph_" not in server.said, "the first key is shown once"


def test_commands_say_when_there_is_no_server() -> None:
    told = run("keys", "list", POSTHOUSE_URL=UNREACHABLE, POSTHOUSE_KEY="ph_x")
    assert told.returncode == 7
    assert "posthouse serve" in told.stderr
    assert run("keys", "list", POSTHOUSE_URL=UNREACHABLE).returncode == 3


def test_an_option_without_its_value_is_told_as_other_errors_are() -> None:
    told = run("events", "list", "--limit")
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        "posthouse: --limit needs a value after it: a whole number\n"
        "  --limit: How many at most.\n"
        "  `posthouse events list --help` says what there is\n"
    )


def test_the_help_of_a_command_is_all_of_it() -> None:
    told = run("doctor", "--help")
    assert "It looks at this machine" in told.stdout, "not only what the list of commands says"
    assert "Seal every app's data key" in run("keys", "rekey", "--help").stdout


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("POSTHOUSE_PORT", "99999", "POSTHOUSE_PORT: "),
        ("POSTHOUSE_ALLOWED_NETWORKS", "10.0.0.0/99", "POSTHOUSE_ALLOWED_NETWORKS: "),
    ],
)
def test_a_bad_setting_is_named(setting: str, value: str, said: str) -> None:
    told = run("serve", **{setting: value})
    assert told.returncode == 2
    assert said in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"POSTHOUSE_CA_FILE": "/nowhere.pem"}, "POSTHOUSE_CA_FILE: .*/nowhere.pem .*No such file .*in PEM form"),
        ({"POSTHOUSE_CA_FILE": __file__}, r"POSTHOUSE_CA_FILE: .*\(no certificates\).*in PEM form"),
        ({"POSTHOUSE_PROXIES": "eu=socks5://h:1"}, r"POSTHOUSE_PROXIES: .*'eu' must be given as http://host:port"),
        ({"POSTHOUSE_PROFILES": "/nowhere"}, "POSTHOUSE_PROFILES: .*/nowhere .*a TOML file for each"),
        ({"POSTHOUSE_MASTER_KEY": "short"}, "POSTHOUSE_MASTER_KEY: .*openssl rand"),
        ({"POSTHOUSE_MASTER_KEY_FILE": "/nowhere"}, "POSTHOUSE_MASTER_KEY_FILE: .*/nowhere cannot be read"),
        ({"POSTHOUSE_ADMIN_KEY": "short"}, "POSTHOUSE_ADMIN_KEY: .*16 to 256"),
        (
            {"POSTHOUSE_DATABASE_URL": "mysql://h/d"},
            "POSTHOUSE_DATABASE_URL: .*postgresql://.*; POSTHOUSE_MASTER_KEY: ",
        ),
        ({"POSTHOUSE_DATABASE_DIRECT_URL": "postgresql://h/d"}, "POSTHOUSE_DATABASE_DIRECT_URL: .*pooler"),
    ],
)
def test_what_a_setting_points_to_is_looked_at_before_anything_begins(
    tmp_path: Path, settings: dict[str, str], said: str
) -> None:
    told = run("serve", "--workers", "2", "--data-dir", str(tmp_path / "data"), **settings)
    assert told.returncode == 2, told.stderr
    assert re.match(f"posthouse: bad settings: {said}", told.stderr)
    assert "short" not in told.stderr
    assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()


def test_a_variable_that_is_no_setting_is_told_and_a_port_that_is_taken(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        told = run("serve", "--port", port, "--data-dir", str(folder / "data"), POSTHOUSE_DATABSE_URL="postgresql://x")
        assert told.returncode == 1
        warned, _, refused = told.stderr.strip().partition("\n")
        assert json.loads(warned)["did_you_mean"] == "POSTHOUSE_DATABASE_URL"
        assert refused == (
            f"posthouse: cannot listen on 127.0.0.1:{port} (Address already in use); choose another with --host and --port"
        )
        told = run("listen", "--port", port)
        assert f"cannot listen on 127.0.0.1:{port} (Address already in use); choose another with --port" in told.stderr


@pytest.mark.parametrize("secret", ["", "s3cret", "whsec_abc"])
def test_listen_does_not_begin_with_what_is_no_secret(secret: str) -> None:
    """Such as a variable that is not set in this terminal: each request would be answered with 500."""
    told = run("listen", "--port", "0", "--secret", secret)
    assert told.returncode == 2
    assert told.stderr.startswith("posthouse: --secret: ")
    assert "posthouse endpoints secret" in told.stderr


def test_listen_prints_what_arrives() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    from posthouse_sdk import Webhook

    with running("listen", "--port", "0", "--secret", secret) as listener:
        url = listener.until(r"listening on (http://\S+)/;")[1]
        body = b'{"type":"user_register","data":{}}'
        signed = urllib.request.Request(url, data=body, headers=Webhook(secret).sign("msg_1", int(time.time()), body))
        with urllib.request.urlopen(signed, timeout=20) as answer:
            assert answer.status == 200
        strange = urllib.request.Request(url, data=body, headers={"webhook-id": "msg_2"})
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(strange, timeout=20)
        first = json.loads(listener.until(r"(\{.*msg_1.*\})\n")[1])
        second = json.loads(listener.until(r"(\{.*msg_2.*\})\n")[1])
        packed = gzip.compress(body)
        headers = Webhook(secret).sign("msg_3", int(time.time()), packed) | {"content-encoding": "gzip"}
        with urllib.request.urlopen(urllib.request.Request(url, data=packed, headers=headers), timeout=20) as answer:
            assert answer.status == 200
        third = json.loads(listener.until(r"(\{.*msg_3.*\})\n")[1])
    assert (third["verdict"], third["body"]) == (first["verdict"], first["body"])
    assert first["verdict"] == "verified"
    assert first["body"] == {"type": "user_register", "data": {}}
    assert second["verdict"] != "verified"
