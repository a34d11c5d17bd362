"""The only reader of the environment: flag > environment `POSTHOUSE_*` > file > default.

The text under each setting is what docs/en/reference/settings.md says of it (`make reference`).
"""

from __future__ import annotations

import difflib
import ipaddress
import logging
import os
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from posthouse.domain import limits
from posthouse.domain.access import Page
from posthouse.domain.circuit import CircuitPolicy
from posthouse.domain.egress import AllowedEgress
from posthouse.domain.errors import Invalid, SetupError
from posthouse.wire.target import parse_target

_CIRCUIT = CircuitPolicy()

PREFIX: Final = "POSTHOUSE_"
FILE: Final = "posthouse.toml"
# Of commands of ours that are no server, and what Kubernetes sets for a service named posthouse.
_NOT_SETTINGS: Final = re.compile(
    r"POSTHOUSE_(?:URL|KEY|API_KEY|OUTBOX_DSN|LISTEN_KEY_.*|SERVICE_(?:HOST|PORT).*|PORT_\d+_.*)"
)
_FLAGS: Final = {"allow_loopback_targets": "dev", "allowed_networks": "allow-network"}

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def _public_url(url: str) -> str:
    if url:
        try:
            target = parse_target(url)
        except Invalid as error:
            raise PydanticCustomError("public_url", "{why}", {"why": str(error)}) from None
        if "?" in target.path:
            raise PydanticCustomError("public_url", "the URL has a query, and paths are appended to it")
    return url.rstrip("/")


class Settings(BaseSettings):
    """What an operator may set. Sizes are bytes and durations seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        toml_file=FILE,
        env_ignore_empty=True,
        use_attribute_docstrings=True,
    )

    database_url: SecretStr | None = None
    """Any PostgreSQL 15 or newer, such as `postgresql://user:password@host/db`; without it one is started for you."""
    database_direct_url: SecretStr | None = None
    """PostgreSQL itself, where `database_url` names a pooler in transaction mode: for what needs a session of its own."""
    data_dir: Path | None = None
    """Embedded database, master key, lock; by default the platform's folder for user data, `/var/lib/posthouse` for root."""
    host: str = "127.0.0.1"
    """The address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """The port to listen on; 0 takes a free one."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes that serve on this port together."""
    role: Literal["all", "api", "worker"] = "all"
    """`api` answers requests and owns no partitions; `worker` owns partitions and answers only health and metrics."""
    admin_key: SecretStr | None = None
    """The first admin key, for automation; where there is none, one is made and printed once."""
    master_key: SecretStr | None = None
    """The key that seals secrets in the store: 32 bytes in base64 or hex."""
    master_key_file: Path | None = None
    """A file that holds it; by default `master.key` in the data directory, made if it is not there."""

    public_url: Annotated[str, AfterValidator(_public_url)] = ""
    """Where this installation is reached from outside, such as `https://hooks.example.com`: for URLs that somebody follows."""
    console: bool = True
    """The web console at `/`, and signing in to it; without it and the portal the API is alone, which knows keys only."""
    portal: bool = True
    """The page at `/portal` on which third parties look after the endpoints of their app; they come by links made for them."""
    platform_name: Annotated[str, Field(max_length=limits.PLATFORM_NAME_LENGTH_MAX)] = ""
    """What third parties know the platform as: the title of the portal."""
    allow_private_targets: bool = False
    """Deliver to private and loopback addresses too."""
    allow_loopback_targets: bool = False
    """Deliver to this machine too."""
    allowed_networks: Annotated[tuple[Network, ...], NoDecode] = ()
    """Networks to which deliveries may go whatever they are, such as `10.1.0.0/16,192.168.7.0/24`."""
    ca_file: Path | None = None
    """Certificate authorities (PEM) trusted besides the system's."""
    proxies: Annotated[dict[str, SecretStr], NoDecode] = Field(default_factory=dict)
    """HTTP proxies that endpoints may go through, by name: `eu=http://user:password@10.0.0.5:3128,us=http://…`."""
    apps_choose_proxy: bool = False
    """The key of an app may set the `proxy` of its endpoints too; otherwise only an admin key does."""
    source_addresses: Annotated[tuple[Address, ...], NoDecode] = ()
    """Addresses of this machine that endpoints may ask to be connected from, such as `192.0.2.7,2001:db8::7`."""

    profiles: Path | None = None
    """A folder with profiles of your own, a TOML file each, beside those that come with Posthouse."""
    auto_create_event_types: bool = False
    """An unknown event type is made as it is first published."""
    payload_bytes_max: Annotated[int, Field(ge=1024, le=16 * 1024 * 1024)] = limits.PAYLOAD_BYTES_MAX
    """Largest body of one event."""
    batch_bytes_max: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = limits.BATCH_BYTES_MAX
    """Largest body of a batch."""
    pending_events_max: Annotated[int, Field(ge=1)] = limits.PENDING_EVENTS_MAX
    """Events waiting for their commit; beyond it publishing answers 503."""
    pending_bytes_max: Annotated[int, Field(ge=1024)] = limits.PENDING_BYTES_MAX
    """The same in bytes."""
    body_seconds: Annotated[float, Field(gt=0, le=3600)] = limits.BODY_READ_SECONDS
    """Time that a request's body may take to arrive."""

    partitions: Annotated[int, Field(ge=1, le=4096)] = limits.PARTITIONS
    """Partitions of a new installation; fixed from then on."""
    sockets_max: Annotated[int, Field(ge=1, le=100_000)] = limits.SOCKETS_MAX
    """Requests to targets at one time, over all endpoints."""
    in_flight_bytes_max: Annotated[int, Field(ge=1024 * 1024)] = limits.IN_FLIGHT_BYTES_MAX
    """Payload bytes in those requests."""
    owed_per_endpoint_max: Annotated[int, Field(ge=1, le=100_000_000)] = limits.OWED_PER_ENDPOINT_MAX
    """Deliveries that may be owed to one endpoint; beyond, the oldest are given up as `expired`."""
    circuit_failure_ratio: Annotated[float, Field(gt=0, le=1)] = _CIRCUIT.failure_ratio
    """Share of a target's requests in a window that must fail for its circuit to open."""
    circuit_requests_min: Annotated[int, Field(ge=1, le=1_000_000)] = _CIRCUIT.requests_min
    """Requests in the window before that share means anything."""
    circuit_window_seconds: Annotated[float, Field(ge=1, le=3600)] = _CIRCUIT.window_seconds
    """The window."""
    circuit_probe_seconds: Annotated[float, Field(ge=0.1, le=86_400)] = _CIRCUIT.probe_seconds
    """How long an open circuit waits for its first probe; each probe that fails doubles it."""
    circuit_probe_seconds_max: Annotated[float, Field(ge=0.1, le=86_400)] = _CIRCUIT.probe_seconds_max
    """The longest wait between two probes."""
    expression_processes: Annotated[int, Field(ge=1, le=64)] = limits.EXPRESSION_WORKERS
    """Limited processes, of each process that serves, for expressions that apps wrote or that may take long."""
    expression_seconds: Annotated[float, Field(ge=0.01, le=60)] = limits.EXPRESSION_SECONDS
    """How long they may take to evaluate what one event or answer asks of them."""
    expression_memory_bytes: Annotated[int, Field(ge=16 * 1024 * 1024)] = limits.EXPRESSION_MEMORY_BYTES
    """How much memory each of them may use, beyond what it takes by itself."""
    callbacks: Annotated[tuple[str, ...], NoDecode] = ()
    """Python modules with callback handlers, such as `shop.hooks,billing.hooks`: imported in processes of their own."""
    callback_processes: Annotated[int, Field(ge=1, le=limits.CALL_PROCESSES_MAX)] = limits.CALL_PROCESSES
    """Those processes, of each process that delivers: so many handlers run at one time."""
    callback_seconds: Annotated[float, Field(ge=0.1, le=limits.CALL_SECONDS_MAX)] = limits.CALL_SECONDS
    """How long one call of handlers may take; beyond, their process is killed and the call is made again."""
    callback_memory_bytes: Annotated[int, Field(ge=0)] = 0
    """Memory that a handlers' process may take once its modules are imported; 0 is as much as there is."""
    retention_days: Annotated[int, Field(ge=2, le=3650)] = limits.RETENTION_DAYS
    """Days for which events and attempts are kept."""
    drain_seconds: Annotated[float, Field(ge=0, le=600)] = 1.0
    """After SIGTERM, how long requests are still accepted while `/readyz` says no: time for a load balancer to notice."""
    shutdown_seconds: Annotated[float, Field(ge=0, le=600)] = 5.0
    """How long a stop waits for requests under way."""
    log_json: bool | None = None
    """Logs as lines of JSON; by default not on a terminal, else yes."""
    log_level: str = "info"
    """`debug`, `info`, `warning` or `error`."""

    @property
    def given_admin_key(self) -> str | None:
        """`admin_key`, told."""
        return None if self.admin_key is None else self.admin_key.get_secret_value()

    @property
    def pages(self) -> tuple[Page, ...]:
        """The web pages that are there."""
        there: dict[Page, bool] = {"console": self.console, "portal": self.portal}
        return tuple(page for page, on in there.items() if on)

    @field_validator("port", mode="before")
    @classmethod
    def _not_of_a_service(cls, value: object) -> object:
        """`tcp://10.0.0.1:8080` is what Kubernetes sets in every pod beside a service named posthouse: no port to listen on."""
        if isinstance(value, str) and value.startswith("tcp://"):
            return cls.model_fields["port"].default
        return value

    @field_validator("allowed_networks", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """`10.0.0.0/8, 192.168.1.0/24` from the environment; a list from a file."""
        if isinstance(value, str):
            return tuple(ipaddress.ip_network(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("callbacks", mode="before")
    @classmethod
    def _split_modules(cls, value: object) -> object:
        """`shop.hooks, billing.hooks` from the environment; a list from a file."""
        names = tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value
        for name in names if isinstance(names, (list, tuple)) else ():
            if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
                raise PydanticCustomError("module", "{name} is no name of a Python module", {"name": repr(name)})
        return names

    @field_validator("source_addresses", mode="before")
    @classmethod
    def _split_addresses(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(ipaddress.ip_address(part.strip()) for part in value.split(",") if part.strip())
        return value

    @field_validator("proxies", mode="before")
    @classmethod
    def _split_proxies(cls, value: object) -> object:
        """`eu=http://…, us=http://…` from the environment; a table from a file."""
        if not isinstance(value, str):
            return value
        pairs = [part.strip().partition("=") for part in value.split(",") if part.strip()]
        if not all(name and url for name, _, url in pairs):
            raise PydanticCustomError("proxies", "must be name=URL, name=URL, …")
        return {name.strip(): url.strip() for name, _, url in pairs}

    @field_validator("log_level")
    @classmethod
    def _a_level(cls, value: str) -> str:
        if value.upper() not in logging.getLevelNamesMapping():
            raise PydanticCustomError("log_level", "there are debug, info, warning, error and critical")
        return value

    @field_validator("circuit_probe_seconds_max")
    @classmethod
    def _not_below_the_first(cls, value: float, info: ValidationInfo) -> float:
        first = info.data.get("circuit_probe_seconds")
        if first is not None and value < first:
            raise PydanticCustomError(
                "below", "must be at least circuit_probe_seconds, which is {first}", {"first": first}
            )
        return value

    def circuit_policy(self) -> CircuitPolicy:
        """When the circuit of a target opens, and how it is tried again."""
        return CircuitPolicy(
            failure_ratio=self.circuit_failure_ratio,
            requests_min=self.circuit_requests_min,
            window_seconds=self.circuit_window_seconds,
            probe_seconds=self.circuit_probe_seconds,
            probe_seconds_max=self.circuit_probe_seconds_max,
        )

    def allowed_egress(self) -> AllowedEgress:
        """What endpoints may ask for of how they are connected to."""
        return AllowedEgress(
            proxies=frozenset(self.proxies),
            source_addresses=frozenset(map(str, self.source_addresses)),
            apps_choose_proxy=self.apps_choose_proxy,
        )

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


class BadSettings(SetupError):
    """What was given cannot be a setting."""


def environment_of_others() -> dict[str, str]:
    """Our environment without what is ours: for processes that run the code of others."""
    return {name: value for name, value in os.environ.items() if not name.upper().startswith(PREFIX)}


def load(**flags: Any) -> Settings:
    """The settings, with flags that are not None above the environment. Raises BadSettings, naming each as it was given."""
    given = {name: value for name, value in flags.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        wrong = error.errors(include_input=False, include_url=False)
        raise bad_settings(((tuple(map(str, one["loc"])), one["msg"]) for one in wrong), given) from None
    except ValueError as error:  # the file is no TOML
        raise BadSettings(f"bad settings: {FILE}: {error}") from None


def bad_settings(wrong: Iterable[tuple[Sequence[str], str]], flags: Collection[str]) -> BadSettings:
    """Each place that is wrong and why, called as it was given; `flags` are the settings that flags said."""
    told = "; ".join(f"{_as_given(place, flags)}: {why}" for place, why in wrong)
    return BadSettings(f"bad settings: {told}")


def _as_given(place: Sequence[str], flags: Collection[str]) -> str:
    """How whoever gave it calls it: a flag, a variable of the environment, or a key of the file."""
    name = place[0] if place else ""
    if name in flags:
        return "--" + _FLAGS.get(name, name).replace("_", "-")
    variable = PREFIX + name.upper()
    if variable not in map(str.upper, os.environ) and name in TomlConfigSettingsSource(Settings)():
        return f"{'.'.join(place)} in {FILE}"
    return variable


def unknown_variables(names: Iterable[str]) -> list[tuple[str, str | None]]:
    """Of these variables of the environment those that look like settings and are none, each with the one that may be meant."""
    found = []
    for name in sorted(names):
        prefix, field = name[: len(PREFIX)].upper(), name[len(PREFIX) :].lower()
        if prefix == PREFIX and field not in Settings.model_fields and not _NOT_SETTINGS.fullmatch(name.upper()):
            close = difflib.get_close_matches(field, Settings.model_fields, n=1)
            found.append((name, PREFIX + close[0].upper() if close else None))
    return found
