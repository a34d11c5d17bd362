"""Acknowledgement rules: which answers of a target confirm a delivery, as configuration.

`wire/acknowledgement.py` judges answers by them.
"""

from __future__ import annotations

from posthouse.domain.configuration import Configuration


class HeaderRule(Configuration, frozen=True, kw_only=True):
    """A header of the answer: it is there, and, where `equals` is set, has that value (in any case)."""

    name: str
    equals: str | None = None


class Ack(Configuration, frozen=True, kw_only=True):
    """An answer confirms where everything that is set holds.

    `status` are numbers, classes (`2xx`) or `*` for all; left out, it is 2xx wherever nothing in `any` or `all` says
    otherwise. `text` is the whole body, but for white space around it. `when` is an expression over `event`, `app`,
    `endpoint`, `response` and `attempt`. Of `any` one must hold, of `all` each.
    """

    status: tuple[int | str, ...] = ()
    header: HeaderRule | None = None
    text: str | None = None
    ignore_case: bool = False  # of `text`
    when: str = ""
    any: tuple[Ack, ...] = ()
    all: tuple[Ack, ...] = ()
