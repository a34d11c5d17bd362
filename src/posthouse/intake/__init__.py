"""The one door into the log: parse, validate, admit, append."""
