"""An endpoint as we speak to it: its current revision, compiled, and how it has been doing."""

from __future__ import annotations

import structlog

from posthouse.domain.circuit import Health
from posthouse.domain.delivery import HealthTurn
from posthouse.domain.endpoint import Endpoint
from posthouse.domain.errors import Invalid
from posthouse.wire.render import Renderer

log = structlog.get_logger()


class Peer:
    """`failing_since` (unix seconds) is since when the endpoint has confirmed nothing, None while it confirms.

    `renderer` is None where the stored endpoint cannot be spoken to (a URL or a secret that is refused by now): that is for
    us to mend, so its deliveries wait.
    """

    __slots__ = ("endpoint", "failing_since", "renderer")

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.renderer = _compiled(endpoint)
        self.failing_since = endpoint.health.failing_since

    def configure(self, endpoint: Endpoint) -> None:
        """Go on with another revision; requests under way finish with the one they began with."""
        if endpoint.revision != self.endpoint.revision or endpoint.secrets != self.endpoint.secrets:
            self.renderer = _compiled(endpoint)
        if endpoint.enabled and not self.endpoint.enabled:
            self.failing_since = None
        self.endpoint = endpoint

    def answered(self, *, confirmed: bool, now: float) -> HealthTurn | None:
        """Note an attempt's end; the turn, where the endpoint began to fail or confirms again."""
        if confirmed == (self.failing_since is None):
            return None
        self.failing_since = None if confirmed else now
        return HealthTurn(self.endpoint.partition, self.endpoint.id, Health(failing_since=self.failing_since))


def _compiled(endpoint: Endpoint) -> Renderer | None:
    try:
        return Renderer(endpoint)
    except (Invalid, ValueError) as error:
        log.error("endpoint.unusable", endpoint=endpoint.id.hex(), revision=endpoint.revision, error=str(error))
        return None
