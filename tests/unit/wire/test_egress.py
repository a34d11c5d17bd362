"""TLS settings, compiled: certificates and keys that belong together, pins, and what may share a connection."""

from __future__ import annotations

from base64 import b64encode, urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from tests.fakes import an_endpoint, an_event
from tests.rsa_keys import larger_rsa

from posthouse.domain.egress import Egress, Pin, PinOf, Tls, TlsVersion
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import CLIENT_CERTIFICATE_BYTES_MAX, PINS_MAX
from posthouse.domain.named_keys import NamedKeys
from posthouse.wire.egress import compile_egress
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import renderer_of

APP = b"a" * 16
CA = trustme.CA()
LEAF = CA.issue_cert("t@example.com", not_after=datetime(2031, 5, 6, 7, 8, 9))
CERTIFICATE = LEAF.cert_chain_pems[0].bytes().decode()
KEY = LEAF.private_key_pem.bytes().decode()
OTHER_KEY = CA.issue_cert("t@example.com").private_key_pem.bytes().decode()
SHOWN = Tls(client_certificate=CERTIFICATE, client_key="mtls")
DIGEST = bytes(range(32))


def compiled(tls: Tls | None, *texts: str, app: bytes = APP, **options: Any) -> Egress:
    made = compile_egress(tls, {"mtls": texts, "account": ["shop:s3cr3t"], "bad": ["s3cr3t"]}, app=app, **options)
    assert made is not None
    return made


def locked(key: str) -> str:
    """The key with a passphrase."""
    opened = load_pem_private_key(key.encode(), None)
    return opened.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"pass")).decode()


def small_key() -> str:
    key = rsa.generate_private_key(65_537, 1_024)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_nothing_to_do() -> None:
    assert compile_egress(None, {}, app=APP) is None


def test_a_certificate_with_its_key() -> None:
    made = compiled(SHOWN, KEY)
    assert made.certificate == CERTIFICATE
    assert "PRIVATE KEY" in made.private_key
    assert made.usable_until == datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC).timestamp()
    assert made.minimum_version is TlsVersion.TLS_1_2
    assert "PRIVATE" not in repr(made)


def test_the_version_of_the_key_that_fits_is_taken() -> None:
    """So a certificate and its key can be changed one after the other."""
    assert compiled(SHOWN, OTHER_KEY, KEY).private_key == compiled(SHOWN, KEY).private_key


@pytest.mark.parametrize(
    ("tls", "texts", "path", "why"),
    [
        (SHOWN, [OTHER_KEY], "tls.client_certificate", "does not belong to the private key"),
        (SHOWN, [], "tls.client_key", "there is no key named"),
        (SHOWN, ["s3cr3t"], "tls.client_key", "not a private key as PEM"),
        (SHOWN, [CERTIFICATE], "tls.client_key", "not a private key as PEM"),
        (SHOWN, [locked(KEY)], "tls.client_key", "has a passphrase"),
        (
            SHOWN,
            [larger_rsa(rsa.generate_private_key(65_537, 2_048), "dp")],
            "tls.client_key",
            "larger than they have to be",
        ),
        (SHOWN, [small_key()], "tls.client_key", "2048 to 4096 bits"),
        (Tls(client_certificate=CERTIFICATE), [KEY], "tls.client_key", "goes with the name of its private key"),
        (Tls(client_key="mtls"), [KEY], "tls.client_certificate", "goes with its certificate"),
        (Tls(client_certificate="x", client_key="mtls"), [KEY], "tls.client_certificate", "not a certificate as PEM"),
        (
            Tls(client_certificate=CERTIFICATE + KEY, client_key="mtls"),
            [KEY],
            "tls.client_certificate",
            "holds a private key, which must not be here",
        ),
        (
            Tls(client_certificate=CERTIFICATE.replace("M", "N"), client_key="mtls"),
            [KEY],
            "tls.client_certificate",
            "not a certificate as PEM",
        ),
        (
            Tls(client_certificate=CERTIFICATE + " " * CLIENT_CERTIFICATE_BYTES_MAX, client_key="mtls"),
            [KEY],
            "tls.client_certificate",
            "bytes are not taken here",
        ),
        (Tls(ca="-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), [], "tls.ca", "not a certificate"),
        (Tls(ca=KEY), [], "tls.ca", "holds a private key"),
        (Tls(pins=(Pin(sha256="beef"),)), [], "tls.pins[0].sha256", "not a SHA-256"),
        (Tls(pins=(Pin(sha256=DIGEST.hex()), Pin(sha256="ü" * 44))), [], "tls.pins[1].sha256", "not a SHA-256"),
        (Tls(pins=(Pin(sha256=DIGEST.hex()),) * (PINS_MAX + 1)), [], "tls.pins", "at most"),
    ],
)
def test_what_is_refused(tls: Tls, texts: list[str], path: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        compiled(tls, *texts)
    assert refused.value.path == path
    assert "s3cr3t" not in str(refused.value)
    assert "BEGIN PRIVATE" not in str(refused.value).replace("-----BEGIN PRIVATE KEY-----)", "")


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"source_address": "example.com"}, "source_address"),
        ({"source_address": "fe80::1%eth0"}, "source_address"),
        ({"proxy": "e\nu"}, "proxy"),
        ({"proxy_key": "account"}, "proxy_key"),
        ({"proxy": "eu", "proxy_key": "nobody"}, "proxy_key"),
        ({"proxy": "eu", "proxy_key": "bad"}, "proxy_key"),
    ],
)
def test_ways_that_are_refused(options: dict[str, str], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        compile_egress(None, {"account": ["shop:s3cr3t"], "bad": ["s3cr3t"]}, app=APP, **options)
    assert refused.value.path == path
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "text",
    [
        DIGEST.hex(),
        DIGEST.hex(":").upper(),
        b64encode(DIGEST).decode(),
        f"sha256/{b64encode(DIGEST).decode()}",
        urlsafe_b64encode(DIGEST).decode().rstrip("="),
    ],
)
def test_forms_of_a_pin(text: str) -> None:
    assert compiled(Tls(pins=(Pin(of=PinOf.CERTIFICATE, sha256=text),))).pins == ((PinOf.CERTIFICATE, DIGEST),)


def test_what_may_share_a_connection() -> None:
    """The same settings of the same app with the same keys, and nothing else."""
    pinned = Tls(pins=(Pin(sha256=DIGEST.hex()),))
    ca = Tls(ca=CA.cert_pem.bytes().decode())
    ways = [
        compiled(SHOWN, KEY),
        compiled(SHOWN, KEY, app=b"b" * 16),
        compiled(Tls()),
        compiled(Tls(minimum_version=TlsVersion.TLS_1_3)),
        compiled(ca),
        compiled(pinned),
        compiled(Tls(pins=(Pin(of=PinOf.CERTIFICATE, sha256=DIGEST.hex()),))),
        compiled(None, proxy="eu"),
        compiled(None, proxy="us"),
        compiled(None, proxy="eu", proxy_key="account"),
        compiled(None, source_address="192.0.2.7"),
        compiled(None, source_address="192.0.2.8"),
    ]
    assert len({way.identity for way in ways}) == len(ways)
    assert compiled(SHOWN, KEY).identity == compiled(SHOWN, OTHER_KEY, KEY).identity


def test_an_expired_client_certificate_is_told_as_it_is_used() -> None:
    ended = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)
    leaf = CA.issue_cert("t@example.com", not_after=ended)
    tls = Tls(client_certificate=leaf.cert_chain_pems[0].bytes().decode(), client_key="mtls")
    keys = NamedKeys({"mtls": (leaf.private_key_pem.bytes().decode(),)})
    renderer = renderer_of(an_endpoint(tls=tls, keys=keys), random=bytes)
    assert renderer.render(an_event(), now=ended.timestamp() - 1, replay=False).egress is not None
    with pytest.raises(Unsendable, match=f"certificate has expired, on {ended:%Y-%m-%d at %H:%M:%S} UTC"):
        renderer.render(an_event(), now=ended.timestamp(), replay=False)


def test_tls_settings_need_https_everywhere() -> None:
    endpoint = an_endpoint(tls=Tls(minimum_version=TlsVersion.TLS_1_3))
    with pytest.raises(Invalid, match="need an https URL") as refused:
        renderer_of(endpoint, random=bytes, url="http://example.com/standby")
    assert refused.value.path == "tls"
