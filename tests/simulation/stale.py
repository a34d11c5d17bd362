"""Configuration that a process goes by though it was changed a while ago (invariant 1)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from posthouse.domain.ids import AppId

if TYPE_CHECKING:
    from tests.simulation.process import Process

STALE_SECONDS_MAX: Final = 3.0


class Stale:
    """Looks now and then at what a process knows of the apps of its partitions: a change must come to it soon, and stay."""

    def __init__(self) -> None:
        self._known: dict[tuple[Process, AppId], int] = {}
        self._old: dict[tuple[Process, AppId], tuple[int, float]] = {}  # which version is not known, since when

    def looks_at(self, process: Process, now: float) -> Iterator[str]:
        database, engine = process.world.database, process.engine
        if others := engine.configs._versions.keys() - engine.ownership.epochs.keys():
            yield f"has versions of partitions that it does not own: {sorted(others)}"
        for app_id, router in engine.configs._routers.items():
            app = database.apps.get(app_id)
            if (
                app is None
                or process.stalled
                or process.stopped
                or process.session_lost
                or database.partitions[app.partition].owner != process.owner
                or engine.configs.version(app.partition) == 0
            ):
                self._old.pop((process, app_id), None)
                self._known.pop((process, app_id), None)
                continue
            known = self._known.get((process, app_id), 0)
            self._known[process, app_id] = max(known, router.config.version)
            if router.config.version < known:
                yield f"goes back to an old version of an app, from {known} to {router.config.version}"
            wanted, since = self._old.get((process, app_id), (0, now))
            if router.config.version >= wanted:
                wanted, since = app.config_version, now
            self._old[process, app_id] = (wanted, since)
            if router.config.version < wanted and now > max(since, process.disturbed_at) + STALE_SECONDS_MAX:
                yield f"goes by an old version of an app, {router.config.version} and not {wanted}"
