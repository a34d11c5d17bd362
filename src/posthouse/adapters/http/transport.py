"""The `Transport`: requests over pooled connections, and the sweep that keeps their time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from time import monotonic
from typing import Final

from posthouse.adapters.http.addresses import AddressBook, Unusable
from posthouse.adapters.http.connection import Connection, PoolKey
from posthouse.adapters.http.dial import Dialler, NotDialled
from posthouse.adapters.http.guard import GuardPolicy, parse_address
from posthouse.adapters.http.pool import IDLE_MAX, IDLE_PER_KEY_MAX, IDLE_SECONDS_MAX, SURPLUS_SECONDS_MAX, Pool
from posthouse.adapters.http.proxy import Proxy
from posthouse.adapters.http.reasons import short
from posthouse.adapters.http.resolver import AresResolver, Resolver
from posthouse.adapters.http.tls import client_context, system_context
from posthouse.adapters.http.waits import Waits
from posthouse.adapters.http.ways import Way, Ways
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.errors import NotOwner
from posthouse.domain.exchange import Answer, Failure, Fault, Request, Result, Target, Timings

SWEEP_SECONDS: Final = 0.05
# A sweep this late means that the process stood still (stopped, swapped out): its time is not the targets' time.
STANDSTILL_SECONDS: Final = 0.5
# The clocks of event loops are coarse: a timer may end this much before our own clock says so.
CLOCK_SECONDS: Final = 0.005
CLOSE_SECONDS_MAX: Final = 5.0


class HttpTransport:
    """Our own HTTP/1.1 client, for many small requests to targets that nobody trusts.

    - Every attempt goes to an address that the guard has let through; a pooled connection serves only while its address
      is in the current answer for its host.
    - A request on a kept connection costs one future: no task, no timer. One timer sweeps all connections every
      SWEEP_SECONDS, so limits on an established connection are kept to that precision.
    - A kept connection that died before any byte of an answer is replaced once; the target may see the request twice. Who
      counts requests asks for it `once`, and makes it again `anew`.
    - Proxies in the environment are ignored; a request goes through a proxy where its endpoint says so (`Request.egress`).

    Belongs to the event loop that it first sends on.
    """

    def __init__(
        self,
        policy: GuardPolicy,
        *,
        resolver: Resolver | None = None,
        ca_file: Path | None = None,
        proxies: Mapping[str, Proxy] | None = None,
        source_addresses: Collection[str] = (),
        idle_per_key_max: int = IDLE_PER_KEY_MAX,
        idle_max: int = IDLE_MAX,
        idle_seconds_max: float = IDLE_SECONDS_MAX,
        surplus_seconds_max: float = SURPLUS_SECONDS_MAX,
    ) -> None:
        """`ca_file`: certificate authorities (PEM) trusted besides the system's. `proxies` and `source_addresses` are
        those that endpoints may name.

        Raises: SetupError where `ca_file` cannot be used.
        """
        asked = resolver if resolver is not None else AresResolver()
        self._waits = Waits(self._keep_time)
        self.addresses = AddressBook(asked, policy, waits=self._waits)
        self._in_the_clear = Way()
        self._over_tls = Way(system_context() if ca_file is None else client_context(ca_file))
        self._ways = Ways(asked, ca_file, self._waits, proxies=proxies or {}, sources=source_addresses)
        self._pool = Pool(
            per_key_max=idle_per_key_max,
            total_max=idle_max,
            seconds_max=idle_seconds_max,
            surplus_seconds_max=surplus_seconds_max,
        )
        self._dialler = Dialler(self, self._waits)
        self._open: set[Connection] = set()
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._sweep_due = math.inf
        self._closed = False
        self._all_lost: asyncio.Event | None = None

    # The port.

    async def send(
        self, request: Request, *, may_write: Callable[[], bool] | None = None, once: bool = False, anew: bool = False
    ) -> Result:
        """Make one request; see `posthouse.ports.transport`.

        Raises: OSError, MemoryError and the like for our own faults; NotOwner; RuntimeError once closed.
        """
        if self._closed:
            raise RuntimeError("the transport is closed")
        started = monotonic()
        if started > self._sweep_due + STANDSTILL_SECONDS:
            self._sweep()  # whoever begins after a standstill that nobody noticed yet has no time to get back
        began = started - self._waits.stood
        target = request.target
        dns_us: int | None = None
        addresses = self.addresses.known(target.host, started)
        if addresses is None:
            found = await self._resolve(request)
            dns_us = self._waits.microseconds(began)
            started = self._waits.given_back(began)
            if isinstance(found, Unusable):
                return self._failed(request, began, found.fault, found.detail, Timings(dns_us=dns_us))
            addresses = found
        egress = "" if request.egress is None else request.egress.identity
        for address in () if anew else addresses:
            connection = self._pool.take(PoolKey(target.scheme, target.host, target.port, address, egress))
            if connection is not None:
                result = await self._exchange(connection, request, started, dns_us, None, None, may_write)
                if result is not None and (once or not isinstance(result, Failure) or not result.stale):
                    return result
                break
        return await self._send_anew(request, began, addresses, dns_us, may_write)

    @property
    def idle_cached(self) -> CacheFacts:
        """Idle connections to targets."""
        return self._pool.cached

    @property
    def contexts_cached(self) -> CacheFacts:
        """TLS contexts of endpoints with settings of their own."""
        return self._ways.contexts.cached

    async def close(self) -> None:
        """Close every connection. Requests under way raise RuntimeError."""
        self._closed = True
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        self._waits.hurry()
        for connection in list(self._open):
            connection.fail(RuntimeError("the transport was closed during the request"))
        try:
            if self._open:
                self._all_lost = asyncio.Event()
                async with asyncio.timeout(CLOSE_SECONDS_MAX):
                    await self._all_lost.wait()
        finally:
            await self._ways.close()
            await self.addresses.close()

    # One request.

    async def _exchange(
        self,
        connection: Connection,
        request: Request,
        started: float,
        dns_us: int | None,
        connect_us: int | None,
        tls_us: int | None,
        may_write: Callable[[], bool] | None,
    ) -> Result | None:
        """Send a request over a connection that is ours alone; None where a kept one had ended before that.

        `connect_us` is None for a kept connection.
        """
        if may_write is not None and not may_write():
            connection.abort()
            raise NotOwner("this process may not send for the endpoint any more")
        now = monotonic()
        timeouts = request.timeouts
        try:
            broken = await connection.exchange(
                request.head,
                request.body,
                now=now,
                first_byte_seconds=timeouts.first_byte,
                total_seconds=timeouts.total,
                total_deadline=started + timeouts.total,
            )
        except BaseException:  # cancelled, or a fault of our own
            connection.abort()
            raise
        ended = monotonic()
        first_byte_at = connection.first_byte_at
        timings = Timings(
            dns_us,
            connect_us,
            tls_us,
            int((first_byte_at - now) * 1_000_000) if first_byte_at else None,
            int((ended - started) * 1_000_000),
        )
        address = connection.key.address
        if broken is None:
            if connection.reusable:
                self._pool.put(connection, ended)
            return Answer(
                connection.status,
                tuple(connection.headers),
                b"".join(connection.chunks),
                timings,
                address,
                connection.truncated,
            )
        kept = connect_us is None
        if kept and broken.unsent:
            return None
        return Failure(
            broken.fault, short(broken.detail), timings, address, broken.status, stale=kept and broken.unanswered
        )

    async def _resolve(self, request: Request) -> tuple[str, ...] | Unusable:
        seconds = min(request.timeouts.connect, request.timeouts.total)
        try:
            async with self._waits.within(seconds):
                return await self.addresses.find(request.target.host)
        except TimeoutError:
            return Unusable(Fault.DNS_TIMEOUT, f"cannot resolve {request.target.host}: no answer within {seconds:g} s")

    async def _send_anew(
        self,
        request: Request,
        began: float,
        addresses: tuple[str, ...],
        dns_us: int | None,
        may_write: Callable[[], bool] | None,
    ) -> Result:
        """Send over a new connection to one of these judged addresses; `began` is on the clock of what is waited for."""
        target, egress = request.target, request.egress
        tls = target.scheme == "https"
        if egress is None:
            identity, way = "", self._over_tls if tls else self._in_the_clear
        else:
            identity, seconds = egress.identity, min(request.timeouts.connect, request.timeouts.total)
            found = await self._ways.of(egress, tls=tls, seconds=seconds)
            if isinstance(found, Unusable):
                return self._failed(request, began, found.fault, found.detail, Timings(dns_us=dns_us))
            way = found
        dialled = await self._dialler.dial(
            [PoolKey(target.scheme, target.host, target.port, address, identity) for address in addresses],
            way,
            _server_name(target),
            connect_seconds=request.timeouts.connect,
            deadline=began + request.timeouts.total,
        )
        if isinstance(dialled, NotDialled):
            timings = Timings(dns_us, dialled.connect_us, dialled.tls_us)
            return self._failed(request, began, dialled.fault, dialled.detail, timings, dialled.address)
        connection = dialled.connection
        if self._closed:
            connection.abort()
            raise RuntimeError("the transport was closed during the request")
        if connection.key.address != addresses[0]:
            self.addresses.prefer(target.host, connection.key.address)
        started = self._waits.given_back(began)
        result = await self._exchange(
            connection, request, started, dns_us, dialled.connect_us, dialled.tls_us, may_write
        )
        assert result is not None  # it was open a moment ago
        return result

    def _failed(
        self, request: Request, began: float, fault: Fault, detail: str, timings: Timings, address: str = ""
    ) -> Failure:
        """A failure before the request was sent, or the total limit where that was the one to end it."""
        if self._closed:
            raise RuntimeError("the transport was closed during the request")
        total_us = self._waits.microseconds(began)
        total = request.timeouts.total
        if fault in _TIMEOUTS and total_us >= (total - CLOCK_SECONDS) * 1_000_000:
            detail = f"not connected within {total:g} s in all ({detail})"
            fault = Fault.TOTAL_TIMEOUT
        timings = Timings(timings.dns_us, timings.connect_us, timings.tls_us, None, total_us)
        return Failure(fault, short(detail), timings, address)

    # Every open connection (the `Keeper` of connections).

    def opened(self, connection: Connection) -> None:
        self._open.add(connection)
        self._keep_time()

    def lost(self, connection: Connection) -> None:
        self._open.discard(connection)
        self._pool.discard(connection)
        if self._all_lost is not None and not self._open:
            self._all_lost.set()

    def _keep_time(self) -> None:
        """Sweep, from now on, while a connection is open or one is waited for."""
        if self._sweep_timer is None and not self._closed:
            self._schedule_sweep()

    def _schedule_sweep(self) -> None:
        self._sweep_due = monotonic() + SWEEP_SECONDS
        self._sweep_timer = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """End what is over its time."""
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
        now = monotonic()
        late = now - self._sweep_due
        if late > STANDSTILL_SECONDS:
            self._waits.stood_still(late)
            for connection in self._open:
                connection.deadline += late
                connection.total_deadline += late
        for connection in [connection for connection in self._open if connection.deadline <= now]:
            connection.expire(now)
        self._sweep_timer, self._sweep_due = None, math.inf
        if self._open or self._waits.pending:
            self._schedule_sweep()


_TIMEOUTS: Final = frozenset({Fault.DNS_TIMEOUT, Fault.CONNECT_TIMEOUT, Fault.TLS_TIMEOUT, Fault.PROXY_TIMEOUT})


def _server_name(target: Target) -> str:
    """Whose certificate we ask for: the name in the URL, whatever the address it is pinned to."""
    literal = parse_address(target.host)
    return str(literal) if literal is not None else target.host.removesuffix(".")
