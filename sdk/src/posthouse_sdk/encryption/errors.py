"""What can be wrong with an encryption before anything is encrypted. No text holds key material."""

from __future__ import annotations


class SettingError(ValueError):
    """A configuration or a key that cannot be used; `path` names the field (`body.template`), empty for the whole."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class UnopenedError(Exception):
    """Something does not open with one key. It does not say why: that would help only those who guess."""
