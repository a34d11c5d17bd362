"""The machine itself: clocks, files, the data directory, logs and metrics."""
