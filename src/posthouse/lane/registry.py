"""The lanes that there are: made as they are needed, let go when so many are idle."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator

from posthouse.domain.ids import AppId, EndpointId
from posthouse.domain.limits import LANES_IDLE_MAX
from posthouse.lane.lane import Lane


class Registry:
    """Lanes by endpoint and by app. `idle` says whether a lane has nothing to do and nothing to remember."""

    def __init__(self, idle: Callable[[Lane], bool]) -> None:
        self._idle = idle
        self._lanes: dict[EndpointId, Lane] = {}
        self._by_app: dict[AppId, set[EndpointId]] = {}
        self._evict_at = LANES_IDLE_MAX

    def __len__(self) -> int:
        return len(self._lanes)

    def __iter__(self) -> Iterator[Lane]:
        return iter(list(self._lanes.values()))

    def get(self, endpoint_id: EndpointId) -> Lane | None:
        return self._lanes.get(endpoint_id)

    def add(self, lane: Lane) -> None:
        """A new lane; where there are very many, idle ones leave first."""
        if len(self._lanes) >= self._evict_at:
            self._evict()
        endpoint = lane.endpoint
        self._lanes[endpoint.id] = lane
        self._by_app.setdefault(endpoint.app_id, set()).add(endpoint.id)

    def remove(self, lane: Lane) -> None:
        """Forget a lane and its timer."""
        endpoint = lane.endpoint
        lane.wake_never()
        if self._lanes.get(endpoint.id) is lane:
            del self._lanes[endpoint.id]
            ids = self._by_app[endpoint.app_id]
            ids.discard(endpoint.id)
            if not ids:
                del self._by_app[endpoint.app_id]

    def of_apps(self, app_ids: Collection[AppId]) -> list[Lane]:
        """The lanes of these apps' endpoints."""
        return [self._lanes[endpoint_id] for app_id in app_ids for endpoint_id in self._by_app.get(app_id, ())]

    def _evict(self) -> None:
        """Let a tenth of the lanes go, if so many are idle."""
        enough = len(self._lanes) * 9 // 10
        for lane in self:
            if len(self._lanes) <= enough:
                break
            if self._idle(lane):
                self.remove(lane)
        # Where too few are idle, the next look is worth its cost only after as many more were made.
        self._evict_at = max(LANES_IDLE_MAX, len(self._lanes) * 11 // 10)
