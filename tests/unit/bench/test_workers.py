"""What the backends of a database waited for, counted."""

from __future__ import annotations

from bench.measures.workers import Waits


def test_the_share_of_a_kind_is_of_the_backends_that_work() -> None:
    waits = Waits()
    assert waits.share("Lock") == 0
    waits.note("CPU", "", 6)
    waits.note("Lock", "transactionid in publish", 1)
    waits.note("Lock", "tuple in publish", 1)
    waits.note("LWLock", "WALWrite", 2)
    waits.note("Client", "ClientRead", 90)
    assert waits.share("Lock") == 0.2
    assert waits.share("LWLock") == 0.2
    assert str(waits).startswith("CPU 60%, LWLock:WALWrite 20%, Lock:t")
