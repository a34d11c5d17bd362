"""Table triggers on databases whose drivers block: SQLite, MySQL and MariaDB. Each works in a thread of its own."""
