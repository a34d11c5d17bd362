"""Named keys of an endpoint, as configuration refers to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from posthouse.domain.errors import Invalid

Keys = Mapping[str, Sequence[str]]
"""Name -> texts, newest first."""


def live_texts(keys: Keys, name: str, path: str) -> Sequence[str]:
    """The texts of a named key, newest first, at least one. Raises: Invalid where there is none."""
    texts = keys.get(name)
    if not texts:
        shown = name[:80].encode("unicode_escape").decode("ascii")
        raise Invalid(f"there is no key named {shown!r} at this endpoint", path=path)
    return texts
