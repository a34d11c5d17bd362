"""Apps and keys."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from pydantic import Field

from posthouse.api.models.common import Answer, Body, Metadata, Time, Uid, optional_time, time_of
from posthouse.domain.ids import APP, KEY, format_id
from posthouse.domain.limits import (
    ENDPOINTS_PER_APP_MAX,
    NAME_LENGTH_MAX,
    QUOTA_PUBLISH_PER_SECOND_MAX,
    QUOTA_STORED_BYTES_MAX,
)
from posthouse.domain.quota import UNLIMITED, Quotas
from posthouse.manage.apps import AppChange
from posthouse.ports.directory import ApiKey, App


class QuotasBody(Body):
    """What an app may use; null, or left out, is no limit of its own."""

    publish_per_second: Annotated[
        float | None,
        Field(
            description=(
                "Events a second, in each server process by itself. A batch may exceed it, and is paid for by what comes "
                "after it."
            ),
            json_schema_extra={"exclusiveMinimum": 0, "maximum": QUOTA_PUBLISH_PER_SECOND_MAX},
        ),
    ] = None
    endpoints_max: Annotated[
        int | None,
        Field(
            description="Endpoints that it may have. Those it has stay.",
            json_schema_extra={"minimum": 0, "maximum": ENDPOINTS_PER_APP_MAX},
        ),
    ] = None
    stored_bytes_max: Annotated[
        int | None,
        Field(
            description="Bytes of the payloads of its events that are kept; measured every minute.",
            json_schema_extra={"minimum": 0, "maximum": QUOTA_STORED_BYTES_MAX},
        ),
    ] = None

    def quotas(self) -> Quotas:
        return Quotas(
            publish_per_second=self.publish_per_second,
            endpoints_max=self.endpoints_max,
            stored_bytes_max=self.stored_bytes_max,
        )


class QuotasAnswer(Answer):
    """What an app may use; null is no limit of its own."""

    publish_per_second: float | None
    endpoints_max: int | None
    stored_bytes_max: int | None


class AppFields(Body):
    """An app, or what changes of it: fields that are left out stay as they are."""

    uid: Uid = None
    name: Annotated[str | None, Field(max_length=NAME_LENGTH_MAX)] = None
    metadata: Metadata = None
    quotas: Annotated[QuotasBody | None, Field(description="Replaced as a whole. Default: no limits.")] = None

    def change(self) -> AppChange:
        given = self.model_fields_set
        quotas = UNLIMITED if self.quotas is None else self.quotas.quotas()
        return AppChange(
            uid=self.uid if "uid" in given else msgspec.UNSET,
            name=(self.name or "") if "name" in given else msgspec.UNSET,
            metadata=(self.metadata or {}) if "metadata" in given else msgspec.UNSET,
            quotas=quotas if "quotas" in given else msgspec.UNSET,
        )


class AppAnswer(Answer):
    """An app: one consumer of the platform."""

    id: Annotated[str, Field(examples=["app_06b1v8k3m5x7q2n9r4t6w8y0aa"])]
    uid: str | None
    name: str
    metadata: dict[str, Any]
    quotas: QuotasAnswer
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, app: App) -> AppAnswer:
        return cls(
            id=format_id(APP, app.id),
            uid=app.uid,
            name=app.name,
            metadata=app.metadata,
            quotas=QuotasAnswer(
                publish_per_second=app.quotas.publish_per_second,
                endpoints_max=app.quotas.endpoints_max,
                stored_bytes_max=app.quotas.stored_bytes_max,
            ),
            created_at=time_of(app.created_at),
            updated_at=time_of(app.updated_at),
        )


class AppPage(Answer):
    """Apps, newest first."""

    data: list[AppAnswer]
    next: str | None


class KeyCreate(Body):
    """A new API key."""

    name: Annotated[str | None, Field(max_length=NAME_LENGTH_MAX, description="To know it by.")] = None
    scope: Annotated[
        Literal["admin", "app", "publish"],
        Field(description="What it may do: everything; look after one app; or publish events, and nothing else."),
    ]
    app: Annotated[
        str | None,
        Field(
            description="Id or uid of the app: with scope app; with scope publish where it may publish in that one alone."
        ),
    ] = None


class KeyAnswer(Answer):
    """An API key, without the key."""

    id: str
    name: str
    hint: Annotated[str, Field(description="How the key begins.")]
    scope: Literal["admin", "app", "publish"]
    app: Annotated[str | None, Field(description="Id of its app: null where it is bound to none.")]
    created_at: Time
    revoked_at: Time | None

    @classmethod
    def of(cls, key: ApiKey) -> KeyAnswer:
        return cls(**_key_fields(key))


class KeyCreated(KeyAnswer):
    """A new API key. This is the only time that the key itself is told."""

    key: Annotated[str, Field(examples=["ph_…"])]

    @classmethod
    def with_key(cls, key: ApiKey, token: str) -> KeyCreated:
        return cls(**_key_fields(key), key=token)


class KeyPage(Answer):
    """API keys that work, newest first."""

    data: list[KeyAnswer]
    next: str | None


def _key_fields(key: ApiKey) -> dict[str, Any]:
    return {
        "id": format_id(KEY, key.id),
        "name": key.name,
        "hint": key.hint,
        "scope": key.scope.value,
        "app": None if key.app_id is None else format_id(APP, key.app_id),
        "created_at": time_of(key.created_at),
        "revoked_at": optional_time(key.revoked_at),
    }
