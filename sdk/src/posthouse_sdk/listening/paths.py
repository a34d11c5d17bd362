"""Path templates: `/orders/{id}`, as Starlette and FastAPI write them, or `/orders/<int:id>`, as Django and Flask do. Pure.

| kind | matches | its value |
|---|---|---|
| `{id}`, `{id:str}`, `<id>`, `<str:id>` | one segment, or a part of one (`{id}.json`), never empty | text |
| `{id:int}`, `<int:id>` | up to 20 digits | a number |
| `{id:slug}`, `{id:uuid}` | letters, digits, `-` and `_`; a UUID | text |
| `{rest:path}`, `<path:rest>` | anything that is not empty, slashes too | text |

A segment holds one parameter at most, and a template one of kind `path`: so no path, however long, is slow to match. What does
not stand in a parameter matches itself; a slash at the end counts.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

TEMPLATE_LENGTH_MAX: Final = 1_024
_DIGITS: Final = "[0-9]{1,20}"
_HEX: Final = "[0-9a-fA-F]"


class _Kind(NamedTuple):
    pattern: str
    value: Callable[[str], Any]


_KINDS: Final = {
    "str": _Kind("[^/]+", str),
    "int": _Kind(_DIGITS, int),
    "slug": _Kind("[-a-zA-Z0-9_]+", str),
    "uuid": _Kind(f"{_HEX}{{8}}(?:-{_HEX}{{4}}){{3}}-{_HEX}{{12}}", str),
    "path": _Kind(".+", str),
}
_PARAMETER: Final = re.compile(
    r"\{(?P<name>[A-Za-z_]\w*)(?::(?P<kind>\w+))?\}|<(?:(?P<kind_before>\w+):)?(?P<other>[A-Za-z_]\w*)>", re.ASCII
)


class PathTemplate:
    """A template that was read. `pattern` is a regular expression without groups: what it matches in full, `match` does.

    Raises: ValueError, which says what is wrong and what to write.
    """

    __slots__ = ("_match", "_values", "kinds", "pattern", "text")

    def __init__(self, text: str) -> None:
        if not isinstance(text, str) or not text.startswith("/") or len(text) > TEMPLATE_LENGTH_MAX:
            raise ValueError(
                f"a path begins with a slash and has at most {TEMPLATE_LENGTH_MAX} characters, such as /orders/{{id}}"
            )
        self.text: Final = text
        kinds: dict[str, str] = {}
        pieces: list[str] = []
        at = 0
        for found in _PARAMETER.finditer(text):
            name, kind = found["name"] or found["other"], found["kind"] or found["kind_before"] or "str"
            if kind not in _KINDS:
                raise ValueError(f"{found[0]}: there is no kind {kind!r}; there are {', '.join(_KINDS)}")
            if name in kinds:
                raise ValueError(f"{name} is there twice: give each parameter a name of its own")
            if kinds and "/" not in text[at : found.start()]:
                raise ValueError(f"{found[0]}: a segment holds one parameter at most; take {{{name}}} for all of it")
            if kind == "path" and "path" in kinds.values():
                raise ValueError(f"{found[0]}: one parameter of kind path is the most")
            # Nothing else of its segment follows, so that there is no second way to match it, and none is tried.
            whole = "+" if kind != "path" and text[found.end() : found.end() + 1] in ("", "/") else ""
            pieces += [_literal(text[at : found.start()]), _KINDS[kind].pattern + whole]
            kinds[name] = kind
            at = found.end()
        self.kinds: Final = kinds
        """The parameters by name, in their order, and of which kind each is."""
        pieces.append(_literal(text[at:]))
        self.pattern: Final = "".join(pieces)
        self._values: Final = tuple(_KINDS[kind].value for kind in kinds.values())
        groups = [f"({piece})" if place % 2 else piece for place, piece in enumerate(pieces)]
        self._match: Final = re.compile("".join(groups), re.DOTALL).fullmatch

    @property
    def is_static(self) -> bool:
        """Whether it matches one path, itself."""
        return not self.kinds

    def match(self, path: str) -> dict[str, Any] | None:
        """The parameters of a path (percent-decoded, as servers give it), or None where it is not one of these."""
        found = self._match(path)
        if found is None:
            return None
        return {name: value(text) for name, value, text in zip(self.kinds, self._values, found.groups(), strict=True)}


def _literal(text: str) -> str:
    if found := re.search(r"[{}<>]", text):
        raise ValueError(f"{found[0]} stands alone: a parameter is written {{id}}, {{id:int}} or <int:id>")
    return re.escape(text)
