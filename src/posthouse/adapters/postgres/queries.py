"""Named SQL from the `.sql` files beside this module.

A file is a list of queries, each under a line `-- name: query_name`; the comment lines that follow describe it. A query is
an attribute: `ENGINE.claim`. An unknown name fails at import of its user, an unused one fails a test. What several queries of
a file share stands once, under `-- part: part_name`, and in each of them as `{{part_name}}`.
"""

from __future__ import annotations

import re
from importlib import resources

_HEAD = re.compile(r"^-- (name|part): ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)
_PART = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")
_COMMENTS = re.compile(r"\A(--.*\n)+")


class Queries:
    """The queries of one file, by name."""

    def __init__(self, file: str) -> None:
        self.file = file
        text = (resources.files("posthouse.adapters.postgres") / "sql" / file).read_text("utf-8")
        found = _HEAD.split(text)
        bodies = list(zip(found[1::3], found[2::3], (body.strip() for body in found[3::3]), strict=True))
        parts = {name: _COMMENTS.sub("", body) for kind, name, body in bodies if kind == "part"}
        self._queries = {
            name: _PART.sub(lambda part: parts[part[1]], body) for kind, name, body in bodies if kind == "name"
        }

    def __getattr__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"{self.file} has no query named {name!r}") from None

    def names(self) -> set[str]:
        return set(self._queries)
