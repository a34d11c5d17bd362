"""Parameters that are added to a URL, as they go onto the request line.

Source: RFC 3986, section 3.4. All but its unreserved characters are percent-encoded (UTF-8), a space as `%20`: what is
read the same as a query and as a form.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

_KEPT = "-._~"


def with_query(path: str, added: Sequence[tuple[str, str]]) -> str:
    """A path, with a query or without one, and what is added to its query, in order."""
    if not added:
        return path
    parameters = "&".join([f"{quote(name, safe=_KEPT)}={quote(value, safe=_KEPT)}" for name, value in added])
    if "?" not in path:
        return f"{path}?{parameters}"
    return f"{path}{parameters}" if path.endswith(("?", "&")) else f"{path}&{parameters}"
