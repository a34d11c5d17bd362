"""What an operator would want to know of an installation: facts, as they were found. `manage.diagnose` judges them.

A field is None where it was not, or could not be, looked at. Durations are seconds.
"""

from __future__ import annotations

import msgspec


class Trouble(msgspec.Struct, frozen=True):
    """Something could not be looked at, or is not there."""

    told: str


class Snapshot(msgspec.Struct, frozen=True):
    """A session that holds a snapshot, or an open transaction in which it does nothing."""

    pid: int
    program: str
    user: str
    seconds: float
    idle_in_transaction: bool


class Lease(msgspec.Struct, frozen=True):
    """A partition: whether a process owns it now, and for how long its next event has waited to be dispatched.

    `lost` says that positions after the cursor hold no event, which nothing can pass.
    """

    partition: int
    live: bool
    waiting_seconds: float = 0.0
    lost: bool = False


class Backlog(msgspec.Struct, frozen=True):
    """What is owed; `overdue` of it (in a sample) waits since long though its endpoint takes deliveries."""

    rows: int
    oldest_seconds: float
    overdue: int
    overdue_seconds: float


class Vacuum(msgspec.Struct, frozen=True):
    """How the table `delivery` is kept."""

    on: bool
    dead_rows: int
    live_rows: int


class Rewind(msgspec.Struct, frozen=True):
    """A log that was found to have lost its end, as operators were told: how long ago, and of which partitions."""

    seconds: float
    partitions: tuple[int, ...]


class DatabaseFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What the database told. `schema_trouble` is why its schema cannot be this program's."""

    where: str
    version: str
    pending_migrations: tuple[str, ...] = ()
    schema_trouble: str | None = None
    installed: bool = False
    ahead_seconds: float | None = None  # of this machine's clock; negative: behind
    snapshots: tuple[Snapshot, ...] | None = None
    missing_days: dict[int, tuple[str, ...]] | None = None  # by days from today
    leases: tuple[Lease, ...] | None = None
    processes: int | None = None  # that share the partitions, on all servers of this database
    rewinds: tuple[Rewind, ...] | None = None  # the newest first
    backlog: Backlog | None = None
    vacuum: Vacuum | None = None
    settings: dict[str, str] | None = None  # fsync, full_page_writes, synchronous_commit, max_connections
    connections: int | None = None
    secrets: tuple[tuple[str, str | None], ...] | None = None  # key id, and why a secret sealed with it does not open


class FileFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A file or folder that must be private."""

    path: str
    mode: int
    owner_uid: int


class DirectoryFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The data directory, its private files, the disk it lies on, and who holds it."""

    path: str
    folder: FileFacts | None
    keys: tuple[FileFacts, ...] = ()
    free_bytes: int = 0
    total_bytes: int = 0
    holder_pid: int | None = None


class GuardFacts(msgspec.Struct, frozen=True):
    """What the settings let through beside public addresses."""

    loopback: bool
    private: bool
    networks: tuple[str, ...]
    metadata_allowed: bool


class ServerFacts(msgspec.Struct, frozen=True):
    """Who answers on the server's port: `posthouse`, `other` or `nobody`; and why it is not ready. `hidden`: it is behind a
    proxy that passes on `/v1/` alone, as the documentation has it, so that nobody can tell."""

    url: str
    who: str
    not_ready: str | None = None
    hidden: bool = False


class NameFacts(msgspec.Struct, frozen=True):
    """What DNS told of a name: None where it has addresses. `ours` says that no DNS server could be asked."""

    name: str
    trouble: str | None
    ours: bool = False


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """Everything. `database` is Trouble where it cannot be reached; `master_key` is why it cannot be loaded."""

    posthouse_version: str
    python_version: tuple[int, int, int]
    platform: str
    uid: int
    database: DatabaseFacts | Trouble
    directory: DirectoryFacts | None
    server: ServerFacts
    guard: GuardFacts
    names: tuple[NameFacts, ...]
    open_files_max: int | None
    open_files_of: str  # whose limit that is
    sockets_max: int
    workers: int  # processes of the server that runs here, or would
    owns: bool  # whether they take partitions
    master_key: str | None
