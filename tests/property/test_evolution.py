"""That a change of a schema is safe is a promise: nothing fits the new schema that a consumer of the old one does not know,
nothing that fitted the old one is refused by the new."""

from __future__ import annotations

import copy
from collections import Counter
from random import Random
from typing import Any, Final

import msgspec
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.examples import examples

from posthouse.domain.evolution import SAFE, compare
from posthouse.intake.catalogue import compile_schema

NAMES: Final = ("a", "b", "ax")
TEXTS: Final = ("", "a", "bb", "2026-01-02", "x@example.com", "a7")
SCALARS: Final = (None, True, False, *range(-3, 8), 0.5, 1.0, 2.5, 10.0, *TEXTS)
TYPES: Final = ("null", "boolean", "integer", "number", "string", "array", "object")
PAIRS_AN_EXAMPLE: Final = 100
VALUES_A_PAIR: Final = 30


class Maker:
    """Small schemas, small changes to them, and values near them. Plain chance is a hundred times as fast as a strategy."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.pick = random.choice

    def some(self, choices: tuple[Any, ...] | range, most: int, least: int = 0) -> list[Any]:
        return self.random.sample(list(choices), self.random.randint(least, min(most, len(choices))))

    def document(self) -> dict[str, Any]:
        """A schema that may refer to two definitions, one of which leads back to the whole through the data."""
        flat = {name: value for name, value in self.schema(0).items() if name != "$ref"}
        around = {"items": {"$ref": "#"}} if self.random.random() < 0.5 else {"properties": {"a": {"$ref": "#"}}}
        return self.schema(2) | {"$defs": {"one": flat, "other": around | self.schema(0, refers=False)}}

    def any_schema(self, depth: int) -> Any:
        return self.random.random() < 0.6 if self.random.random() < 0.15 else self.schema(depth)

    def schema(self, depth: int, *, refers: bool = True) -> dict[str, Any]:
        whole: dict[str, Any] = {}
        family = self.pick(
            (self.of_any, self.of_numbers, self.of_texts, self.of_arrays, self.of_objects, self.of_objects)
        )
        for _ in range(self.random.randint(1, 3)):
            chosen = family if self.random.random() < 0.7 else self.pick((self.of_any, self.combined))
            whole |= chosen(depth)
        if not refers:
            whole.pop("$ref", None)
        return whole

    def of_any(self, _depth: int) -> dict[str, Any]:
        return self.pick(
            [
                {"type": self.pick(TYPES)},
                {"type": self.some(TYPES, 3, 1)},
                {"enum": self.some(SCALARS, 3, 1)},
                {"const": self.pick(SCALARS)},
                {"title": self.pick(("one", "other"))},
                {"$ref": self.pick(("#/$defs/one", "#/$defs/other"))},
            ]
        )

    def of_numbers(self, _depth: int) -> dict[str, Any]:
        names = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
        return self.pick([{self.pick(names): self.random.randint(-2, 6)}, {"multipleOf": self.pick((1, 2, 4, 0.5, 3))}])

    def of_texts(self, _depth: int) -> dict[str, Any]:
        return self.pick(
            [
                {self.pick(("minLength", "maxLength")): self.random.randint(0, 3)},
                {"pattern": self.pick(("^a", "b", "[0-9]"))},
                {"format": self.pick(("date", "email"))},
            ]
        )

    def of_arrays(self, depth: int) -> dict[str, Any]:
        choices: list[dict[str, Any]] = [
            {self.pick(("minItems", "maxItems")): self.random.randint(0, 2)},
            {"uniqueItems": self.random.random() < 0.7},
        ]
        if depth:
            choices += [
                {"items": self.any_schema(depth - 1)},
                {"prefixItems": [self.any_schema(depth - 1) for _ in range(self.random.randint(1, 2))]},
                {"contains": self.any_schema(depth - 1)},
                {self.pick(("minContains", "maxContains")): self.random.randint(0, 2)},
            ]
        return self.pick(choices)

    def of_objects(self, depth: int) -> dict[str, Any]:
        choices: list[dict[str, Any]] = [
            {"required": self.some(NAMES, 2)},
            {self.pick(("minProperties", "maxProperties")): self.random.randint(0, 2)},
            {"dependentRequired": {self.pick(NAMES): self.some(NAMES, 2)}},
            {"additionalProperties": False},
        ]
        if depth:
            properties = {"properties": {name: self.any_schema(depth - 1) for name in self.some(NAMES, 2, 1)}}
            choices += [
                properties,
                properties,
                properties | {"additionalProperties": self.any_schema(depth - 1)},
                {"additionalProperties": self.any_schema(depth - 1)},
                {"patternProperties": {self.pick(("^a", "x$")): self.any_schema(depth - 1)}},
                {"propertyNames": self.any_schema(0)},
                {"dependentSchemas": {self.pick(NAMES): self.any_schema(depth - 1)}},
                {"unevaluatedProperties": self.any_schema(depth - 1)},
            ]
        return self.pick(choices)

    def combined(self, depth: int) -> dict[str, Any]:
        if not depth:
            return {}
        one = self.any_schema(depth - 1)
        some = [one, *(self.any_schema(depth - 1) for _ in range(self.random.randint(0, 2)))]
        return self.pick(
            [
                {"anyOf": some},
                {"anyOf": some},
                {"allOf": some},
                {"oneOf": some},
                {"not": one},
                {"if": one},
                {"then": one},
            ]
        )

    def changed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """A document, and one that differs in a place or two: what people do. Sometimes just another one."""
        old = self.document()
        if self.random.random() < 0.1:
            return old, self.document()
        new = copy.deepcopy(old)
        for _ in range(self.random.randint(1, 2)):
            where = self.pick(list(schemas_in(new)))
            self.change(where)
        return (old, new) if self.random.random() < 0.5 else (new, old)

    def change(self, where: dict[str, Any]) -> None:
        names = sorted(name for name in where if name != "$defs")
        match self.random.randint(0, 5):
            case 0 if names:
                del where[self.pick(names)]
            case 1 if names:
                # A bound moved, a list made shorter or longer.
                name = self.pick(names)
                match where[name]:
                    case bool():
                        where[name] = not where[name]
                    case int():
                        where[name] += self.pick((-1, 1))
                    case list() if len(where[name]) > 1:
                        where[name] = self.some(tuple(where[name]), 2, 1)
                    case list() if name in ("anyOf", "allOf", "oneOf", "prefixItems"):
                        where[name] = [*where[name], self.any_schema(1)]
                    case str() | None if name in where:
                        where[name] = {"type": "number", "$ref": "#/$defs/one"}.get(name, "^a")
            case 2:
                where.setdefault("properties", {})[self.pick(NAMES)] = self.any_schema(1)
            case 3 if isinstance(where.get("properties"), dict) and where["properties"]:
                del where["properties"][self.pick(sorted(where["properties"]))]
            case _:
                where |= self.schema(1)

    # Values

    def value(self, schemas: tuple[Any, ...], depth: int = 0) -> Any:
        """A value that has to do with one of the schemas."""
        schema = self.pick(schemas)
        if not isinstance(schema, dict) or depth > 3 or self.random.random() < 0.1:
            return self.plain(depth)
        inner = [part for name in ("anyOf", "allOf", "oneOf") for part in schema.get(name, ())]
        if inner and self.random.random() < 0.5:
            return self.value((self.pick(inner),), depth + 1)
        if "enum" in schema or "const" in schema:
            return self.pick([*schema.get("enum", ()), schema.get("const")])
        bounds = [limit for name, limit in schema.items() if "inimum" in name or "aximum" in name]
        if bounds and self.random.random() < 0.8:
            return self.pick(bounds) + self.pick((-1, -0.5, 0, 0, 1))
        parts = tuple(s for s in schemas if isinstance(s, dict))
        if any(name in schema for name in ("properties", "required", "additionalProperties", "dependentRequired")):
            return self.object(parts, depth)
        if any(name in schema for name in ("items", "prefixItems", "minItems", "contains", "uniqueItems")):
            return [
                self.value(tuple(s.get("items", True) for s in parts), depth + 1)
                for _ in range(self.random.randint(0, 3))
            ]
        return self.plain(depth)

    def object(self, schemas: tuple[Any, ...], depth: int) -> dict[str, Any]:
        names = self.some((*NAMES, "zz"), 3)
        return {
            name: self.value(
                tuple(s.get("properties", {}).get(name, s.get("additionalProperties", True)) for s in schemas),
                depth + 1,
            )
            for name in names
        }

    def plain(self, depth: int) -> Any:
        kind = self.random.random()
        if depth > 2 or kind < 0.6:
            return self.pick(SCALARS)
        if kind < 0.75:
            return [self.plain(depth + 1) for _ in range(self.random.randint(0, 3))]
        return {name: self.plain(depth + 1) for name in self.some((*NAMES, "zz"), 3)}


LISTS: Final = ("anyOf", "allOf", "oneOf", "prefixItems")
MAPS: Final = ("properties", "patternProperties", "dependentSchemas", "$defs")
ONES: Final = (
    "additionalProperties",
    "propertyNames",
    "items",
    "contains",
    "not",
    "if",
    "then",
    "unevaluatedProperties",
)


def schemas_in(schema: Any) -> list[dict[str, Any]]:
    """A schema's objects, itself first."""
    if not isinstance(schema, dict):
        return []
    below = [part for name in LISTS for part in schema.get(name, ())]
    below += [part for name in MAPS for part in schema.get(name, {}).values()]
    below += [schema[name] for name in ONES if name in schema]
    return [schema, *(found for part in below for found in schemas_in(part))]


def validator_of(schema: Any) -> Any:
    try:
        return compile_schema(msgspec.json.encode(schema).decode())
    except ValueError:
        return None


seen: Counter[str] = Counter()


@settings(max_examples=examples(20), deadline=None)
@given(st.integers(0, 2**63))
@example(1)
def check_safe_is_kept(seed: int) -> None:
    maker = Maker(Random(seed))
    for _ in range(PAIRS_AN_EXAMPLE):
        old, new = maker.changed()
        before, after = validator_of(old), validator_of(new)
        if before is None or after is None:
            seen["no schema"] += 1
            continue
        found = compare(old, new)
        seen[f"consumers {found.consumers}"] += 1
        seen[f"publishers {found.publishers}"] += 1
        for _ in range(VALUES_A_PAIR):
            value = maker.value((old, new))
            fitted, fits = before.is_valid(value), after.is_valid(value)
            if fits and not fitted:
                seen[f"wider, {found.consumers}"] += 1
                assert found.consumers is not SAFE, (old, new, value, found)
            if fitted and not fits:
                seen[f"narrower, {found.publishers}"] += 1
                assert found.publishers is not SAFE, (old, new, value, found)


def test_what_is_called_safe_is_safe() -> None:
    seen.clear()
    check_safe_is_kept()
    # That it says so at all, and that there were values to tell the two apart.
    for told in ("consumers safe", "publishers safe", "wider, breaks", "narrower, breaks"):
        assert seen[told] > 500, seen
    assert seen["no schema"] < seen["consumers safe"]
