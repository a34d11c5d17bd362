"""When circuits open in a history: sooner than in life, and for less long."""

from __future__ import annotations

from typing import Final

from posthouse.domain.circuit import CircuitPolicy

CIRCUITS: Final = CircuitPolicy(
    requests_min=4, window_seconds=5.0, probe_seconds=0.5, probe_seconds_max=2.0, recovery_requests=3
)
