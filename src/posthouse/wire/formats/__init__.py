"""How an event becomes a body, or headers, or a query: one module for each kind of format, and `formatter` for the whole."""
