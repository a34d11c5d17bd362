"""As many files as may be, and of them as many for clients as targets leave."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from posthouse.adapters.system.open_files import open_as_many_as_may_be, room_for_clients
from posthouse.domain.limits import CLIENTS_MAX, CLIENTS_MIN, FILES_BESIDE_SOCKETS


@pytest.mark.parametrize(
    ("files", "clients"),
    [
        (None, CLIENTS_MAX),
        (1_000_000, CLIENTS_MAX),
        (1_000 + FILES_BESIDE_SOCKETS + 824, 824),
        (1_000, CLIENTS_MIN),
    ],
)
def test_clients_have_what_targets_leave(files: int | None, clients: int) -> None:
    assert room_for_clients(files, sockets_max=1_000) == clients


def test_the_limit_is_raised_as_far_as_it_may_be() -> None:
    """In a process of its own."""
    program = """
import resource
from posthouse.adapters.system.open_files import open_as_many_as_may_be
resource.setrlimit(resource.RLIMIT_NOFILE, (256, 512))
print(open_as_many_as_may_be(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert told.stdout.split("\n")[0] == "512 (512, 512)"


def test_what_cannot_be_raised_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ValueError("the kernel has another")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refused)
    assert open_as_many_as_may_be() == 256
