"""One attempt: render, sign, send, classify, decide, record."""
