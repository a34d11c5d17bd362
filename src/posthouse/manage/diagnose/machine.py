"""Checks of this machine, the settings and the server's port."""

from __future__ import annotations

from typing import Final

from posthouse.domain.limits import FILES_BESIDE_SOCKETS
from posthouse.manage.diagnose.findings import Finding, Thresholds, Verdict, fail, ok, skipped, warn
from posthouse.ports.diagnosis import Facts, FileFacts

PYTHON_MIN: Final = (3, 11)


def version(facts: Facts, _: Thresholds) -> list[Finding]:
    python = ".".join(map(str, facts.python_version))
    found = f"Posthouse {facts.posthouse_version}, Python {python}, {facts.platform}"
    if facts.python_version[:2] < PYTHON_MIN:
        return fail("version", found, "install Python 3.11 or newer, and Posthouse in it")
    return ok("version", found)


def server(facts: Facts, _: Thresholds) -> list[Finding]:
    at = facts.server.url
    match facts.server.who:
        case "nobody":
            holder = facts.directory.holder_pid if facts.directory else None
            if holder is not None:
                return warn(
                    "server",
                    f"process {holder} holds the data directory, and nothing answers at {at}",
                    "it may be starting, or listen elsewhere: give --host and --port as you give them to serve",
                )
            return warn(
                "server",
                f"nothing answers at {at}",
                "start one with `posthouse serve`; where it listens elsewhere, give --host and --port",
            )
        case "other":
            return fail(
                "server",
                f"another program answers at {at}",
                "stop it, or let Posthouse listen elsewhere: `posthouse serve --port …`",
            )
        case _ if facts.server.hidden:
            return warn(
                "server",
                f"a Posthouse server answers at {at}, and only its API is passed on there: "
                "whether it is ready is not to be seen",
                "ask it directly: give --host and --port on the machine where it runs",
            )
        case _ if facts.server.not_ready:
            return fail(
                "server",
                f"the server at {at} is not ready: {facts.server.not_ready}",
                "its log says more; most often it waits for its database",
            )
        case _:
            return ok("server", f"the server at {at} is ready")


def data_dir(facts: Facts, _: Thresholds) -> list[Finding]:
    found = facts.directory
    if found is None:
        return skipped("data_dir", "the database is not the embedded one: there is no data directory")
    if found.folder is None:
        return warn(
            "data_dir", f"{found.path} is not there", "`posthouse serve` makes it; or name another with --data-dir"
        )
    # Root's directory may be passed through by the group of PostgreSQL's account.
    allowed = 0o710 if found.folder.owner_uid == 0 else 0o700
    if found.folder.mode & ~allowed:
        return fail(
            "data_dir",
            f"{found.path} is open to others (mode {found.folder.mode:04o})",
            f"run chmod {allowed:o} {found.path}; it holds the database and its keys",
        )
    if facts.uid not in (0, found.folder.owner_uid):
        return fail(
            "data_dir",
            f"{found.path} belongs to the user with uid {found.folder.owner_uid}, and this runs with uid {facts.uid}",
            "run Posthouse, and this, as its owner",
        )
    return ok("data_dir", f"{found.path} is private (mode {found.folder.mode:04o})")


def key_files(facts: Facts, _: Thresholds) -> list[Finding]:
    files = facts.directory.keys if facts.directory else ()
    if not files:
        return skipped("key_files", "there are no key files")

    def is_open(file: FileFacts) -> bool:
        return bool(file.mode & 0o077)

    findings = [
        Finding(
            "key_files",
            Verdict.FAIL,
            f"{file.path} is open to others (mode {file.mode:04o})",
            f"run chmod 600 {file.path}, and replace what is in it if others use this machine",
        )
        for file in files
        if is_open(file)
    ]
    return findings or ok("key_files", f"{', '.join(file.path.rpartition('/')[2] for file in files)}: private")


def disk(facts: Facts, at: Thresholds) -> list[Finding]:
    found = facts.directory
    if found is None:
        return skipped("disk", "the database's disk is not this machine's")
    told = f"{_size(found.free_bytes)} of {_size(found.total_bytes)} are free at {found.path}"
    advice = "make room, or keep fewer days (POSTHOUSE_RETENTION_DAYS); a full disk stops publishing"
    if found.free_bytes < at.free_fail_bytes:
        return fail("disk", told, advice)
    if found.free_bytes < at.free_warn_bytes:
        return warn("disk", told, advice)
    return ok("disk", told)


def open_files(facts: Facts, _: Thresholds) -> list[Finding]:
    limit, needed = facts.open_files_max, facts.sockets_max + FILES_BESIDE_SOCKETS
    if limit is None:
        return skipped("open_files", "this platform does not tell")
    each = "" if facts.workers == 1 else f" in each of {facts.workers} processes"
    told = f"{facts.open_files_of} may open {limit} files, and {facts.sockets_max} connections to targets{each} need {needed}"
    if limit < needed:
        return fail(
            "open_files",
            told,
            f"raise the limit (ulimit -n {needed}; LimitNOFILE= in a systemd unit), or lower POSTHOUSE_SOCKETS_MAX",
        )
    return ok("open_files", told)


def guard(facts: Facts, _: Thresholds) -> list[Finding]:
    on = facts.guard
    if on.metadata_allowed:
        return fail(
            "guard",
            f"the allowed networks ({', '.join(on.networks)}) hold the metadata service of a cloud",
            "narrow POSTHOUSE_ALLOWED_NETWORKS: third parties could read this machine's credentials",
        )
    if on.private:
        return warn(
            "guard",
            "events may go to private addresses",
            "turn POSTHOUSE_ALLOW_PRIVATE_TARGETS off, and name the networks that you mean with --allow-network",
        )
    if on.loopback:
        return warn(
            "guard",
            "events may go to this machine (--dev)",
            "turn POSTHOUSE_ALLOW_LOOPBACK_TARGETS and --dev off where third parties choose the targets",
        )
    extra = f", and to {', '.join(on.networks)}" if on.networks else ""
    return ok("guard", f"events go to public addresses only{extra}")


def dns(facts: Facts, _: Thresholds) -> list[Finding]:
    if not facts.names:
        return skipped("dns", "no endpoint has a name to look up; try one with --resolve example.com")
    findings = []
    for name in facts.names:
        if name.trouble is not None and name.ours:
            return fail(
                "dns", f"no DNS server could be asked for {name.name}: {name.trouble}", "look at /etc/resolv.conf"
            )
        if name.trouble is not None:
            findings.append(
                Finding("dns", Verdict.WARN, f"{name.name}: {name.trouble}", "tell the owner of that target URL")
            )
    return findings or ok("dns", f"{', '.join(name.name for name in facts.names)}: found")


def _size(size: int) -> str:
    return f"{size / 1024**3:.1f} GiB"
