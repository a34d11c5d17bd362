"""TLS: always verified, at least version 1.2."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from posthouse.domain.cache_use import CacheFacts, CacheUse
from posthouse.domain.egress import Egress, TlsVersion
from posthouse.domain.errors import SetupError
from posthouse.domain.limits import TLS_CONTEXTS_MAX

_VERSIONS: Final = {TlsVersion.TLS_1_2: ssl.TLSVersion.TLSv1_2, TlsVersion.TLS_1_3: ssl.TLSVersion.TLSv1_3}


def client_context(ca_file: Path | None = None) -> ssl.SSLContext:
    """A context that trusts the system's certificate authorities, and those of the operator's file besides.

    It takes tens of milliseconds to make: one serves every connection with the same verification.

    Raises: SetupError where the file cannot be used.
    """
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if ca_file is not None:
        _trust(context, ca_file)
    return context


def check_authorities(ca_file: Path) -> None:
    """Raises: SetupError where `client_context` could not use the file."""
    _trust(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ca_file)


def _trust(context: ssl.SSLContext, ca_file: Path) -> None:
    try:
        context.load_verify_locations(cafile=ca_file)
    except (OSError, ValueError) as error:  # SSLError is an OSError
        why = (
            error.strerror if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) else "no certificates"
        )
        raise SetupError(
            f"the file of certificate authorities {ca_file} cannot be used ({why}): it must exist and hold certificates in "
            "PEM form (-----BEGIN CERTIFICATE-----)"
        ) from error


@cache
def system_context() -> ssl.SSLContext:
    """`client_context` as every transport of this process uses it that trusts nobody else. It is not to be changed."""
    return client_context()


class Contexts:
    """Contexts of endpoints with TLS settings of their own: at most TLS_CONTEXTS_MAX, those used last (each may hold the
    system's authorities anew, most of a megabyte). What is the same in all that TLS looks at shares one; that connections
    are not shared is the pool's doing."""

    def __init__(self, ca_file: Path | None) -> None:
        self._ca_file = ca_file
        self._ready: OrderedDict[tuple[str, ...], ssl.SSLContext] = OrderedDict()
        self._use = CacheUse()
        self._making = asyncio.Lock()

    async def of(self, egress: Egress) -> ssl.SSLContext:
        """The context of an endpoint. Raises: SSLError where its certificate or authorities cannot be used."""
        key = (egress.minimum_version, egress.authorities, egress.certificate, egress.private_key)
        context = self._known(key)
        if context is not None:
            self._use.hits += 1
            return context
        self._use.misses += 1
        async with self._making:
            context = self._known(key)
            if context is None:
                context = await asyncio.to_thread(_context, egress, self._ca_file)
                self._ready[key] = context
                if len(self._ready) > TLS_CONTEXTS_MAX:
                    self._ready.popitem(last=False)
            return context

    @property
    def cached(self) -> CacheFacts:
        return self._use.facts(len(self._ready))

    def _known(self, key: tuple[str, ...]) -> ssl.SSLContext | None:
        context = self._ready.get(key)
        if context is not None:
            self._ready.move_to_end(key)
        return context


def _context(egress: Egress, ca_file: Path | None) -> ssl.SSLContext:
    if egress.authorities:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        # What is named is trusted, be it an intermediate one; later versions of Python do so by default.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_TRUSTED_FIRST
        context.load_verify_locations(cadata=egress.authorities)
        context.set_alpn_protocols(["http/1.1"])
    else:
        context = client_context(ca_file)
    context.minimum_version = _VERSIONS[egress.minimum_version]
    if egress.certificate:
        with _readable(egress.certificate) as chain, _readable(egress.private_key) as key:
            context.load_cert_chain(chain, key)
    return context


@contextmanager
def _readable(text: str) -> Iterator[str]:
    """A path that reads as this text, once. `ssl` takes keys from files only, and this one is a pipe: nothing is on a disk."""
    reading, writing = os.pipe()
    try:
        try:
            os.set_blocking(writing, False)  # what does not fit is an error, not a wait for ever
            data = text.encode("ascii")
            if os.write(writing, data) != len(data):
                raise OSError("a certificate or key does not fit into a pipe")
        finally:
            os.close(writing)
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
