"""The configuration: event types, apps, endpoints with their secrets, API keys; and the audit of who changed it.

A change is one transaction: what changed, its audit entry, and the counters by which owners and caches notice. Changes are
pure functions that the store applies to a locked row, so that two of them never lose each other's fields. Times are unix
seconds. Whoever names a thing that is not there (any more) gets None.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Any, Final, Protocol

import msgspec

from posthouse.domain.access import Principal, Scope
from posthouse.domain.circuit import HEALTHY, Health
from posthouse.domain.endpoint import EndpointConfig, Secret
from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.named_keys import KeyVersion
from posthouse.domain.quota import UNLIMITED, Quotas
from posthouse.domain.verification import Verification
from posthouse.ports.event_types import EventTypeStore
from posthouse.ports.portal import PortalStore
from posthouse.ports.sessions import SessionStore

SYSTEM: Final = "system"
"""The actor of what Posthouse does by itself."""


class Audit(msgspec.Struct, frozen=True):
    """Who did what to which thing. Never holds a secret."""

    actor: str
    action: str
    object: str
    detail: dict[str, Any] = {}


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An audit entry on record, with the name of the key that its actor is, as it is now. Times are unix microseconds."""

    id: int
    at_us: int
    actor: str
    actor_name: str
    action: str
    object: str
    detail: dict[str, Any]


class AuditQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries, newest first: those before (unix microseconds, id), and of these. `kind` is what stands before the
    dot of an action."""

    before: tuple[int, int]
    since_us: int
    actor: str | None = None
    object: str | None = None
    kind: str | None = None
    action: str | None = None


class App(msgspec.Struct, frozen=True, kw_only=True):
    """A consumer of the platform. `uid` is the platform's own name for it."""

    id: AppId
    partition: int = -1  # chosen as it is stored
    uid: str | None = None
    name: str = ""
    metadata: dict[str, Any] = {}
    quotas: Quotas = UNLIMITED
    created_at: float = 0.0
    updated_at: float = 0.0


class StoredEndpoint(msgspec.Struct, frozen=True, kw_only=True):
    """An endpoint as it is managed. `revision` counts the changes of `config`."""

    id: EndpointId
    app_id: AppId
    config: EndpointConfig
    uid: str | None = None
    revision: int = 1
    metadata: dict[str, Any] = {}
    enabled: bool = True
    disabled_reason: str | None = None
    disabled_at: float | None = None
    paused: bool = False
    keys: tuple[str, ...] = ()  # the names of its named keys
    health: Health = HEALTHY
    verification: Verification | None = None  # None without a handshake
    created_at: float = 0.0
    updated_at: float = 0.0


class EndpointRevision(msgspec.Struct, frozen=True):
    """What requests were made with from `created_at` on, until the next revision."""

    revision: int
    config: EndpointConfig
    created_at: float


class StoredSecret(msgspec.Struct, frozen=True):
    """A signing secret in the clear; `expires_at` ends the overlap of a rotation."""

    secret: Secret
    version: int
    created_at: float
    expires_at: float | None


SecretsCheck = Callable[[Sequence[StoredSecret]], None]
"""May object to the secrets of an endpoint, newest first, by raising."""


ChangeKeys = Callable[[EndpointConfig, Sequence[KeyVersion]], Sequence[KeyVersion]]
"""The versions of an endpoint's named keys as they shall be, given its configuration (after a change of that) and those that
there are, opened, live or not. Objects by raising."""


def keep_keys(_config: EndpointConfig, versions: Sequence[KeyVersion]) -> Sequence[KeyVersion]:
    """The keys stay as they are."""
    return versions


class Waiting(StrEnum):
    """Why an endpoint that is enabled is sent nothing for now."""

    PAUSED = "paused"
    CIRCUIT_OPEN = "circuit_open"  # also while it is tried whether it may be closed
    UNVERIFIED = "unverified"


class EndpointFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Those that are enabled (or are not), that wait for this, and that `text` finds: the one with this id, and those whose
    uid or URL (with or without its scheme) begins with it."""

    enabled: bool | None = None
    waiting: Waiting | None = None
    text: str | None = None


EVERY_ENDPOINT: Final = EndpointFilter()


class ApiKey(msgspec.Struct, frozen=True, kw_only=True):
    """An API key on record; the key itself is known to its holder alone."""

    id: bytes
    hint: str
    scope: Scope
    name: str = ""
    app_id: AppId | None = None
    created_at: float = 0.0
    revoked_at: float | None = None


class Directory(EventTypeStore, SessionStore, PortalStore, Protocol):
    async def installation_id(self) -> bytes:
        """Sixteen random bytes, the same for all processes, made with the installation."""
        ...

    # Apps, newest first

    async def apps(self, *, before: bytes, limit: int) -> list[App]: ...

    async def find_apps(self, text: str, *, limit: int) -> list[App]:
        """Those with this id, and those whose uid or name (in any case) begins with it: the newest of the first thousand."""
        ...

    async def get_app(self, reference: str) -> App | None:
        """The app with this id or uid."""
        ...

    async def create_app(self, app: App, audit: Audit) -> App:
        """Raises Conflict where the uid is taken."""
        ...

    async def change_app(self, app_id: AppId, change: Callable[[App], App], audit: Audit) -> App | None:
        """Raises Conflict where the uid is taken. Intake notices other quotas within a second."""
        ...

    async def delete_app(self, app_id: AppId, audit: Audit, *, check: Callable[[App], None] | None = None) -> bool:
        """With its endpoints, their secrets and keys, its grants, schedules and API keys; whether it was there. `check` may
        object by raising. Raises Conflict (code `app_has_triggers`) while triggers publish to it."""
        ...

    # Endpoints, newest first

    async def endpoints(
        self, app_id: AppId, *, before: bytes, limit: int, which: EndpointFilter = EVERY_ENDPOINT
    ) -> list[StoredEndpoint]:
        """Of an app."""
        ...

    async def all_endpoints(self, *, before: bytes, limit: int, which: EndpointFilter) -> list[StoredEndpoint]:
        """Of every app. What a text finds comes at once, whatever `before` is: the newest of the first thousand."""
        ...

    async def get_endpoint(self, app_id: AppId, reference: str) -> StoredEndpoint | None:
        """The app's endpoint with this id or uid."""
        ...

    async def create_endpoint(
        self,
        endpoint: StoredEndpoint,
        secret: Secret,
        audit: Audit,
        *,
        endpoints_max: int,
        change_keys: ChangeKeys = keep_keys,
    ) -> StoredEndpoint | None:
        """None where the app is gone. Raises Conflict where the uid is taken or the app has `endpoints_max` of them, and
        QuotaExceeded where its quota does not allow another one."""
        ...

    async def change_endpoint(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        change: Callable[[StoredEndpoint], StoredEndpoint],
        audit: Audit,
        *,
        check_secrets: SecretsCheck | None = None,
        change_keys: ChangeKeys = keep_keys,
    ) -> StoredEndpoint | None:
        """A raised `revision` is kept on record. One that is enabled again counts as not failing. `check_secrets` sees all
        that are kept, also those that sign no more. Raises Conflict where the uid is taken."""
        ...

    async def delete_endpoint(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        audit: Audit,
        *,
        check: Callable[[StoredEndpoint], None] | None = None,
    ) -> bool:
        """With its secrets and keys; whether it was there. `check` may object by raising. What it is owed is settled by its
        partition's owner."""
        ...

    async def endpoint_revisions(
        self, app_id: AppId, endpoint_id: EndpointId, *, before: int, limit: int
    ) -> list[EndpointRevision]:
        """Newest first, from below the revision `before`."""
        ...

    async def secrets(
        self, app_id: AppId, endpoint_id: EndpointId, *, now: float, audit: Audit
    ) -> list[StoredSecret] | None:
        """The secrets that sign at `now`, newest first. Reading them is on record."""
        ...

    async def rotate_secret(
        self,
        app_id: AppId,
        endpoint_id: EndpointId,
        secret: Secret,
        *,
        check: SecretsCheck,
        now: float,
        expires_at: float,
        audit: Audit,
    ) -> bool:
        """A new secret; the others sign until `expires_at` at the latest. `check` may object by raising. False: gone."""
        ...

    async def endpoint_keys(self, app_id: AppId, endpoint_id: EndpointId) -> list[KeyVersion] | None:
        """By name, newest first, live or not; without their texts."""
        ...

    async def change_endpoint_keys(
        self, app_id: AppId, endpoint_id: EndpointId, change: ChangeKeys, audit: Audit
    ) -> list[KeyVersion] | None:
        """Raises what `change` does. The keys afterwards, as `endpoint_keys` tells of them."""
        ...

    # API keys, newest first

    async def keys(self, *, before: bytes, limit: int) -> list[ApiKey]: ...

    async def principal(self, key_hash: bytes) -> Principal | None:
        """The holder of the key with this SHA-256, if it is neither revoked nor of an app that is gone."""
        ...

    async def create_key(self, key: ApiKey, key_hash: bytes, audit: Audit) -> ApiKey | None:
        """None where its app is gone. Raises Conflict where this very key exists already."""
        ...

    async def create_first_key(self, key: ApiKey, key_hash: bytes, audit: Audit) -> bool:
        """Store an administrator's key unless there is one that works; whether it was stored."""
        ...

    async def revoke_key(self, key_id: bytes, audit: Audit) -> ApiKey | None:
        """None: there is none such that works. Raises Conflict for the last key of an administrator."""
        ...

    # The audit

    async def record(self, audit: Audit) -> None:
        """Put on record what changes nothing here."""
        ...

    async def audit_entries(self, query: AuditQuery, *, limit: int) -> list[AuditEntry]: ...
