"""From the configuration of signatures (`domain/signing.py`) to steps that sign a message."""
