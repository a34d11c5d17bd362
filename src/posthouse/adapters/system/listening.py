"""A port that cannot be had, told once."""

from __future__ import annotations

from posthouse.domain.errors import SetupError


def cannot_listen(where: str, error: OSError, *, options: str) -> SetupError:
    """The error for who asked to listen there, with the options that choose another place."""
    # `socket` names the place once more: "Address already in use (while attempting to bind on address …)".
    why = (error.strerror or str(error)).partition(" (while ")[0]
    return SetupError(f"cannot listen on {where} ({why}); choose another with {options}")
