"""How a new connection is made, where an endpoint has its own word in that."""

from __future__ import annotations

import ssl
from collections.abc import Collection, Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Final

import msgspec

from posthouse.adapters.http.addresses import AddressBook, Unusable
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.proxy import Proxy
from posthouse.adapters.http.reasons import tls_text
from posthouse.adapters.http.resolver import Resolver
from posthouse.adapters.http.tls import Contexts
from posthouse.adapters.http.waits import Waits
from posthouse.domain.egress import Egress, PinOf
from posthouse.domain.errors import PosthouseError
from posthouse.domain.exchange import Fault

# The operator's own proxies: where they are is for the operator to know.
EVERYWHERE: Final = GuardPolicy(allowed_networks=(ip_network("0.0.0.0/0"), ip_network("::/0")))


class Way(msgspec.Struct, frozen=True):
    """How a new connection is made: with TLS where there is a context, through a proxy (at this address) where there is one.

    `pins` are what to take of the target's certificate, and its SHA-256: one of them must be right.
    """

    context: ssl.SSLContext | None = None
    pins: tuple[tuple[PinOf, bytes], ...] = ()
    source_address: str = ""
    proxy: Proxy | None = None
    proxy_address: str = ""


class Ways:
    """Makes ways of what endpoints want, as far as the operator has it: proxies by name, and addresses to connect from."""

    def __init__(
        self,
        resolver: Resolver,
        ca_file: Path | None,
        waits: Waits,
        *,
        proxies: Mapping[str, Proxy],
        sources: Collection[str],
    ) -> None:
        self._waits = waits
        self.contexts = Contexts(ca_file)
        self._proxies = proxies
        self._sources = frozenset(sources)
        self._addresses = AddressBook(resolver, EVERYWHERE, waits=waits)

    async def of(self, egress: Egress, *, tls: bool, seconds: float) -> Way | Unusable:
        """The way to a target; `seconds` bound the lookup of the proxy.

        Raises: PosthouseError where the operator has taken away what the endpoint wants: our fault; and OSError.
        """
        if egress.source_address and egress.source_address not in self._sources:
            raise PosthouseError(f"{egress.source_address} is not among this server's source_addresses")
        context = None
        if tls:
            try:
                context = await self.contexts.of(egress)
            except ssl.SSLError as error:
                return Unusable(Fault.TLS_FAILED, f"the endpoint's certificates cannot be used: {tls_text(error)}")
        proxy, address = None, ""
        if egress.proxy:
            proxy = self._proxies.get(egress.proxy)
            if proxy is None:
                raise PosthouseError(f"{egress.proxy!r} is not among this server's proxies")
            if egress.proxy_credentials:
                proxy = msgspec.structs.replace(proxy, credentials=egress.proxy_credentials)
            found = await self._find(proxy, egress.source_address, seconds)
            if isinstance(found, Unusable):
                return found
            address = found
        return Way(context, egress.pins, egress.source_address, proxy, address)

    async def _find(self, proxy: Proxy, source: str, seconds: float) -> str | Unusable:
        try:
            async with self._waits.within(seconds):
                found = await self._addresses.find(proxy.host)
        except TimeoutError:
            return Unusable(Fault.PROXY_TIMEOUT, f"the proxy {proxy.name!r} cannot be found: no answer of DNS")
        if isinstance(found, Unusable):
            return Unusable(Fault.PROXY_FAILED, f"the proxy {proxy.name!r} cannot be found in DNS")
        same = [address for address in found if not source or (":" in address) is (":" in source)]
        return same[0] if same else found[0]

    async def close(self) -> None:
        await self._addresses.close()
