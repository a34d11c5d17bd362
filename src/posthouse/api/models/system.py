"""How a process is."""

from __future__ import annotations

from typing import Literal

from posthouse.api.models.common import Answer


class Health(Answer):
    """It lives."""

    status: Literal["ok"]


class Caution(Answer):
    """Something that an operator must know of, though the process can do its work."""

    code: str
    detail: str


class Readiness(Answer):
    """It can do its work."""

    status: Literal["ok"]
    warnings: list[Caution]
