"""Who hears of what: a whole server against a model of a few sets, over histories of grants, their ends, pauses, events."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.fakes import FakeTransport
from tests.postgres import fresh_database
from tests.serving import PATIENCE_SECONDS, ask, call, serving

from posthouse import bootstrap
from posthouse.ports.transport import Transport

APPS: Final = ("a", "b", "c")
LISTENS: Final = ((), ("order.*",))  # of the two endpoints of every app
TYPES: Final = ("order.created", "order.paid.late", "user", "secret")
SUBJECTS: Final = (None, "shop:1", "shop:1:till:2", "shop:22", "user:1")
TYPE_PATTERNS: Final = ("*", "order.*", "order.paid.*", "order.created", "user", "secret")
SUBJECT_PATTERNS: Final = ("*", "shop:*", "shop:1", "shop:1:*", "user:1")

LASTS_SECONDS: Final = 1.0
"""How long a grant lasts that ends by itself: long enough for what is to come before its end."""

AT_ONCE: Final = 3
"""So many histories, each on a server and a database of its own, wait for the ends of their grants together."""

Endpoint = tuple[str, int]
_names = itertools.count()


class Steps:
    """What a history is made of: each step its name and what it draws."""

    app = st.sampled_from(APPS)
    endpoint = st.tuples(app, st.integers(0, 1))
    grant = st.tuples(
        st.just("grant"),
        app,
        st.lists(st.sampled_from(TYPE_PATTERNS), min_size=1, max_size=3),
        st.lists(st.sampled_from(SUBJECT_PATTERNS), min_size=1, max_size=3),
    )
    revoke = st.tuples(st.just("revoke"), st.integers(0, 9))
    announce = st.tuples(st.just("announce"), st.sampled_from(TYPES), st.sampled_from(SUBJECTS))
    direct = st.tuples(st.just("direct"), app, st.sampled_from(TYPES))
    pause = st.tuples(st.just("pause"), endpoint)
    resume = st.tuples(st.just("resume"), endpoint)
    any = st.one_of(grant, grant, revoke, announce, announce, announce, announce, direct, pause, resume)

    @staticmethod
    @st.composite
    def overtaken(draw: st.DrawFn) -> list[tuple[Any, ...]]:
        """Events wait at an endpoint while a grant, which may or may not be why they came, is taken away or ends."""
        app = draw(Steps.app)
        grant = (app, ["order.*", "user"], draw(st.sampled_from((["*"], ["shop:*"], ["shop:1"]))))
        events = draw(st.lists(Steps.announce, min_size=2, max_size=4))
        goes = [("grant", *grant), *events, ("revoke", -1)]
        ends = [("brief", *grant), *events, ("end",)]
        return [
            ("pause", (app, 0)),
            *(goes if draw(st.booleans()) else ends),
            draw(Steps.announce),
            ("resume", (app, 0)),
        ]

    @classmethod
    def history(cls) -> st.SearchStrategy[list[tuple[Any, ...]]]:
        parts = st.one_of(st.lists(cls.any, min_size=6, max_size=8), cls.overtaken())
        return st.lists(parts, min_size=5, max_size=8).map(lambda some: [step for part in some for step in part])


def matches(pattern: str, text: str | None, separator: str) -> bool:
    """The meaning of a pattern, in its plainest form."""
    if pattern == "*":
        return True
    if text is None:
        return False
    return text.startswith(pattern[:-1]) if pattern.endswith(f"{separator}*") else pattern == text


@dataclass
class Model:
    """Grants are pairs of pattern lists; what waits at a paused endpoint is judged as it is resumed."""

    grants: dict[int, tuple[str, list[str], list[str]]] = field(default_factory=dict)
    paused: set[Endpoint] = field(default_factory=set)
    delivered: set[tuple[str, Endpoint]] = field(default_factory=set)
    revoked: set[tuple[str, Endpoint]] = field(default_factory=set)
    shown: set[tuple[str, str]] = field(default_factory=set)
    """(app, event): what an app's own key sees."""
    waiting: dict[Endpoint, list[tuple[str, str, str | None, bool]]] = field(default_factory=dict)

    def covered(self, app: str, event_type: str, subject: str | None) -> bool:
        return any(
            owner == app
            and any(matches(pattern, event_type, ".") for pattern in types)
            and any(matches(pattern, subject, ":") for pattern in subjects)
            for owner, types, subjects in self.grants.values()
        )

    def audience(self, event_type: str, subject: str | None) -> list[str]:
        if event_type == "secret":  # it is private
            return []
        return [app for app in APPS if self.covered(app, event_type, subject)]

    def send(self, event: str, app: str, event_type: str, subject: str | None, *, needs_grant: bool) -> None:
        self.shown.add((app, event))
        for number, listens in enumerate(LISTENS):
            if listens and not any(matches(pattern, event_type, ".") for pattern in listens):
                continue
            endpoint = (app, number)
            if endpoint in self.paused:
                self.waiting.setdefault(endpoint, []).append((event, event_type, subject, needs_grant))
            else:
                self.delivered.add((event, endpoint))

    def resume(self, endpoint: Endpoint) -> None:
        self.paused.discard(endpoint)
        for event, event_type, subject, needs_grant in self.waiting.pop(endpoint, []):
            if needs_grant and not self.covered(endpoint[0], event_type, subject):
                self.revoked.add((event, endpoint))
            else:
                self.delivered.add((event, endpoint))


class TooBusy(Exception):
    """This machine is: the history says nothing."""


class Recorded(bootstrap.Posthouse):
    """A server whose targets confirm everything, and remember it."""

    def wrap_transport(self, transport: Transport) -> Transport:
        self.targets = FakeTransport()
        return self.targets

    def sent(self) -> set[tuple[str, Endpoint]]:
        found = set()
        for sent in self.targets.sent:
            lines = sent.request.head.decode().lower().split("\r\n")
            (event,) = [line.partition(": ")[2] for line in lines if line.startswith("webhook-id: ")]
            _, _, name, number = sent.request.target.path.split("/")
            found.add((event, (name, int(number))))
        return found


class History:
    """Drives a server and the model alike."""

    def __init__(self, server: Recorded) -> None:
        self.server = server
        self.port = server.port
        self.model = Model()
        self.events: list[str] = []
        self.numbers = itertools.count()
        self.ends = (-1, 0.0)  # the grant that ends next, and when

    async def run(self, steps: list[tuple[Any, ...]]) -> None:
        for name in TYPES:
            visibility = "private" if name == "secret" else "granted" if name == "user" else "public"
            await call(self.port, "POST", "/v1/event-types", {"name": name, "visibility": visibility})
        for app in APPS:
            await call(self.port, "POST", "/v1/apps", {"uid": app})
            for number, listens in enumerate(LISTENS):
                body = {"url": f"http://127.0.0.1/at/{app}/{number}", "uid": str(number), "events": list(listens)}
                await call(self.port, "POST", f"/v1/apps/{app}/endpoints", body)
        for name, *drawn in steps:
            await getattr(self, name)(*drawn)
        for endpoint in sorted(self.model.paused):
            await self.resume(endpoint)
        await self.settle()
        await self.compare()

    async def grant(self, app: str, types: list[str], subjects: list[str]) -> None:
        number = next(self.numbers)
        self.model.grants[number] = (app, types, subjects)
        body = {"types": types, "subjects": subjects, "uid": f"g{number}"}
        await call(self.port, "POST", f"/v1/apps/{app}/grants", body)

    async def revoke(self, choice: int) -> None:
        if not self.model.grants:
            return
        await self.settle()  # what is on its way would be anybody's guess
        number = sorted(self.model.grants)[choice % len(self.model.grants)]
        app, _, _ = self.model.grants.pop(number)
        assert (await ask(self.port, "DELETE", f"/v1/apps/{app}/grants/g{number}")).status == 204

    async def brief(self, app: str, types: list[str], subjects: list[str]) -> None:
        """A grant with an end, which `end` then waits for."""
        await self.settle()
        number = next(self.numbers)
        self.model.grants[number] = (app, types, subjects)
        self.ends = (number, time.time() + LASTS_SECONDS)
        expires_at = datetime.fromtimestamp(self.ends[1], UTC).isoformat()
        body = {"types": types, "subjects": subjects, "uid": f"g{number}", "expires_at": expires_at}
        await call(self.port, "POST", f"/v1/apps/{app}/grants", body)

    async def end(self) -> None:
        await self.settle()
        number, at = self.ends
        if time.time() >= at:
            raise TooBusy  # nobody knows what came before the end
        self.model.grants.pop(number, None)
        while time.time() < at + 0.1:  # noqa: ASYNC110 - the fact is the time
            await asyncio.sleep(0.01)

    async def announce(self, event_type: str, subject: str | None) -> None:
        body = {"type": event_type, "subject": subject, "data": None}
        made = await call(self.port, "POST", "/v1/events", body)
        audience = self.model.audience(event_type, subject)
        assert made["apps"] == len(audience)
        self.events.append(made["id"])
        for app in audience:
            self.model.send(made["id"], app, event_type, subject, needs_grant=True)

    async def direct(self, app: str, event_type: str) -> None:
        made = await call(self.port, "POST", f"/v1/apps/{app}/events", {"type": event_type, "data": None})
        self.events.append(made["id"])
        self.model.send(made["id"], app, event_type, None, needs_grant=False)

    async def pause(self, endpoint: Endpoint) -> None:
        await self.settle()
        self.model.paused.add(endpoint)
        await call(self.port, "POST", f"/v1/apps/{endpoint[0]}/endpoints/{endpoint[1]}/pause")

    async def resume(self, endpoint: Endpoint) -> None:
        self.model.resume(endpoint)
        shown = await call(self.port, "POST", f"/v1/apps/{endpoint[0]}/endpoints/{endpoint[1]}/resume")
        await self.settle()
        # What is not sent any more must be settled, too: a grant that comes next would save it.
        for event, other in sorted(self.model.revoked):
            if other == endpoint:
                await self.given_up(event, shown["id"])

    async def given_up(self, event: str, endpoint: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    routes = (await call(self.port, "GET", f"/v1/events/{event}"))["routes"]
                    if ("gave_up", endpoint) in {(route["state"], route["endpoint"]) for route in routes}:
                        return
        except TimeoutError:
            pytest.fail(f"never given up: {event} at {endpoint}: {routes}")

    async def settle(self) -> None:
        """Wait until all is sent that should be."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not self.model.delivered <= self.server.sent():  # noqa: ASYNC110 - the fact is at the targets
                    await asyncio.sleep(0.01)
        except TimeoutError:
            pytest.fail(f"never sent: {self.model.delivered - self.server.sent()}")

    async def compare(self) -> None:
        """Nothing else was sent, and every way that an event took ended as it should."""
        assert self.server.sent() == self.model.delivered
        for app in APPS:
            key = (await call(self.port, "POST", "/v1/keys", {"scope": "app", "app": app}))["key"]
            for path in ("/v1/events", f"/v1/apps/{app}/events"):
                seen = (await ask(self.port, "GET", f"{path}?limit=250", key=key)).body["data"]
                assert {(app, event["id"]) for event in seen} == {one for one in self.model.shown if one[0] == app}
        names = await self.names()
        expected = {(*key, "delivered", "confirmed") for key in self.model.delivered}
        expected |= {(*key, "gave_up", "revoked") for key in self.model.revoked}
        found: set[tuple[str, Endpoint, str, str]] = set()
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while found != expected:
                    shown = [await call(self.port, "GET", f"/v1/events/{event}") for event in self.events]
                    found = {
                        (event["id"], names[route["endpoint"]], route["state"], route["reason"])
                        for event in shown
                        for route in event["routes"]
                    }
        except TimeoutError:
            assert found == expected

    async def names(self) -> dict[str, Endpoint]:
        return {
            endpoint["id"]: (app, int(endpoint["uid"]))
            for app in APPS
            for endpoint in (await call(self.port, "GET", f"/v1/apps/{app}/endpoints"))["data"]
        }


def test_everybody_hears_of_what_was_granted_and_of_nothing_else(postgres_server: object) -> None:
    seen: Counter[str] = Counter()

    @settings(
        max_examples=4,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],  # to shrink takes minutes, and each example starts a server
        suppress_health_check=list(HealthCheck),
    )
    @given(histories=st.lists(Steps.history(), min_size=AT_ONCE, max_size=AT_ONCE))
    def check(histories: list[list[tuple[Any, ...]]]) -> None:
        asyncio.run(together(histories))

    async def together(histories: list[list[tuple[Any, ...]]]) -> None:
        async with asyncio.TaskGroup() as group:
            for steps in histories:
                group.create_task(run(steps))

    async def run(steps: list[tuple[Any, ...]]) -> None:
        async with serving(await fresh_database(), kind=Recorded) as server:
            assert isinstance(server, Recorded)
            history = History(server)
            try:
                await history.run(steps)
            except TooBusy:
                return
            seen.update(name for name, *_ in steps)
            seen.update(delivered=len(history.model.delivered), revoked=len(history.model.revoked))

    check()
    # Histories in which nothing happens would prove nothing.
    assert seen["delivered"] > 100, seen
    assert seen["revoked"] > 20, seen
    assert seen["end"] > 10, seen
