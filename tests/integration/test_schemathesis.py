"""Whatever anybody sends to any route: never a 5xx, and never an answer that `/openapi.json` does not tell of.

They are the same requests each time; POSTHOUSE_API_EXAMPLES asks for more of them.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Iterator
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from tests.postgres import fresh_database
from tests.serving import KEY, call, serving

CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES: Final = int(os.environ.get("POSTHOUSE_API_EXAMPLES", "3"))
"""Of each operation."""
SENT_BY: Final = {"nobody": 1, "app": 1 + EXAMPLES // 4, "administrator": EXAMPLES}
"""How many of them, by whose key; whose requests change most comes last."""
KEPT: Final = {("delete", "/v1/apps/{app}"), ("delete", "/v1/apps/{app}/endpoints/{endpoint}")}
"""Others need what these would take away."""
THERE: Final[dict[str, str]] = {}  # what the server holds, by the names of path parameters


class Running:
    """A whole server in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self.keys = {"administrator": KEY}
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._down = asyncio.Event()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._serve()))

    async def _serve(self) -> None:
        async with serving(await fresh_database()) as server:
            self.port = server.port
            await self._fill()
            self._up.set()
            await self._down.wait()

    async def _fill(self) -> None:
        """One of each thing, so that routes have something to find."""
        for name in ("order.created", "user_register"):
            await call(self.port, "POST", "/v1/event-types", {"name": name, "schema": {"type": "object"}})
        await call(self.port, "POST", "/v1/apps", {"uid": "acme"})
        grant = await call(self.port, "POST", "/v1/apps/acme/grants", {"types": ["*"], "subjects": ["*"], "uid": "all"})
        endpoint = await call(
            self.port, "POST", "/v1/apps/acme/endpoints", {"url": "http://127.0.0.1:9/", "uid": "main"}
        )
        inbound = {"kind": "inbound", "uid": "hook", "type": "order.created", "settings": {"verify": False}}
        await call(self.port, "POST", "/v1/triggers", inbound)
        event = await call(self.port, "POST", "/v1/events", {"type": "order.created", "data": {}})
        attempts: list[Any] = []
        while not attempts:
            attempts = (await call(self.port, "GET", "/v1/attempts"))["data"]
        made = await call(self.port, "POST", "/v1/keys", {"scope": "app", "app": "acme"})
        self.keys |= {"app": made["key"], "nobody": "ph_nobody"}
        THERE.update(
            app="acme",
            endpoint=endpoint["id"],
            grant=grant["id"],
            name="order.created",
            event=event["id"],
            attempt=attempts[0]["id"],
            uid="main",
            source="hook",
        )

    def start(self) -> None:
        self._thread.start()
        assert self._up.wait(60)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._down.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="module")
def running(postgres_server: object) -> Iterator[Running]:
    server = Running()
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def operations(running: Running) -> list[Any]:
    """All that `/openapi.json` tells of."""
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{running.port}/openapi.json")
    found = list(schema.get_all_operations())
    assert all(isinstance(one, Ok) for one in found), found
    return [one.ok() for one in found if isinstance(one, Ok)]


@schemathesis.hook
def map_path_parameters(_context: object, path_parameters: dict[str, Any] | None) -> dict[str, Any] | None:
    """Mostly what is there: routes that find nothing all answer alike."""
    if path_parameters:
        for name, value in path_parameters.items():
            if name in THERE and len(str(value)) % 4:
                path_parameters[name] = THERE[name]
    return path_parameters


@pytest.mark.timeout(100 + 25 * EXAMPLES)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["fitting", "not fitting"])
def test_no_answer_is_a_surprise(running: Running, operations: list[Any], mode: GenerationMode) -> None:
    told = []
    tried = 0
    for operation in operations:
        if operation.path == "/v1/stream":
            continue  # it never ends, and has its own tests
        try:
            cases = made_for(operation, mode)
        except Unsatisfiable:
            assert mode is GenerationMode.NEGATIVE, "there is nothing in it that could be wrong"
            continue
        tried += 1
        for who, share in SENT_BY.items():
            for case in cases[:share]:
                try:
                    attack(running, case, running.keys[who])
                except FailureGroup as failures:
                    told.append(
                        f"{operation.method} {operation.path}, {who}:\n" + "\n".join(map(str, failures.exceptions))
                    )
    assert not told, "\n\n".join(told)
    assert tried > 30


def made_for(operation: Any, mode: GenerationMode) -> list[Any]:
    """EXAMPLES requests. To make one that does not fit takes twenty times as long as to send it, so all send the same.

    Raises Unsatisfiable where there is none.
    """
    made: list[Any] = []

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def make(case: Any) -> None:
        if (operation.method, operation.path) in KEPT:
            case.path_parameters = {name: f"{value}-not" for name, value in case.path_parameters.items()}
        made.append(case)

    make()
    return made


def attack(running: Running, case: Any, key: str) -> None:
    """Raises FailureGroup where the answer is a surprise."""
    case.call_and_validate(
        base_url=f"http://127.0.0.1:{running.port}", headers={"Authorization": f"Bearer {key}"}, checks=CHECKS
    )
