"""The command line. Data on stdout, progress on stderr; every error names the next step."""
