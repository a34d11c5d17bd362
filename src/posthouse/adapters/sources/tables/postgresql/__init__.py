"""Table triggers on PostgreSQL, by `asyncpg`."""
