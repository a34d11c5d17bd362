"""The reference model: log, store and catalogue in memory, as the ports specify them. For tests and the simulation.

It is what the conformance suite compares PostgreSQL with, so it follows the ports' words and not the SQL. It has no time of
its own, and a hook is awaited around each commit, in which a simulation may wait, or fail with `InDoubt`.
"""

from posthouse.adapters.memory.catalogue import MemoryCatalogue
from posthouse.adapters.memory.database import Hook, MemoryDatabase, Step, Transaction
from posthouse.adapters.memory.log import MemoryLog
from posthouse.adapters.memory.store import MemoryStore

__all__ = ["Hook", "MemoryCatalogue", "MemoryDatabase", "MemoryLog", "MemoryStore", "Step", "Transaction"]
