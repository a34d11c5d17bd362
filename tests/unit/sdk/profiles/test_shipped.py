"""Every profile that comes with Posthouse: what its endpoints are sent of an event is received."""

from __future__ import annotations

import base64
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.profiling import NOW, SECRET, sent_by

from posthouse_sdk import NoMatchingSignatureError, ProfileReceiver, profile_names, profiles

LETTERS = "abcdefghijklmnopqrstuvwxyz012345"
TEXTS = {
    "letters": LETTERS,
    "hex": LETTERS.encode().hex(),
    "base64": base64.b64encode(LETTERS.encode()).decode(),
    "aes-key": base64.b64encode(LETTERS.encode()).decode().rstrip("="),
    "ed25519": LETTERS.encode().hex(),
}


@cache
def rsa_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), public.decode()


def pair(make: str) -> tuple[str, str]:
    """A key as the endpoint and as the target has it."""
    if make == "rsa":
        return rsa_pair()
    if make == "ed25519":
        key = Ed25519PrivateKey.from_private_bytes(LETTERS.encode())
        return TEXTS[make], key.public_key().public_bytes_raw().hex()
    return TEXTS[make], TEXTS[make]


def told(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(profiles.__file__).parent / f"{name}.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", profile_names())
def test_it_is_received(name: str) -> None:
    profile = told(name)
    keys = {key["name"]: pair(key.get("make", "letters")) for key in profile.get("keys", ())}
    settings = {each["name"]: "sample" for each in profile.get("settings", ()) if "default" not in each}
    came = sent_by(name, {key: here for key, (here, _) in keys.items()}, settings)
    there = {"secret": SECRET} | {key: text for key, (_, text) in keys.items()}
    found = ProfileReceiver(name, there, settings=settings, clock=lambda: NOW).receive(*came)
    assert found.event is not None
    receive = profile["receive"]
    assert found.handshake is None
    assert found.event.type == ("order.created" if receive.get("type") else None)
    assert found.event.id == "evt_000g40r40m30e209185gr38e1w" or not receive.get("id")
    assert "A-1" in str(found.event.data)
    assert found.body or not receive.get("answer")
    assert 200 <= found.status < 300
    for signer in profile["endpoint"].get("signing", ()):
        key = signer.get("key", "secret")
        changed = {**there, key: there[key].replace("a", "b").replace("6", "7")}
        if changed != there and signer.get("algorithm", "").partition("-")[0] not in ("rsa", "ed25519"):
            with pytest.raises(NoMatchingSignatureError):
                ProfileReceiver(name, changed, settings=settings, clock=lambda: NOW).receive(*came)
