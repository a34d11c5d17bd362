"""What a process tells of itself."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from posthouse import config
from posthouse.process import Process


class Opened(Process):
    async def link_code(self) -> str | None:
        return "c0de" if self.has_console else None


@pytest.mark.parametrize(
    ("settings", "link"),
    [
        ({}, "http://127.0.0.1:8080/#/in?code=c0de"),
        ({"host": "10.1.2.3", "port": 99}, "http://10.1.2.3:99/#/in?code=c0de"),
        ({"host": "::1"}, "http://[::1]:8080/#/in?code=c0de"),
        ({"host": "0.0.0.0"}, "http://127.0.0.1:8080/#/in?code=c0de"),
        ({"host": "::"}, "http://[::1]:8080/#/in?code=c0de"),
        ({"host": "0.0.0.0", "public_url": "https://a.example/ops/"}, "https://a.example/ops/#/in?code=c0de"),
        ({"role": "api"}, "http://127.0.0.1:8080/#/in?code=c0de"),
        ({"role": "worker"}, None),
        ({"console": False}, None),
        ({"console": "off"}, None),
    ],
)
async def test_the_link_leads_to_where_a_browser_finds_the_console(settings: dict[str, Any], link: str | None) -> None:
    assert await Opened(config.load(**settings)).sign_in_link() == link


class Slow(Process):
    """Its start takes until somebody ends it."""

    def __init__(self) -> None:
        super().__init__(config.load())
        self.begun = asyncio.Event()
        self.closed = 0

    async def open(self) -> None:
        self.begun.set()
        await asyncio.Event().wait()

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed += 1


@pytest.mark.parametrize(
    ("number", "ending"),
    [(signal.SIGTERM, SystemExit), (signal.SIGHUP, SystemExit), (signal.SIGINT, KeyboardInterrupt)],
)
def test_a_signal_ends_a_start_in_order(number: signal.Signals, ending: type[BaseException]) -> None:
    async def start(process: Slow) -> None:
        process.stop_on_signals()
        async with process:
            raise AssertionError("it never starts")

    async def test() -> None:
        process = Slow()
        starting = asyncio.get_running_loop().create_task(start(process))
        await process.begun.wait()
        os.kill(os.getpid(), number)
        try:
            await starting
        finally:
            assert process.closed == 1

    before = signal.getsignal(signal.SIGHUP)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    try:
        with pytest.raises(ending) as ended:
            asyncio.run(test())
        assert getattr(ended.value, "code", 0) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


async def test_a_hang_up_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        Opened(config.load()).stop_on_signals()
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(number)
