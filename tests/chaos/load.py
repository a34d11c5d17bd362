"""Those who use the cluster meanwhile: publishers, and people who change its configuration and ask for things again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from tests.chaos.api import Lost, Unreached, ask, insist
from tests.chaos.history import Again, Asked, Endpoint, History, Published, Try

APPS: Final = 6
TYPES: Final = ("chaos.a", "chaos.b")
KEYS: Final = ("red", "green", "blue")
PUBLISHERS: Final = 24
PAUSE_SECONDS_MAX: Final = 0.12  # between two events of a publisher
TRIES_SECONDS_MAX: Final = 40.0  # for which an event with an idempotency key is asked for
BASIC: Final[dict[str, Any]] = {
    "retry": {"schedule": [0.3] * 99, "jitter": 0.3},
    "timeouts": {"connect": 2, "first_byte": 3, "total": 4},
}
# One of these endpoints for each app, in turn, beside a plain one.
KINDS: Final[tuple[dict[str, dict[str, Any]], ...]] = (
    {"line": {"ordering": "endpoint"}, "lines": {"ordering": "key"}},
    {"rated": {"rate_limit": {"per_second": 40, "burst": 5}}, "filtered": {"events": [TYPES[0]]}},
    {
        "batched": {"batch": {"max_events": 5, "max_wait_ms": 50}},
        "bundles": {"batch": {"max_events": 4, "max_wait_ms": 20}, "ordering": "key"},
    },
)


class Load:
    """All of it noted in the history. `ports` are the servers', `direct` and `proxied` those of the targets."""

    def __init__(
        self, history: History, chance: random.Random, ports: Sequence[int], *, direct: int, proxied: int
    ) -> None:
        self._history = history
        self._chance = chance
        self._ports = ports
        self._direct = direct
        self._proxied = proxied
        self._churned = 0
        self._pausing: set[str] = set()
        self._unsure: set[str] = set()  # what was asked of these twice may still come to pass
        self.publishing = True

    # Configuration

    async def configure(self) -> None:
        """Event types, apps and endpoints, before anything goes wrong."""
        for name in TYPES:
            await self._must("POST", "/v1/event-types", {"name": name})
        for n in range(APPS):
            await self._must("POST", "/v1/apps", {"uid": f"app-{n}"})
            await self.create(n, "plain", {})
            for name, fields in KINDS[n % len(KINDS)].items():
                await self.create(n, name, fields)

    async def _must(self, method: str, path: str, body: object = None, endpoint: Endpoint | None = None) -> Any:
        status, told, times = await insist(self._ports, self._chance, method, path, body)
        assert status < 300 or (status == 409 and times > 1), (method, path, status, told)
        if endpoint is not None and times > 1:
            self._unsure.add(endpoint.path)
        return told

    async def create(self, app: int, name: str, fields: dict[str, Any]) -> Endpoint:
        """Make an endpoint, by PUT: it may be asked for twice."""
        path = f"/{app}/{name}"
        # A stall delays what was sent in time: where a rate is looked at, nothing stands in between.
        port = self._direct if "rate_limit" in fields else self._proxied
        body = {"url": f"http://127.0.0.1:{port}{path}", **BASIC, **fields}
        rate = fields.get("rate_limit")
        endpoint = Endpoint(
            id="",
            app=f"app-{app}",
            path=path,
            created=Asked(time.time()),
            types=tuple(fields.get("events", ())),
            ordering=fields.get("ordering", "none"),
            rate=None if rate is None else (rate["per_second"], rate["burst"]),
            timeout=BASIC["timeouts"]["total"],
        )
        self._history.endpoints.append(endpoint)
        told = await self._must("PUT", f"/v1/apps/app-{app}/endpoints/{name}", body, endpoint)
        endpoint.created.answered = time.time()
        endpoint.id = told["id"]
        return endpoint

    # Publishing

    async def publish(self, publisher: int) -> None:
        """Publish until told to stop."""
        chance = random.Random(self._chance.random())
        number = 0
        while self.publishing:
            number += 1
            published = Published(
                tag=f"{publisher}.{number}",
                app=f"app-{publisher % APPS}",
                type=chance.choice(TYPES),
                key=chance.choice(KEYS),
                once=chance.random() < 0.5,
            )
            self._history.published.append(published)
            until = time.time() + (TRIES_SECONDS_MAX if published.once else 0.0)
            while not await self._try(published, chance.randrange(len(self._ports))):
                if time.time() >= until:
                    break
                await asyncio.sleep(0.05)
            await asyncio.sleep(chance.uniform(0.0, PAUSE_SECONDS_MAX))

    async def _try(self, published: Published, server: int) -> bool:
        """Ask once; whether it is certain what came of it."""
        body = {"type": published.type, "data": {"tag": published.tag}, "key": published.key}
        headers = {"Idempotency_Key": published.tag} if published.once else {}
        one = Try(server, time.time(), 0.0)
        try:
            path = f"/v1/apps/{published.app}/events"
            one.status, told = await ask(self._ports[server], "POST", path, body, **headers)
        except Unreached:
            one.status = 503  # as good as refused
        except Lost as lost:
            one.late = lost.late
        else:
            one.event = told.get("id")
        one.ended = time.time()
        published.tries.append(one)
        return one.status is not None and one.status < 409

    # What people do

    def pick(self, number: int) -> Endpoint:
        """One of the endpoints that are there to stay."""
        lasting = [e for e in self._history.endpoints if not e.path.rsplit("/", 1)[1].startswith("churned")]
        return lasting[number % len(lasting)]

    async def pause(self, number: int, seconds: float) -> None:
        endpoint = self.pick(number)
        if endpoint.path in self._pausing | self._unsure:
            return
        self._pausing.add(endpoint.path)
        try:
            paused, resumed = Asked(time.time()), Asked(float("inf"))
            endpoint.pauses.append((paused, resumed))
            await self._must("POST", f"/v1/apps/{endpoint.app}/endpoints/{endpoint.id}/pause", None, endpoint)
            paused.answered = time.time()
            await asyncio.sleep(seconds)
            resumed.asked = time.time()
            await self.resume(endpoint)
            resumed.answered = time.time()
        finally:
            self._pausing.discard(endpoint.path)

    async def resume(self, endpoint: Endpoint) -> None:
        await self._must("POST", f"/v1/apps/{endpoint.app}/endpoints/{endpoint.id}/resume", None, endpoint)

    async def resume_all(self) -> None:
        """For the end: a pause that was asked for twice may have come late."""
        for endpoint in self._history.endpoints:
            if endpoint.path in self._unsure and endpoint.deleted is None:
                await self.resume(endpoint)

    async def change(self, number: int) -> None:
        """Something that its lane must follow."""
        endpoint = self.pick(number)
        path = f"/v1/apps/{endpoint.app}/endpoints/{endpoint.id}"
        await self._must("PATCH", path, {"concurrency": 1 + number % 24})

    async def churn(self, number: int, seconds: float) -> None:
        """An endpoint comes, and goes."""
        self._churned += 1
        ordering = ("none", "endpoint", "key")[number % 3]
        endpoint = await self.create(number % APPS, f"churned-{self._churned}", {"ordering": ordering})
        await asyncio.sleep(seconds)
        if number % 2 and endpoint.path not in self._unsure:
            endpoint.deleted = Asked(time.time())
            path = f"/v1/apps/{endpoint.app}/endpoints/{endpoint.id}"
            status, told, _ = await insist(self._ports, self._chance, "DELETE", path)
            assert status in (204, 404), told  # 404: an answer was lost
            endpoint.deleted.answered = time.time()

    async def resend(self, number: int) -> None:
        """One of the last events that an endpoint got."""
        endpoint = self.pick(number)
        had = [a.event for a in self._history.arrivals if a.path == endpoint.path][-50:]
        if not had:
            return
        again = Again(endpoint.path, Asked(time.time()), event=had[number % len(had)])
        self._history.again.append(again)
        body = {"event": again.event, "endpoint": endpoint.id}
        path = f"/v1/apps/{endpoint.app}/deliveries/resend"
        status, told, again.times = await insist(self._ports, self._chance, "POST", path, body)
        assert status in (202, 409), told  # 409: it is being delivered for the first time
        again.accepted = status == 202
        again.when.answered = time.time()

    async def replay(self, number: int) -> None:
        """Everything that an endpoint heard of in the last seconds."""
        endpoint = self.pick(number)
        since = time.time() - 3.0
        again = Again(endpoint.path, Asked(time.time()), since=since)
        self._history.again.append(again)
        body = {"endpoint": endpoint.id, "since": datetime.fromtimestamp(since, UTC).isoformat(), "select": "all"}
        path = f"/v1/apps/{endpoint.app}/replays"
        status, told, again.times = await insist(self._ports, self._chance, "POST", path, body)
        assert status in (201, 202, 409), told  # 409: it has one already
        again.accepted = status < 300
        again.when.answered = time.time()
