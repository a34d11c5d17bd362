"""Digests and HMACs by name. The vectors are those of RFC 1321, FIPS 180, GB/T 32905 and RFC 4231 (case 2)."""

import hashlib
from typing import Any

import pytest

from posthouse_sdk.digests import digest, mac

ABC = {
    "md5": "900150983cd24fb0d6963f7d28e17f72",
    "sha1": "a9993e364706816aba3e25717850c26c9cd0d89d",
    "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
    "sm3": "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0",
}


@pytest.mark.parametrize("name", ABC)
def test_digests(name: str) -> None:
    assert digest(name, b"abc").hex() == ABC[name]


def test_sm3_where_hashlib_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def new(name: str, *rest: Any, **more: Any) -> Any:
        raise ValueError(f"unsupported hash type {name}")

    monkeypatch.setattr(hashlib, "new", new)
    assert digest("sm3", b"abc").hex() == ABC["sm3"]


def test_macs() -> None:
    made = mac("sha256", b"Jefe")(b"what do ya want for nothing?")
    assert made.hex() == "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"


@pytest.mark.parametrize("secret", [b"key", b"k" * 64, b"k" * 65])
def test_sm3_macs_are_as_rfc_2104_has_them(secret: bytes) -> None:
    block = (secret if len(secret) <= 64 else digest("sm3", secret)).ljust(64, b"\0")
    inner = digest("sm3", bytes(byte ^ 0x36 for byte in block) + b"content")
    assert mac("sm3", secret)(b"content") == digest("sm3", bytes(byte ^ 0x5C for byte in block) + inner)
