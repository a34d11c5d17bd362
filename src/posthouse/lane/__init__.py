"""One lane an endpoint: what waits for it, what is in flight, and when the next may start. All share one budget."""
