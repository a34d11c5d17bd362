"""The only reader of the environment: flag > environment `POSTHOUSE_*` > file > default.

Every setting is described in docs/reference/settings.md; a test compares the two.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from posthouse.domain import limits
from posthouse.domain.errors import SetupError

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Settings(BaseSettings):
    """What an operator may set. Sizes are bytes and durations seconds."""

    model_config = SettingsConfigDict(
        env_prefix="POSTHOUSE_", extra="forbid", frozen=True, toml_file="posthouse.toml", env_ignore_empty=True
    )

    database_url: SecretStr | None = None
    data_dir: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    admin_key: SecretStr | None = None
    master_key: SecretStr | None = None
    master_key_file: Path | None = None

    allow_private_targets: bool = False
    allow_loopback_targets: bool = False
    allowed_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    ca_file: Path | None = None

    auto_create_event_types: bool = False
    payload_bytes_max: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = limits.PAYLOAD_BYTES_MAX
    batch_bytes_max: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = limits.BATCH_BYTES_MAX
    pending_events_max: Annotated[int, Field(ge=1)] = limits.PENDING_EVENTS_MAX
    pending_bytes_max: Annotated[int, Field(ge=1024)] = limits.PENDING_BYTES_MAX
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = limits.BODY_READ_SECONDS

    partitions: Annotated[int, Field(ge=1, le=4096)] = limits.PARTITIONS
    sockets_max: Annotated[int, Field(ge=1, le=100_000)] = limits.SOCKETS_MAX
    in_flight_bytes_max: Annotated[int, Field(ge=1024 * 1024)] = limits.IN_FLIGHT_BYTES_MAX
    retention_days: Annotated[int, Field(ge=2, le=3650)] = limits.RETENTION_DAYS
    shutdown_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0
    log_json: bool | None = None
    log_level: str = "info"

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """`10.0.0.0/8, 192.168.1.0/24` from the environment; a list from a file."""
        if isinstance(value, str):
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)


def load(**flags: Any) -> Settings:
    """The settings, with flags that are not None above the environment. Raises SetupError, naming each bad setting."""
    try:
        return Settings(**{name: value for name, value in flags.items() if value is not None})
    except ValidationError as error:
        told = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False))
        raise SetupError(f"bad settings: {told}") from None
