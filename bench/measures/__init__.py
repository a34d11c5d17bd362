"""One module a measurement: a function that returns figures with their samples."""
