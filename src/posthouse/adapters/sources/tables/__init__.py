"""Tables of the user's database: row triggers write what happens to a table into one of ours, in the same transaction."""

from posthouse.adapters.sources.tables.kind import TableKind

__all__ = ["TableKind"]
