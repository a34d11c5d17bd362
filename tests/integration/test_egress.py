"""Endpoints with connections of their own: client certificates, authorities, pins, versions, proxies and source addresses,
against real TLS servers and a real proxy, on both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import msgspec
import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.http_proxy import http_proxy
from tests.targets import OK, Peer, RawTarget, answer_ok, on_both_loops, strict_target, target

from posthouse.adapters.http import tls as tls_module
from posthouse.adapters.http.guard import GuardPolicy
from posthouse.adapters.http.proxy import Proxy
from posthouse.adapters.http.resolver import Lookup
from posthouse.adapters.http.transport import HttpTransport
from posthouse.domain.egress import Egress, Pin, PinOf, Tls, TlsVersion
from posthouse.domain.endpoint import Timeouts
from posthouse.domain.errors import PosthouseError
from posthouse.domain.exchange import Answer, Failure, Fault, Request, Result, Target
from posthouse.wire.egress import compile_egress

HOST = "hooks.example"
PATIENT = Timeouts(connect=5.0, first_byte=5.0, total=5.0)
HURRIED = Timeouts(connect=0.2, first_byte=0.2, total=0.2)


class Names:
    """Every name is here, or at one other address."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.address = address

    async def lookup(self, name: str) -> Lookup:
        return Lookup((self.address,), 60.0)

    async def close(self) -> None: ...


class Client:
    """A transport that is closed at the end, with requests made short."""

    def __init__(self, *, names: Names | None = None, **options: Any) -> None:
        policy = GuardPolicy(allow_loopback=True)
        self.transport = HttpTransport(policy, resolver=names or Names(), **options)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.transport.close()
        assert not self.transport._open

    async def send(
        self,
        at: RawTarget,
        egress: Egress | None,
        *,
        scheme: str = "https",
        body: bytes = b"{}",
        timeouts: Timeouts = PATIENT,
    ) -> Result:
        authority = f"{HOST}:{at.port}"
        head = f"POST /hooks HTTP/1.1\r\nHost: {authority}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        request = Request(Target(scheme, HOST, at.port, "/hooks", authority), head, body, timeouts, egress)
        return await self.transport.send(request)

    async def answer(self, at: RawTarget, egress: Egress | None, **options: Any) -> Answer:
        result = await self.send(at, egress, **options)
        assert isinstance(result, Answer), result
        return result

    async def failure(self, at: RawTarget, egress: Egress | None, fault: Fault, **options: Any) -> str:
        result = await self.send(at, egress, **options)
        assert isinstance(result, Failure), result
        assert result.fault is fault, result
        return result.detail


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """Of targets."""
    return trustme.CA()


@pytest.fixture(scope="module")
def clients() -> trustme.CA:
    """Of client certificates."""
    return trustme.CA()


def pem(blob: trustme.Blob) -> str:
    text: str = blob.bytes().decode()
    return text


def server_tls(authority: trustme.CA, clients: trustme.CA | None = None, *, optional: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(HOST).configure_cert(context)
    if clients is not None:
        clients.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL if optional else ssl.CERT_REQUIRED
    return context


def egress(
    tls: Tls | None = None, *, app: bytes = b"app-1", keys: dict[str, list[str]] | None = None, **options: Any
) -> Egress:
    made = compile_egress(tls, keys or {}, app=app, **options)
    assert made is not None
    return made


def shown(authority: trustme.CA, leaf: trustme.LeafCert, *, app: bytes = b"app-1") -> Egress:
    """The way of an endpoint with this client certificate."""
    tls = Tls(client_certificate=pem(leaf.cert_chain_pems[0]), client_key="mtls", ca=pem(authority.cert_pem))
    return egress(tls, app=app, keys={"mtls": [pem(leaf.private_key_pem)]})


def name_in(certificate: bytes | None) -> str:
    """Whose a certificate is."""
    if certificate is None:
        return "nobody"
    (found,) = x509.load_der_x509_certificate(certificate).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    assert isinstance(found.value, str)
    return found.value


# Client certificates


@on_both_loops
async def test_a_target_that_wants_a_client_certificate(authority: trustme.CA, clients: trustme.CA) -> None:
    async with target(answer_ok, server_tls(authority, clients)) as served, Client() as client:
        known = shown(authority, clients.issue_cert("tenant@example.com", common_name="tenant"))
        assert (await client.answer(served, known)).status == 200
        assert name_in(served.peers[0].certificate) == "tenant"


@on_both_loops
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_why_a_target_refuses_is_told(
    authority: trustme.CA, clients: trustme.CA, version: ssl.TLSVersion
) -> None:
    context = server_tls(authority, clients)
    context.maximum_version = version
    async with strict_target(context) as served, Client() as client:
        nobody = egress(Tls(ca=pem(authority.cert_pem)))
        told = await client.failure(served, nobody, Fault.TLS_FAILED)
        assert told == (
            "TLS failed: the target asks for a client certificate"
            if version is ssl.TLSVersion.TLSv1_3
            else "TLS failed: sslv3 alert handshake failure"
        )
        stranger = shown(authority, trustme.CA().issue_cert("tenant@example.com", common_name="tenant"))
        told = await client.failure(served, stranger, Fault.TLS_FAILED)
        assert told == "TLS failed: the target refuses the client certificate: it does not know its authority"
        known = shown(authority, clients.issue_cert("tenant@example.com", common_name="tenant"))
        assert (await client.answer(served, known)).status == 200


@on_both_loops
async def test_a_chain_of_authorities_between_is_sent_along(authority: trustme.CA, clients: trustme.CA) -> None:
    between = clients.create_child_ca()
    leaf = between.issue_cert("tenant@example.com", common_name="tenant")
    chain = "".join(pem(blob) for blob in leaf.cert_chain_pems)
    assert chain.count("BEGIN CERTIFICATE") == 2
    tls = Tls(client_certificate=chain, client_key="mtls", ca=pem(authority.cert_pem))
    way = egress(tls, keys={"mtls": [pem(leaf.private_key_pem)]})
    async with target(answer_ok, server_tls(authority, clients)) as served, Client() as client:
        await client.answer(served, way)


@on_both_loops
async def test_a_connection_never_carries_another_tenants_request(authority: trustme.CA, clients: trustme.CA) -> None:
    """One host and port, many requests at a time: each came over a connection with its own tenant's certificate."""
    seen: list[tuple[str, str]] = []
    held = asyncio.Event()

    async def record(peer: Peer) -> None:
        while True:
            request = await peer.request()
            seen.append((name_in(peer.certificate), request.rpartition(b"\r\n")[2].decode()))
            if not held.is_set() and len(seen) >= 15:
                held.set()
            await held.wait()
            await peer.send(OK)

    leaf = clients.issue_cert("shared@example.com", common_name="shared")
    ways = {
        f"tenant-{n}": shown(authority, clients.issue_cert("t@example.com", common_name=f"tenant-{n}"))
        for n in range(3)
    }
    # Two apps with one certificate and key, one of them with no certificate but the same authority.
    ways["shared"] = shown(authority, leaf)
    ways["nobody"] = egress(Tls(ca=pem(authority.cert_pem)))
    context = server_tls(authority, clients, optional=True)
    async with target(record, context) as served, Client() as client:
        for _ in range(3):
            await asyncio.gather(
                *(client.answer(served, way, body=name.encode()) for name, way in ways.items() for _ in range(3))
            )
        assert Counter(seen) == {(name, name): 9 for name in ways}
        assert len(served.peers) == 15, "each kept connection was used again"
        await client.answer(served, shown(authority, leaf, app=b"app-2"), body=b"shared")
        assert len(served.peers) == 16, "the same certificate, and another app: not the same connection"


@on_both_loops
async def test_a_key_that_changes_makes_new_connections(authority: trustme.CA, clients: trustme.CA) -> None:
    old, new = (clients.issue_cert("t@example.com", common_name=name) for name in ("old", "new"))
    async with target(answer_ok, server_tls(authority, clients)) as served, Client() as client:
        await client.answer(served, shown(authority, old))
        await client.answer(served, shown(authority, new))
        await client.answer(served, shown(authority, old))
        assert [name_in(peer.certificate) for peer in served.peers] == ["old", "new"]


@on_both_loops
async def test_contexts_are_bounded(
    authority: trustme.CA, clients: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tls_module, "TLS_CONTEXTS_MAX", 2)
    made: list[str] = []
    make = tls_module._context

    def making(way: Egress, ca_file: Any) -> ssl.SSLContext:
        made.append(way.identity)
        return make(way, ca_file)

    monkeypatch.setattr(tls_module, "_context", making)
    ways = [shown(authority, clients.issue_cert("t@example.com", common_name=f"{n}")) for n in range(3)]

    async def last(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    async with target(last, server_tls(authority, clients)) as served, Client() as client:
        for way in [ways[0], ways[0], ways[1], ways[0], ways[2], ways[0], ways[1]]:
            await client.answer(served, way)
        await asyncio.gather(*(client.answer(served, ways[2]) for _ in range(5)))
        assert made == [way.identity for way in (ways[0], ways[1], ways[2], ways[1], ways[2])]
        assert len(client.transport._ways.contexts._ready) == 2


# Which target is the right one


@on_both_loops
async def test_authorities_of_the_endpoints_own_are_the_only_ones(authority: trustme.CA, tmp_path: Any) -> None:
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    async with (
        target(answer_ok, server_tls(authority)) as served,
        Client(ca_file=ca_file) as common,
        Client() as client,
    ):
        await client.answer(served, egress(Tls(ca=pem(authority.cert_pem))))
        await client.failure(served, None, Fault.TLS_FAILED)
        # What the operator trusts is trusted by all, unless an endpoint names its own.
        await common.answer(served, None)
        await common.answer(served, egress(Tls(minimum_version=TlsVersion.TLS_1_3)))
        detail = await common.failure(served, egress(Tls(ca=pem(trustme.CA().cert_pem))), Fault.TLS_FAILED)
        assert "local issuer" in detail


@on_both_loops
async def test_an_authority_between_may_be_the_one_that_is_trusted(authority: trustme.CA) -> None:
    between = authority.create_child_ca()
    async with target(answer_ok, server_tls(between)) as served, Client() as client:
        await client.answer(served, egress(Tls(ca=pem(between.cert_pem))))


@on_both_loops
@pytest.mark.parametrize("of", list(PinOf))
async def test_pins(authority: trustme.CA, of: PinOf) -> None:
    leaf = authority.issue_cert(HOST)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(context)
    certificate = x509.load_pem_x509_certificate(leaf.cert_chain_pems[0].bytes())
    info = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    whole = certificate.public_bytes(Encoding.DER)
    right = Pin(of=of, sha256=sha256(info if of is PinOf.PUBLIC_KEY else whole).hexdigest())
    wrong = Pin(of=of, sha256=sha256(whole if of is PinOf.PUBLIC_KEY else info).hexdigest())
    ca = pem(authority.cert_pem)
    async with target(answer_ok, context) as served, Client() as client:
        await client.answer(served, egress(Tls(ca=ca, pins=(wrong, right))))
        detail = await client.failure(served, egress(Tls(ca=ca, pins=(wrong,))), Fault.TLS_PIN_MISMATCH)
        assert detail.startswith("none of the pins is of the target's certificate; the SHA-256 of its public key is ")
        # A pin does not stand in for verification.
        await client.failure(served, egress(Tls(pins=(right,))), Fault.TLS_FAILED)
        assert len(served.requests) == 1, "nothing was written to a target that is not the pinned one"


@on_both_loops
async def test_the_minimum_version(authority: trustme.CA) -> None:
    context = server_tls(authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    ca = pem(authority.cert_pem)
    async with strict_target(context) as served, Client() as client:
        await client.answer(served, egress(Tls(ca=ca)))
        strict = egress(Tls(ca=ca, minimum_version=TlsVersion.TLS_1_3))
        told = await client.failure(served, strict, Fault.TLS_FAILED)
        assert told == "TLS failed: the target speaks no version of TLS that we may use"


# Proxies


@on_both_loops
async def test_through_a_proxy_to_the_address_that_was_judged(authority: trustme.CA) -> None:
    asked: list[str | None] = []
    context = server_tls(authority)
    context.sni_callback = lambda _object, name, _context: asked.append(name)
    async with (
        target(answer_ok, context) as served,
        http_proxy() as proxy,
        Client(proxies={"eu": Proxy("eu", "proxy.example", proxy.port, "posthouse:s3cret")}) as client,
    ):
        way = egress(Tls(ca=pem(authority.cert_pem)), proxy="eu")
        answer = await client.answer(served, way, body=b"x" * 200_000)
        assert (answer.status, answer.address) == (200, "127.0.0.1")
        await client.answer(served, way)
        assert asked == [HOST]
        assert proxy.asked == [
            f"CONNECT 127.0.0.1:{served.port} HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n".encode()
            + b"Proxy-Authorization: Basic cG9zdGhvdXNlOnMzY3JldA==\r\n\r\n"
        ], "one tunnel, kept; the proxy is told an address and no name"


@on_both_loops
async def test_plain_http_goes_through_a_tunnel_too_and_credentials_may_be_the_endpoints_own() -> None:
    async with (
        target(answer_ok) as served,
        http_proxy() as proxy,
        Client(proxies={"eu": Proxy("eu", "127.0.0.1", proxy.port, "posthouse:s3cret")}) as client,
    ):
        await client.answer(served, egress(proxy="eu"), scheme="http")
        own = egress(proxy="eu", proxy_key="account", keys={"account": ["shop:own"]})
        await client.answer(served, own, scheme="http")
        await client.answer(served, None, scheme="http")
        assert [b"cG9zdGhvdXNlOnMzY3JldA==" in head for head in proxy.asked] == [True, False]
        assert b"Basic c2hvcDpvd24=\r\n" in proxy.asked[1]
        assert len(served.peers) == 3, "each way has its own connection"


@on_both_loops
async def test_the_guard_judges_before_a_proxy_is_asked() -> None:
    async with (
        target(answer_ok) as served,
        http_proxy() as proxy,
        Client(names=Names("169.254.169.254"), proxies={"eu": Proxy("eu", "127.0.0.1", proxy.port)}) as client,
    ):
        await client.failure(served, egress(proxy="eu"), Fault.ADDRESS_REFUSED, scheme="http")
        assert proxy.asked == []


@on_both_loops
@pytest.mark.parametrize(
    ("says", "detail"),
    [
        (b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 5\r\n\r\nsorry", "it answered 407 to CONNECT"),
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "(it may not connect to this address or port)"),
        (b"HTTP/1.1 503 Service Unavailable\r\n\r\n", "(it cannot reach the target)"),
        (b"SSH-2.0-OpenSSH_9.9\r\n\r\n", "its answer is not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", "it sent more than its answer"),
        (b"HTTP/1.1 200 OK\r\n", "it closed the connection"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 2_000, "its answer is larger than 8 KiB"),
        (b"", "it closed the connection without an answer"),
    ],
)
async def test_proxies_that_make_no_tunnel(says: bytes, detail: str) -> None:
    async with (
        target(answer_ok) as served,
        http_proxy(says=says) as proxy,
        Client(proxies={"eu": Proxy("eu", "127.0.0.1", proxy.port, "posthouse:s3cret")}) as client,
    ):
        told = await client.failure(served, egress(proxy="eu"), Fault.PROXY_FAILED, scheme="http")
        assert told.startswith("the proxy 'eu': ")
        assert detail in told
        assert "s3cret" not in told
        assert "cG9z" not in told
        assert served.peers == []


@on_both_loops
async def test_a_proxy_that_hangs_and_one_that_is_not_there() -> None:
    async with target(answer_ok) as served, http_proxy(hangs=True) as proxy:
        async with Client(proxies={"eu": Proxy("eu", "127.0.0.1", proxy.port)}) as client:
            way = egress(proxy="eu")
            patience = msgspec.structs.replace(PATIENT, connect=0.2)
            told = await client.failure(served, way, Fault.PROXY_TIMEOUT, scheme="http", timeouts=patience)
            assert told == "the proxy 'eu' made no connection within 0.2 s"
            await client.failure(served, way, Fault.TOTAL_TIMEOUT, scheme="http", timeouts=HURRIED)
        async with Client(proxies={"eu": Proxy("eu", "127.0.0.1", 1)}) as client:
            told = await client.failure(served, egress(proxy="eu"), Fault.PROXY_FAILED, scheme="http")
            assert told == "the proxy 'eu' does not accept connections"


# From where


@on_both_loops
async def test_requests_come_from_the_address_that_was_asked_for() -> None:
    async with target(answer_ok) as served, Client(source_addresses=["127.0.0.2", "::1"]) as client:
        await client.answer(served, egress(source_address="127.0.0.2"), scheme="http")
        await client.answer(served, None, scheme="http")
        assert [peer.address for peer in served.peers] == ["127.0.0.2", "127.0.0.1"]
        told = await client.failure(served, egress(source_address="::1"), Fault.CONNECT_FAILED, scheme="http")
        assert told.endswith("cannot be reached from ::1: one is IPv4 and the other IPv6")


@on_both_loops
async def test_what_the_operator_does_not_have_is_nobodys_failed_attempt() -> None:
    async with target(answer_ok) as served, Client(source_addresses=["192.0.2.1"]) as client:
        for way, told in [
            (egress(source_address="127.0.0.2"), "127.0.0.2 is not among this server's source_addresses"),
            (egress(source_address="192.0.2.1"), "this machine cannot connect from 192.0.2.1"),
            (egress(proxy="eu"), "'eu' is not among this server's proxies"),
        ]:
            with pytest.raises(PosthouseError, match=told):
                await client.send(served, way, scheme="http")
        assert served.peers == []


def test_an_expired_client_certificate_is_told_of_by_its_end(authority: trustme.CA, clients: trustme.CA) -> None:
    ended = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    way = shown(authority, clients.issue_cert("t@example.com", not_after=ended))
    assert way.usable_until == ended.timestamp()
