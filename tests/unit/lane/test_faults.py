"""What is logged of faults of our own."""

from __future__ import annotations

from structlog.testing import capture_logs

from posthouse.domain.errors import NotOwner
from posthouse.domain.ids import EndpointId
from posthouse.lane.faults import FaultLog

ENDPOINT = EndpointId(bytes(16))


async def test_one_fault_a_second_is_logged_and_a_request_held_back_is_none() -> None:
    faults = FaultLog()
    with capture_logs() as logs:
        for _ in range(3):
            faults.tell(OSError("no file descriptor left"), ENDPOINT)
        faults.tell(NotOwner("another process's by now"), ENDPOINT)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [
        ("lane.send_failed", "error"),
        ("lane.not_ours", "info"),
    ]
