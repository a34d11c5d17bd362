"""The page of the HTTP API, from the OpenAPI document that the server gives out."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import structlog
from docs.text import Texts, table

from posthouse.adapters.system.clock import SystemClock
from posthouse.api.app import Services, build_app
from posthouse.api.texts.accepted import CHINESE, ENGLISH, Language
from posthouse.domain.errors import StoreUnavailable

METHODS: Final = ("get", "post", "put", "patch", "delete")
_SCHEMAS: Final = "#/components/schemas/"


class NoDatabase:
    """Without a catalogue to read, a server tells of its routes all the same."""

    async def catalogue_version(self) -> int:
        raise StoreUnavailable("the reference is made without a database")


def openapi_document(language: Language = ENGLISH) -> dict[str, Any]:
    """`/openapi.json` as a server without event types answers it; nothing else of the services is used."""
    wanted = inspect.signature(Services.over).parameters.values()
    nothing: dict[str, Any] = {each.name: None for each in wanted if each.default is inspect.Parameter.empty}
    given = {"directory": NoDatabase(), "clock": SystemClock(), "cursor_key": b""}
    app = build_app(Services.over(**nothing | given))
    with structlog.testing.capture_logs():
        document: dict[str, Any] = json.loads(asyncio.run(_get(app, "/openapi.json", language)))
    return document


async def _get(app: Any, path: str, language: Language) -> bytes:
    chunks: list[bytes] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        chunks.append(message.get("body", b""))

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(b"accept-language", language.encode())],
    }
    await app(scope, receive, send)
    return b"".join(chunks)


def http_page(texts: Texts) -> str:
    """Routes by tag, then the objects that they take and give."""
    words = texts["http"]
    document = openapi_document(ENGLISH if texts["language"] == "en" else CHINESE)
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                operation = operations[method]
                tag = (operation.get("tags") or ["system"])[0]
                by_tag.setdefault(tag, []).append(_operation(words, method, path, operation))
    parts: list[str] = []
    for tag in sorted(by_tag, key=lambda tag: (list(words["tags"]).index(tag) if tag in words["tags"] else 99, tag)):
        parts += [f"## {words['tags'].get(tag, tag)}", *by_tag[tag]]
    parts += [f"## {words['objects']}"]
    schemas = document["components"]["schemas"]
    parts += [_object(words, name, schemas[name]) for name in sorted(schemas)]
    return texts.page("http", *parts)


def _operation(words: Mapping[str, Any], method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [f"### `{method.upper()} {path}`"]
    if "description" in operation:
        parts.append(" ".join(operation["description"].split()))
    parameters = [
        (
            f"`{parameter['name']}`",
            words["places"][parameter["in"]],
            kind(parameter.get("schema", {}), words["kinds"]),
            _told(parameter.get("description") or parameter.get("schema", {}).get("description")),
        )
        for parameter in operation.get("parameters", ())
    ]
    if parameters:
        parts.append(table(words["parameter_columns"], parameters))
    body = operation.get("requestBody")
    if body is not None:
        told = [f"`{media}`: {kind(content['schema'], words['kinds'])}" for media, content in body["content"].items()]
        parts.append(words["body"] + words["kinds"]["semicolon"].join(told))
    parts.append("\n".join(_answers(words, operation["responses"])))
    return "\n\n".join(parts)


def _answers(words: Mapping[str, Any], responses: Mapping[str, Any]) -> Iterator[str]:
    problems = []
    for status, answer in responses.items():
        if "$ref" in answer:
            problems.append(status)
            continue
        kinds = ", ".join(
            kind(content["schema"], words["kinds"]) if content.get("schema") else f"`{media}`"
            for media, content in answer.get("content", {}).items()
        )
        yield f"- **{status}** {kinds or words['no_body']}"
    if problems:
        yield f"- {words['problems']}{', '.join(problems)}"


def _object(words: Mapping[str, Any], name: str, schema: Mapping[str, Any]) -> str:
    parts = [f"### {name}"]
    if "description" in schema:
        parts.append(" ".join(str(schema["description"]).split()))
    required = schema.get("required", ())
    rows = [
        (
            words["kinds"]["format"].format(f"`{field}`", words["required"])
            if field in required and schema.get("type") == "object"
            else f"`{field}`",
            kind(value, words["kinds"]),
            _told(value.get("description")),
        )
        for field, value in schema.get("properties", {}).items()
    ]
    parts.append(table(words["field_columns"], rows) if rows else kind(schema, words["kinds"]))
    return "\n\n".join(parts)


def kind(schema: Mapping[str, Any], words: Mapping[str, str]) -> str:
    """A schema in a few words: `array of string or null`, with a link for an object and the bounds that it has."""
    if "$ref" in schema:
        name = schema["$ref"].removeprefix(_SCHEMAS)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema or "oneOf" in schema:
        told = _either((kind(part, words) for part in schema.get("anyOf") or schema["oneOf"]), words)
    elif "const" in schema:
        told = f"`{schema['const']}`"
    elif "enum" in schema:
        told = _either((f"`{value}`" for value in schema["enum"]), words)
    elif schema.get("type") == "array":
        told = words["array"].format(kind(schema.get("items", {}), words))
    elif isinstance(schema.get("type"), list):
        told = _either(schema["type"], words)
    else:
        told = str(schema.get("type", words["any"]))
        if "format" in schema:
            told = words["format"].format(told, schema["format"])
    return words["comma"].join([told, *_bounds(schema, words)])


def _either(kinds: Iterable[str], words: Mapping[str, str]) -> str:
    # A full-width bracket brings its own space.
    return f" {words['or']} ".join(kinds).replace("） ", "）")


def _bounds(schema: Mapping[str, Any], words: Mapping[str, str]) -> Iterator[str]:
    for name, sign in (
        ("minimum", "≥ "), ("exclusiveMinimum", "> "), ("maximum", "≤ "),
        ("minLength", f"{words['length']} ≥ "), ("maxLength", f"{words['length']} ≤ "),
        ("minItems", f"{words['items']} ≥ "), ("maxItems", f"{words['items']} ≤ "),
    ):  # fmt: skip
        if name in schema:
            yield f"{sign}{schema[name]:g}"
    if "default" in schema:
        yield f"{words['default']} `{json.dumps(schema['default'], ensure_ascii=False)}`"


def _told(text: str | None) -> str:
    return " ".join((text or "").split()).replace("<", "&lt;")
