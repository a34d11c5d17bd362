"""PostgreSQL: the log, the store, the directory of configuration, and the embedded server."""
