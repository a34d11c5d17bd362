"""What a change of an event type's schema means for those who rely on it.

Consumers read events of the new schema with what they know of the old one: they are safe where everything that fits the new
schema fits the old one. Publishers go on sending what fits the old schema: they are safe where everything that does fits the
new one. So `SAFE` is a promise, and a property test holds it to that; `BREAKS` says what changed for the worse, and where a
receiver relies on more than what fits (that a property is there at all, say) it errs on that side; `UNKNOWN` is what two
schemas alone do not tell, such as whether one `not` or one pattern implies another.

Keywords are compared one by one, those that depend on one another together: a schema is the conjunction of its keywords, so
where each is implied, all are. Draft 2020-12; references within the schema are followed, also in circles (what is assumed
equal on the way round is compared where it began).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from posthouse.domain import keywords
from posthouse.domain.json_schema import Document, Endless, Sameness, Schema
from posthouse.domain.keywords import ALL_TYPES, ANNOTATIONS, OPAQUE, Finding
from posthouse.domain.limits import SCHEMA_BRANCHES_MAX, SCHEMA_CHANGES_MAX, SCHEMA_STEPS_MAX


class Verdict(StrEnum):
    SAFE = "safe"
    UNKNOWN = "unknown"
    BREAKS = "breaks"


SAFE, UNKNOWN, BREAKS = Verdict.SAFE, Verdict.UNKNOWN, Verdict.BREAKS
_ORDER: Final = (SAFE, UNKNOWN, BREAKS)


class Change(msgspec.Struct, frozen=True):
    """One thing that changed. `path` is where it shows in the data: `items[].sku`, `meta.*`, empty for the whole."""

    path: str
    kind: str
    consumers: Verdict
    publishers: Verdict
    detail: str


class Evolution(msgspec.Struct, frozen=True):
    """All that changed from one schema to another; `truncated` where not all of it is listed (it is judged all the same)."""

    changes: tuple[Change, ...]
    consumers: Verdict
    publishers: Verdict
    truncated: bool = False


def compare(old: Schema | None, new: Schema | None) -> Evolution:
    """What changes from `old` to `new`. No schema allows everything."""
    told: list[Change] = []
    consumers, publishers, count = SAFE, SAFE, 0
    try:
        for change in _Comparison(True if old is None else old, True if new is None else new).changes():
            consumers, publishers = worst((consumers, change.consumers)), worst((publishers, change.publishers))
            count += 1
            if count <= SCHEMA_CHANGES_MAX:
                told.append(change)
    except (Endless, RecursionError):
        endless = Change("", "too_large", UNKNOWN, UNKNOWN, "the schemas are too large to be compared to their end")
        consumers, publishers = worst((consumers, UNKNOWN)), worst((publishers, UNKNOWN))
        count += 1
        told = [endless, *told[: SCHEMA_CHANGES_MAX - 1]]
    return Evolution(tuple(told), consumers, publishers, truncated=count > len(told))


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    return max(verdicts, key=_ORDER.index, default=SAFE)


_ANYTHING: Final[dict[str, Any]] = {}
_CONDITIONAL: Final = ("if", "then", "else")
_UNEVALUATED: Final = ("unevaluatedItems", "unevaluatedProperties")


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old = Document(old)
        self._new = Document(new)
        self._same = Sameness(self._old, self._new, steps=SCHEMA_STEPS_MAX)
        self._under_way: set[tuple[int, int]] = set()

    def changes(self) -> Iterator[Change]:
        old, new = self._old.root, self._new.root
        if msgspec.json.encode(old, order="sorted") == msgspec.json.encode(new, order="sorted"):
            return
        if not (self._old.self_contained and self._new.self_contained):
            yield Change(
                "",
                "references",
                UNKNOWN,
                UNKNOWN,
                "$id within the schema, $dynamicRef, or another draft than 2020-12: references may mean something else",
            )
        yield from self._schemas(old, new, "")

    def _schemas(self, old: Any, new: Any, path: str) -> Iterator[Change]:
        """What changes from one schema to another at the same place of the data."""
        self._same.spend()
        old, new = self._followed(old, self._old), self._followed(new, self._new)
        if old is None or new is None:
            yield Change(path, "reference", UNKNOWN, UNKNOWN, "a $ref leads nowhere that is understood")
            return
        if self._same(old, new):
            return
        if new is False:
            yield Change(path, "forbidden", SAFE, BREAKS, "nothing is accepted here any more")
            return
        if old is False:
            yield Change(path, "allowed", BREAKS, SAFE, "values are accepted where none was")
            return
        old = _ANYTHING if old is True else old
        new = _ANYTHING if new is True else new
        pair = (id(old), id(new))
        if pair in self._under_way:
            return
        self._under_way.add(pair)
        try:
            yield from self._objects(old, new, path)
        finally:
            self._under_way.discard(pair)

    def _followed(self, schema: Any, document: Document) -> Schema | None:
        """The schema that a plain reference comes to; one beside other keywords is part of a conjunction."""
        seen: set[str] = set()
        while isinstance(schema, dict) and isinstance(reference := schema.get("$ref"), str):
            if any(
                keyword not in ANNOTATIONS and keyword not in ("$ref", "$defs", "definitions") for keyword in schema
            ):
                return schema
            if reference in seen:
                return None
            seen.add(reference)
            schema = document.find(reference)
        return schema if isinstance(schema, dict | bool) else None

    def _objects(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        if any(keyword in old or keyword in new for keyword in _UNEVALUATED) and not self._same(
            keywords.bare(old), keywords.bare(new)
        ):
            # It depends on every keyword beside it, and something there is different.
            yield Change(
                path, "unevaluated", UNKNOWN, UNKNOWN, "what unevaluated… refuses depends on all keywords beside it"
            )
        old_types, new_types = self._types(old, self._old), self._types(new, self._new)
        yield from _told(path, keywords.types(old, new, old_types, new_types))
        yield from _told(path, keywords.values(old, new))
        families: tuple[tuple[frozenset[str], Iterator[Change]], ...] = (
            (keywords.NUMBERS, _told(path, keywords.numbers(old, new))),
            (keywords.STRINGS, _told(path, keywords.strings(old, new))),
            (keywords.ARRAYS, self._arrays(old, new, path)),
            (keywords.OBJECTS, self._properties(old, new, path)),
        )
        for family, changes in families:
            # What is said of strings is nothing to those who never meet one.
            met, sent = bool(family & new_types), bool(family & old_types)
            for change in changes:
                if met or sent:
                    yield msgspec.structs.replace(
                        change,
                        consumers=change.consumers if met else SAFE,
                        publishers=change.publishers if sent else SAFE,
                    )
        yield from self._combined(old, new, path)
        yield from self._opaque(old, new, path)
        if any(not self._same(old.get(name), new.get(name)) for name in ANNOTATIONS):
            yield Change(path, "documentation_changed", SAFE, SAFE, "titles, descriptions, examples or the like")

    def _types(self, schema: Any, document: Document, depth: int = 0) -> frozenset[str]:
        """Types that an instance may have at most, as far as it is easily seen."""
        self._same.spend()
        if schema is False:
            return frozenset()
        if not isinstance(schema, dict) or depth > 8:
            return ALL_TYPES
        found = keywords.declared_types(schema) & keywords.types_of_values(schema)
        for keyword in ("anyOf", "oneOf"):
            if isinstance(branches := schema.get(keyword), list) and len(branches) <= SCHEMA_BRANCHES_MAX:
                found &= frozenset().union(*(self._types(branch, document, depth + 1) for branch in branches))
        for part in schema.get("allOf", ())[:SCHEMA_BRANCHES_MAX]:
            found &= self._types(part, document, depth + 1)
        if isinstance(reference := schema.get("$ref"), str):
            found &= self._types(document.find(reference), document, depth + 1)
        return found

    # Arrays

    def _arrays(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        yield from _told(path, keywords.arrays(old, new))
        firsts_old, firsts_new = old.get("prefixItems", []), new.get("prefixItems", [])
        rest_old, rest_new = old.get("items", True), new.get("items", True)
        for index in range(max(len(firsts_old), len(firsts_new))):
            yield from self._schemas(
                firsts_old[index] if index < len(firsts_old) else rest_old,
                firsts_new[index] if index < len(firsts_new) else rest_new,
                f"{path}[{index}]",
            )
        yield from self._schemas(rest_old, rest_new, f"{path}[]")
        contains = ("contains", "minContains", "maxContains")
        if not self._group_same(contains, old, new):
            if "contains" not in old:
                yield Change(path, "contains_added", SAFE, BREAKS, "arrays must contain certain items now")
            elif "contains" not in new:
                yield Change(path, "contains_removed", BREAKS, SAFE, "arrays need not contain certain items any more")
            else:
                yield Change(path, "contains_changed", UNKNOWN, UNKNOWN, "what arrays must contain changed")

    # Objects

    def _properties(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        yield from _told(path, keywords.objects(old, new))
        known, given = old.get("properties", {}), new.get("properties", {})
        others_old, others_new = old.get("additionalProperties", True), new.get("additionalProperties", True)
        patterns_old, patterns_new = old.get("patternProperties", {}), new.get("patternProperties", {})
        for name in known:
            if name in given:
                yield from self._schemas(known[name], given[name], _below(path, name))
            else:
                _, publishers = self._verdicts(known[name], others_new)
                yield Change(
                    _below(path, name),
                    "property_removed",
                    BREAKS,
                    publishers,
                    f"the schema does not know {name!r} any more"
                    + ("" if publishers is SAFE else ", and may refuse events that carry it"),
                )
        for name in given:
            if name not in known:
                yield self._added(name, given[name], others_old, path, patterned=bool(patterns_old))
        for pattern in sorted(patterns_old.keys() | patterns_new.keys()):
            where = f"{path}{{{pattern}}}"
            if pattern in patterns_old and pattern in patterns_new:
                yield from self._schemas(patterns_old[pattern], patterns_new[pattern], where)
            elif pattern in patterns_old:
                safe = keywords.is_open(others_new)
                yield Change(
                    where, "pattern_removed", BREAKS, SAFE if safe else UNKNOWN, "these names are no longer described"
                )
            else:
                safe = keywords.is_open(others_old)
                yield Change(
                    where, "pattern_added", SAFE if safe else UNKNOWN, UNKNOWN, "these names are described now"
                )
        for change in self._schemas(others_old, others_new, _below(path, "*")):
            kind = {"forbidden": "closed", "allowed": "opened"}.get(change.kind, change.kind)
            yield msgspec.structs.replace(change, kind=kind) if change.path == _below(path, "*") else change
        yield from self._schemas(old.get("propertyNames", True), new.get("propertyNames", True), f"{path}{{names}}")
        dependent_old, dependent_new = old.get("dependentSchemas", {}), new.get("dependentSchemas", {})
        for name in sorted(dependent_old.keys() | dependent_new.keys()):
            yield from self._schemas(dependent_old.get(name, True), dependent_new.get(name, True), path)

    def _added(self, name: str, schema: Any, others: Any, path: str, *, patterned: bool) -> Change:
        consumers, publishers = self._verdicts(others, schema)
        if patterned:
            # A pattern may have allowed this name more than `additionalProperties` did.
            publishers = worst((publishers, self._verdicts(True, schema)[1]))
        detail = f"{name!r} is described now"
        if consumers is not SAFE:
            detail += "; the old schema did not allow it, and a receiver that is strict refuses it"
        if publishers is not SAFE:
            if publishers is BREAKS and keywords.is_open(others):
                publishers = UNKNOWN  # only those break who sent something else under this name, which nobody described
            detail += "; events that carry something else under this name fitted so far, and do not any more"
        return Change(_below(path, name), "property_added", consumers, publishers, detail)

    # Combinations

    def _combined(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        yield from self._all_of(keywords.conjuncts(old), keywords.conjuncts(new), path)
        yield from self._any_of(old, new, path)
        if not self._group_same(("oneOf",), old, new):
            yield from self._one_of(old, new, path)

    def _all_of(self, old: list[Any], new: list[Any], path: str) -> Iterator[Change]:
        old, new = self._unlike(old, new)
        for before, after in zip(old, new, strict=False):
            yield from self._schemas(before, after, path)
        if len(old) > len(new):
            yield Change(path, "condition_removed", UNKNOWN, SAFE, "a part of allOf, or a $ref, is gone")
        if len(new) > len(old):
            yield Change(path, "condition_added", SAFE, UNKNOWN, "a part of allOf, or a $ref, came to it")

    def _any_of(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        before, after = old.get("anyOf"), new.get("anyOf")
        if before is None and after is None:
            return
        gone, come = self._unlike(before or [], after or [])
        if not gone and not come and before is not None and after is not None:
            return
        if max(len(before or ()), len(after or ())) > SCHEMA_BRANCHES_MAX:
            yield Change(path, "alternatives_changed", UNKNOWN, UNKNOWN, "anyOf has too many branches to be compared")
            return
        if len(gone) == len(come) == 1:
            yield from self._schemas(gone[0], come[0], path)
            return
        # A branch is covered where some branch on the other side allows all that it does; without anyOf, the whole must be.
        if before is None:
            consumers = SAFE
        else:
            wholes = come if after is not None else [new]
            consumers = self._covered(wholes, before, consuming=True)
        if after is None:
            publishers = SAFE
        else:
            wholes = gone if before is not None else [old]
            publishers = self._covered(wholes, after, consuming=False)
        if consumers is not SAFE and before is not None and after is not None and self._only_null(come, before):
            yield Change(path, "nullable_added", BREAKS, publishers, "null is accepted now")
        else:
            yield Change(path, "alternatives_changed", consumers, publishers, "the branches of anyOf changed")

    def _covered(self, inner: Sequence[Any], outer: Sequence[Any], *, consuming: bool) -> Verdict:
        """SAFE where each schema of `inner` is implied by one of `outer`: of the new by the old, or the other way round."""
        for one in inner:
            pairs = ((known, one) if consuming else (one, known) for known in outer)
            if not any(self._verdicts(*pair)[0 if consuming else 1] is SAFE for pair in pairs):
                return UNKNOWN
        return SAFE

    def _one_of(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        before, after = old.get("oneOf", []), new.get("oneOf", [])
        gone, come = self._unlike(before, after)
        if before and not gone and self._only_null(come, before):
            yield Change(path, "nullable_added", BREAKS, UNKNOWN, "null is accepted now")
        elif "oneOf" not in old:
            yield Change(path, "alternatives_changed", SAFE, UNKNOWN, "oneOf came to it")
        elif "oneOf" not in new:
            yield Change(path, "alternatives_changed", UNKNOWN, SAFE, "oneOf is gone")
        else:
            yield Change(path, "alternatives_changed", UNKNOWN, UNKNOWN, "the branches of oneOf changed")

    def _only_null(self, come: Sequence[Any], before: Sequence[Any]) -> bool:
        null = frozenset({"null"})
        return (
            len(come) == 1
            and len(before) <= SCHEMA_BRANCHES_MAX
            and self._types(come[0], self._new) == null
            and not any(null & self._types(branch, self._old) for branch in before)
        )

    def _opaque(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[Change]:
        for keyword in OPAQUE:
            if not self._group_same((keyword,), old, new):
                yield Change(
                    path, f"{keyword}_changed", UNKNOWN, UNKNOWN, f"{keyword!r} changed, which is not judged here"
                )
        if not self._group_same(_CONDITIONAL, old, new):
            yield Change(
                path, "condition_changed", UNKNOWN, UNKNOWN, "if, then or else changed, which is not judged here"
            )

    # What the comparisons share

    def _verdicts(self, old: Any, new: Any) -> tuple[Verdict, Verdict]:
        """Of one schema and another, for consumers and publishers."""
        changes = list(self._schemas(old, new, ""))
        return worst(change.consumers for change in changes), worst(change.publishers for change in changes)

    def _group_same(self, group: Sequence[str], old: dict[str, Any], new: dict[str, Any]) -> bool:
        return all((name in old) == (name in new) and self._same(old.get(name), new.get(name)) for name in group)

    def _unlike(self, old: Sequence[Any], new: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        """What is on one side only, each thing on one side paired with one on the other at most."""
        come = list(new)
        gone = []
        for schema in old:
            like = next((index for index, other in enumerate(come) if self._same(schema, other)), None)
            if like is None:
                gone.append(schema)
            else:
                del come[like]
        return gone, come


def _told(path: str, findings: Iterable[Finding]) -> Iterator[Change]:
    """Findings about keywords, as changes: more is allowed, less is, or the one cannot be told from the other."""
    for finding in findings:
        consumers = BREAKS if finding.wider else SAFE
        publishers = BREAKS if finding.narrower else SAFE
        if finding.unclear:
            consumers = publishers = UNKNOWN
        yield Change(path, finding.kind, consumers, publishers, finding.detail)


def _below(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
