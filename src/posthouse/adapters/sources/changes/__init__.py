"""Change capture: the rows that change in a PostgreSQL database, read from its log by logical replication."""
