"""Errors of the operating system and of TLS, in words short enough for an attempt's record."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final

from posthouse.domain.limits import ERROR_LENGTH_MAX

# Faults of this machine, which must not cost a target an attempt.
OURS: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


def is_ours(error: OSError, family: socket.AddressFamily) -> bool:
    """Whether a failed connect is our fault.

    EADDRNOTAVAIL means over IPv4 that every local port is taken; over IPv6, that this machine has no address to speak
    from, which is as good as unreachable.
    """
    return error.errno in OURS or (error.errno == errno.EADDRNOTAVAIL and family == socket.AF_INET)


def errno_text(error: BaseException) -> str:
    """What an error says, without Python's dress: "connection reset by peer"."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, ssl.SSLError) or number is None:
        return short(str(error) or type(error).__name__)
    return short(os.strerror(number).lower())


def tls_text(error: Exception) -> str:
    """Why a TLS handshake failed: "certificate has expired"."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return short(error.verify_message or "the certificate cannot be verified").rstrip(".")
    if isinstance(error, ssl.SSLError):
        if error.reason == "WRONG_VERSION_NUMBER":
            return "the target does not speak TLS here: should the URL begin with http?"
        if error.reason in _ALERTS:
            return _ALERTS[error.reason]
        if error.reason:
            return short(error.reason.lower().replace("_", " "))
    if isinstance(error, ConnectionError) and error.errno is None:
        return "the connection was closed during the handshake"
    return f"{errno_text(error)} during the handshake"


_ASKED: Final = "the target asks for a client certificate"
_CLIENT_REFUSED: Final = "the target refuses the client certificate"
_ALERTS: Final = {
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": _ASKED,
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": f"{_CLIENT_REFUSED} as expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": f"{_CLIENT_REFUSED} as revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": _CLIENT_REFUSED,
    "SSLV3_ALERT_BAD_CERTIFICATE": _CLIENT_REFUSED,
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": f"{_CLIENT_REFUSED} for its kind",
    "TLSV1_ALERT_UNKNOWN_CA": f"{_CLIENT_REFUSED}: it does not know its authority",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the target speaks no version of TLS that we may use",
}
"""What a target tells of the other side's certificate is about ours (RFC 8446, section 6.2)."""


def short(text: str) -> str:
    """Printable, and of a length that an attempt's record takes."""
    return "".join(character if character.isprintable() else " " for character in text[:ERROR_LENGTH_MAX])
