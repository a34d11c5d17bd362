"""`posthouse tail`, as a person runs it."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.commands import PATIENCE_SECONDS, run, running
from tests.integration.test_relay import KEY, ask, free_port, publish, serve
from tests.postgres import end_server, open_folder


@pytest.fixture
def folder() -> Iterator[Path]:
    with open_folder() as made:
        yield made


def test_it_tells_what_comes_and_goes_on_when_the_server_is_back(folder: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    reach = {"POSTHOUSE_URL": url, "POSTHOUSE_KEY": KEY}
    with running("tail", **reach) as everything:
        everything.until(r"reconnecting in \d+\.\d s \(no server there")
        with serve(folder, port) as server:
            server.until("listens on")
            for app in ("shop", "other"):
                ask(url, "/v1/apps", {"uid": app})
                ask(url, f"/v1/apps/{app}/endpoints", {"url": f"http://127.0.0.1:{free_port()}/hooks"})
            everything.until(r"\nconnected\n")
            with running("tail", "--app", "shop", "--outcome", "failed", "--type", "order.*", **reach) as failed:
                failed.until(r"connected\n")
                other = publish(url, "other", 0)
                publish(url, "shop", 0, type="user_register")
                event = publish(url, "shop", 1)
                told: dict[str, Any] = json.loads(failed.until(r'(\{"kind":"attempt".*\})\n')[1])
                assert (told["event"], told["outcome"], told["type"]) == (event, "failed", "order.created")
                everything.until(rf'\{{"kind":"event","id":"{other}"')
                everything.until(rf'"kind":"attempt".*{other}')
                assert other not in failed.said
                failed.process.send_signal(signal.SIGTERM)
                assert failed.process.wait(PATIENCE_SECONDS) == 0
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(PATIENCE_SECONDS)
        end_server(folder / "data")
        with serve(folder, port) as server:
            server.until("listens on")
            event = publish(url, "shop", 2)
            everything.until("connected, and going on where it was")
            everything.until(rf'\{{"kind":"event","id":"{event}"')
            everything.process.send_signal(signal.SIGINT)
            assert everything.process.wait(PATIENCE_SECONDS) == 0
            everything.until(r"4 events, \d+ attempts")
            assert run("tail", "--app", "nobody", **reach).returncode == 4
            assert run("tail", "--type", "a b", **reach).returncode == 2
            assert run("tail", POSTHOUSE_URL=url).returncode == 3
