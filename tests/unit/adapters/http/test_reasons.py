"""Errors in words, and whose they are."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from posthouse.adapters.http.reasons import errno_text, is_ours, short, tls_text
from posthouse.domain.limits import ERROR_LENGTH_MAX


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL])
def test_what_this_machine_lacks_is_ours(number: int) -> None:
    assert is_ours(OSError(number, "x"), socket.AF_INET)


@pytest.mark.parametrize(
    "number",
    [errno.ECONNREFUSED, errno.ECONNRESET, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EPIPE, None],
)
def test_what_the_network_answers_is_theirs(number: int | None) -> None:
    assert not is_ours(OSError(number, "x"), socket.AF_INET)


def test_a_machine_without_ipv6_cannot_reach_it() -> None:
    assert not is_ours(OSError(errno.EADDRNOTAVAIL, "x"), socket.AF_INET6)
    assert not is_ours(OSError(errno.EAFNOSUPPORT, "x"), socket.AF_INET6)


def test_errors_lose_pythons_dress() -> None:
    assert errno_text(ConnectionResetError(errno.ECONNRESET, "whatever")) == "connection reset by peer"
    assert errno_text(ConnectionError()) == "ConnectionError"
    assert errno_text(OSError("own\nwords")) == "own words"


def test_tls_errors_say_what_is_wrong() -> None:
    expired = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    expired.verify_message = "certificate has expired"
    assert tls_text(expired) == "certificate has expired"
    assert tls_text(ConnectionResetError()) == "the connection was closed during the handshake"
    assert tls_text(ConnectionResetError(errno.ECONNRESET, "x")) == "connection reset by peer during the handshake"
    alert = ssl.SSLError(1, "[SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1006)")
    alert.reason = "TLSV1_ALERT_PROTOCOL_VERSION"
    assert tls_text(alert) == "the target speaks no version of TLS that we may use"
    alert.reason = "SSLV3_ALERT_HANDSHAKE_FAILURE"
    assert tls_text(alert) == "sslv3 alert handshake failure"


def test_texts_are_short_and_printable() -> None:
    text = short("a\0b\n" * 1000)
    assert text.isprintable()
    assert len(text) == ERROR_LENGTH_MAX
