"""HTTP out: our own HTTP/1.1 client, its connections, and the guard over the addresses it may speak to."""
