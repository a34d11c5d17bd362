"""The owner of partitions: takes them, reads their log in order, routes each event, and keeps house."""
