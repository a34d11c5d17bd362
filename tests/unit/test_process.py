"""What a process tells of itself."""

from __future__ import annotations

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
