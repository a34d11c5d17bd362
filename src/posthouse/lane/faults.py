"""Faults of our own in sending, as they are logged: not each of thousands a second."""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from posthouse.domain.errors import NotOwner
from posthouse.domain.ids import EndpointId

log = structlog.get_logger()

TELL_SECONDS: Final = 1.0


class FaultLog:
    """Logs one fault a second (no file descriptor is left, say), and how many it left out before. That a request was held
    back because its partition may be another process's is no fault."""

    def __init__(self) -> None:
        self._tell_at = 0.0
        self._untold = 0

    def tell(self, error: Exception, endpoint_id: EndpointId) -> None:
        if isinstance(error, NotOwner):
            log.info("lane.not_ours", endpoint=endpoint_id.hex())
            return
        now = asyncio.get_running_loop().time()
        if now >= self._tell_at:
            self._tell_at = now + TELL_SECONDS
            log.error("lane.send_failed", endpoint=endpoint_id.hex(), untold=self._untold, exc_info=error)
            self._untold = 0
        else:
            self._untold += 1
