"""Endpoints: target URLs with all that describes how to speak to them, as the engine sees them.

`Endpoint` is one compiled, immutable revision with its secrets open; it lives in memory only. `AppConfig` is what one app's
events are routed by, loaded in one snapshot.
"""

from __future__ import annotations

import msgspec

from posthouse.domain.grant import NO_SHRINKAGE, Shrinkage
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import LANE_CONCURRENCY
from posthouse.domain.retry import Retry, RetrySettings


class Timeouts(msgspec.Struct, frozen=True, gc=False):
    """Seconds allowed for each phase of an attempt; `total` bounds them all."""

    connect: float = 5.0  # DNS, TCP and TLS, each
    first_byte: float = 10.0
    total: float = 15.0


class Secret(msgspec.Struct, frozen=True, gc=False):
    """A signing secret in the clear. `kind` is the Standard Webhooks version: `v1` (HMAC) or `v1a` (ed25519)."""

    kind: str
    key: bytes  # v1: the HMAC key; v1a: the 32-byte seed

    def __repr__(self) -> str:
        return f"Secret(kind={self.kind!r}, key=<hidden>)"


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of an endpoint."""

    id: EndpointId
    app_id: AppId
    partition: int
    revision: int
    url: str
    enabled: bool = True
    paused: bool = False
    events: tuple[str, ...] = ()  # patterns; empty: all
    channels: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    retry: Retry = Retry()
    timeouts: Timeouts = Timeouts()
    concurrency: int = LANE_CONCURRENCY
    secrets: tuple[Secret, ...] = ()  # newest first; each one signs
    failing_since: float | None = None  # unix seconds: no confirmed delivery since
    grants: Shrinkage = NO_SHRINKAGE  # of its app


class EndpointConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The stored form of an endpoint: what an attempt is made with, as it was configured. One per revision."""

    url: str
    description: str = ""
    events: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    retry: RetrySettings = RetrySettings()
    timeouts: Timeouts = Timeouts()
    concurrency: int = LANE_CONCURRENCY


class AppConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What an app's events are routed by, at one version."""

    app_id: AppId
    partition: int
    version: int
    endpoints: tuple[Endpoint, ...] = ()
    grants: Shrinkage = NO_SHRINKAGE
    refresh_at: float | None = None  # unix seconds: a secret or a grant ends, and this must be loaded anew
