"""Where whoever asks has reached us."""

from __future__ import annotations

import re
from typing import Final

from fastapi import Request

from posthouse.domain.errors import Invalid

_HOST: Final = re.compile(r"([A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:[0-9]{1,5})?")


def own_url(request: Request) -> str:
    """Scheme and host as the request has them. Raises Invalid where the header is no host."""
    host = request.headers.get("host") or "{}:{}".format(*request.scope["server"])
    if not _HOST.fullmatch(host):
        raise Invalid("the header Host is no host", path="Host", code="malformed_request")
    return f"{request.scope['scheme']}://{host}"
