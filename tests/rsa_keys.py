"""Private RSA keys with numbers that are larger than they have to be, as PKCS #1 (RFC 8017, appendix A.1.2)."""

from __future__ import annotations

import base64

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

FACTOR = 1 << 3_000


def larger_rsa(key: RSAPrivateKey, *names: str) -> str:
    """The key as PEM; numbers of these names (`d`, `dp`, `dq`, `p`, `e`) are larger by a multiple of what they count by: all
    but `p` make no difference to what it signs."""
    private = key.private_numbers()
    public, p, q = private.public_numbers, private.p, private.q
    steps = {
        "n": (public.n, 0),
        "e": (public.e, (p - 1) * (q - 1)),
        "d": (private.d, (p - 1) * (q - 1)),
        "p": (p, q),
        "q": (q, p),
        "dp": (private.dmp1, p - 1),
        "dq": (private.dmq1, q - 1),
        "qi": (private.iqmp, p),
    }
    numbers = [number + step * FACTOR if name in names else number for name, (number, step) in steps.items()]
    der = _of_type(0x30, b"".join(_integer(number) for number in (0, *numbers)))
    lines = base64.encodebytes(der).decode()
    return f"-----BEGIN RSA PRIVATE KEY-----\n{lines}-----END RSA PRIVATE KEY-----\n"


def _integer(number: int) -> bytes:
    return _of_type(2, number.to_bytes(number.bit_length() // 8 + 1, "big"))


def _of_type(kind: int, content: bytes) -> bytes:
    size = len(content)
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    length = bytes([size]) if size < 0x80 else bytes([0x80 | len(octets)]) + octets
    return bytes([kind]) + length + content
