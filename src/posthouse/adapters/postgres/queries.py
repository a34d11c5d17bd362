"""Named SQL from the `.sql` files beside this module.

A file is a list of queries, each under a line `-- name: query_name`; the comment lines that follow describe it. A query is
an attribute: `ENGINE.claim`. An unknown name fails at import of its user, an unused one fails a test.
"""

from __future__ import annotations

import re
from importlib import resources

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)\s*$", re.MULTILINE)


class Queries:
    """The queries of one file, by name."""

    def __init__(self, file: str) -> None:
        self.file = file
        text = (resources.files("posthouse.adapters.postgres") / "sql" / file).read_text("utf-8")
        parts = _NAME.split(text)
        self._queries = {name: body.strip() for name, body in zip(parts[1::2], parts[2::2], strict=True)}

    def __getattr__(self, name: str) -> str:
        try:
            return self._queries[name]
        except KeyError:
            raise AttributeError(f"{self.file} has no query named {name!r}") from None

    def names(self) -> set[str]:
        return set(self._queries)
