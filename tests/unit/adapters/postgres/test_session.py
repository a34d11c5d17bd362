"""What a process tells the others, and what is no news to anybody."""

from __future__ import annotations

from typing import cast

from posthouse.adapters.postgres.database import Database
from posthouse.adapters.postgres.session import ProcessSession


def test_a_commit_that_is_no_news_to_others_costs_no_statement() -> None:
    session = ProcessSession("postgresql://nobody", cast(Database, None), owner=bytes(16))
    session.notify([])
    assert not session._notify_due.is_set()
    session.notify([3])
    assert session._notify_due.is_set()
    assert session._pending == {3}
