"""The OpenAPI document: whole, and true to itself."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import jsonschema_rs
import pytest
from fastapi.dependencies.utils import get_dependant
from tests.asgi import Client

from posthouse.adapters.system.clock import SystemClock
from posthouse.api.app import Services, build_app
from posthouse.api.gate import SIGN_IN, WITHOUT_KEY
from posthouse.api.openapi_named import named
from posthouse.domain.errors import StoreUnavailable
from posthouse.domain.handshake import CONFIRM_PATH


class NoDatabase:
    """What has to do without one: the document of the routes is told all the same."""

    async def catalogue_version(self) -> int:
        raise StoreUnavailable("there is no database")


@pytest.fixture(scope="module")
def client() -> Client:
    """Of an API with nothing behind it."""
    nothing: Any = None

    async def ready() -> str | None:
        return None

    async def metrics() -> tuple[bytes, str]:
        return b"", "text/plain"

    directory: Any = NoDatabase()
    services = Services.over(
        directory,
        nothing,
        nothing,
        SystemClock(),
        store=nothing,
        replay_book=nothing,
        schedules=nothing,
        triggers=nothing,
        refusals=nothing,
        transport=nothing,
        verifications=nothing,
        stream_source=nothing,
        charts=nothing,
        installation=nothing,
        explainer=nothing,
        check_target=nothing,
        cursor_key=b"",
        metrics=metrics,
        ready=ready,
    )
    return Client(build_app(services))


@pytest.fixture(scope="module")
def document(client: Client) -> dict[str, Any]:
    reply = asyncio.run(client.get("/openapi.json"))
    assert reply.status == 200
    found: dict[str, Any] = reply.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


async def test_a_route_is_made_as_it_is_first_asked_for_and_once(client: Client) -> None:
    with patch("fastapi.routing.get_dependant", side_effect=AssertionError("made")):
        assert [(await client.get(path)).status for path in ("/nothing", "/v1/nothing")] == [404, 401]
    with patch("fastapi.routing.get_dependant", wraps=get_dependant) as making:
        assert [(await client.get("/healthz")).status for _ in range(3)] == [200, 200, 200]
    assert [call.kwargs["path"] for call in making.call_args_list] == ["/healthz"]
    assert (await client.request("DELETE", "/healthz")).status == 405


def test_it_is_version_3_1_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    found = set(references(document))
    assert len(found) > 20
    for reference in found:
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
    used = {reference.rpartition("/")[2] for reference in found}
    assert set(document["components"]["schemas"]) <= used
    assert "HTTPValidationError" not in str(document)


def test_generators_of_clients_make_a_class_of_each_object_that_has_a_name(document: dict[str, Any]) -> None:
    """Told in place, a name would be that of several classes, and generators leave out what they cannot tell apart."""
    for name, schema in document["components"]["schemas"].items():
        inside = [*everything(schema)][1:]
        assert [one["title"] for one in inside if "properties" in one and "title" in one] == [], name
    signers = document["components"]["schemas"]["EndpointCreate"]["properties"]["signing"]["anyOf"][0]["items"]["anyOf"]
    assert {"$ref": "#/components/schemas/CustomSigner"} in signers


def test_constants_have_names_of_their_own(document: dict[str, Any]) -> None:
    for schema in everything(document["components"]["schemas"]):
        values = schema.get("enum")
        if isinstance(values, list):
            names = schema.get("x-enum-varnames", [str(value).upper() for value in values])
            assert len(set(names)) == len(values), schema
    encoding = document["components"]["schemas"]["CustomSigner"]["properties"]["encoding"]
    assert dict(zip(encoding["enum"], encoding["x-enum-varnames"], strict=True))["HEX"] == "UPPER_HEX"


def test_a_title_is_the_name_of_one_object() -> None:
    one, other = ({"title": "Thing", "type": "object", "properties": {name: {}}} for name in ("a", "b"))
    with pytest.raises(ValueError, match="Thing"):
        named({"components": {"schemas": {"Outer": {"anyOf": [one, other]}}}})


def test_paths_differ_in_more_than_the_names_of_their_parameters(document: dict[str, Any]) -> None:
    """OpenAPI 3.1, 4.8.8: those that do not are the same, and must not exist."""
    shapes = [re.sub(r"{\w+}", "{}", path) for path in document["paths"]]
    assert sorted(set(shapes)) == sorted(shapes)


def test_headers_are_texts_and_tags_are_told(document: dict[str, Any]) -> None:
    told = {tag["name"] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert set(operation.get("tags", ())) <= told
            for parameter in operation.get("parameters", ()):
                assert parameter["in"] != "header" or "array" not in str(parameter["schema"]), (path, parameter["name"])


def everything(schema: Any) -> Iterator[dict[str, Any]]:
    """The objects in it, itself first."""
    if isinstance(schema, dict):
        yield schema
        schema = [*schema.values()]
    if isinstance(schema, list):
        for each in schema:
            yield from everything(each)


def test_every_operation_has_a_name_a_description_and_its_problems(document: dict[str, Any]) -> None:
    names = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(names) == len(set(names)) > 30
    for method, path, operation in operations(document):
        assert operation["description"], (method, path)
        assert operation["tags"], (method, path)
        if path.startswith(CONFIRM_PATH):
            assert operation["security"] == [], path
            assert operation["responses"].keys() == {"200", "404", "500", "503"}, path
        elif path.startswith("/v1/"):
            stranger: list[dict[str, list[str]]] = [{}] if path in WITHOUT_KEY else []
            pages: list[dict[str, list[str]]] = [{"console": []}, {"portal": []}]
            known = [{"apiKey": []}, *({"session": []} | page for page in pages), *stranger]
            assert operation["security"] == (pages if (method.upper(), path) == SIGN_IN else known), path
            assert {"401", "500", "503"} <= set(operation["responses"]), (method, path)
            if "requestBody" in operation:
                assert {"400", "413", "415", "422"} <= set(operation["responses"]), (method, path)
        else:
            assert "security" not in operation, path


def test_publishing_is_described_in_full(document: dict[str, Any]) -> None:
    one = document["paths"]["/v1/apps/{app}/events"]
    assert set(one) == {"get", "post"}
    assert set(one["post"]["requestBody"]["content"]) == {
        "application/json", "application/cloudevents+json", "application/cloudevents-batch+json", "*/*",
    }  # fmt: skip
    assert {"202", "400", "401", "403", "404", "408", "409", "413", "415", "422", "503"} <= set(
        one["post"]["responses"]
    )
    assert {parameter["name"] for parameter in one["post"]["parameters"]} == {
        "app",
        "type",
        "subject",
        "dry_run",
        "Idempotency-Key",
    }
    batch = document["paths"]["/v1/apps/{app}/events/batch"]["post"]
    assert set(batch["requestBody"]["content"]) == {
        "application/json", "application/cloudevents-batch+json", "application/x-ndjson",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ("PublishEvent", {"type": "order.created", "data": None}, {"type": "order.created"}),
        ("PublishEvent", {"type": "a", "data": 1, "key": None, "channels": ["x"]}, {"type": "a", "data": 1, "x": 1}),
        ("EndpointCreate", {"url": "https://example.com/", "retry": {"schedule": [5]}}, {}),
        ("EndpointPatch", {"retry": None, "timeouts": {"total": 60}}, {"timeouts": {"total": 61}}),
        ("EndpointPatch", {}, {"retry": {"schedule": [0]}}),
        ("EndpointPatch", {"concurrency": 1000}, {"concurrency": 0}),
        ("KeyCreate", {"scope": "admin"}, {"scope": "root"}),
    ],
)
def test_schemas_tell_good_from_bad(document: dict[str, Any], schema: str, good: object, bad: object) -> None:
    validator = jsonschema_rs.validator_for(
        {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    )
    validator.validate(good)
    assert not validator.is_valid(bad)


def test_every_component_is_a_schema(document: dict[str, Any]) -> None:
    for name in document["components"]["schemas"]:
        jsonschema_rs.validator_for(
            {"$ref": f"#/components/schemas/{name}", "components": document["components"]}, validate_formats=True
        )
