"""The guide's configurations are ones that work, in both languages the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.messages import signers
from tests.tidy.tree import ROOT
from tests.unit.wire import test_signing_providers as providers

from posthouse.wire.signing.signers import compile_signers

GUIDES = [ROOT / "docs" / language / "guides" / "signatures.md" for language in ("en", "zh")]


def pem(key: Any) -> str:
    return str(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())


def configurations(guide: Path) -> list[dict[str, Any]]:
    text = guide.read_text("utf-8")
    blocks = re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    blocks += re.findall(r"^\|.*`(\{\"kind\".*\})`", text, re.MULTILINE)
    found: list[dict[str, Any]] = []
    for block in blocks:
        read = json.loads(block)
        found += read.get("signing", [read])
    return found


def test_both_guides_show_the_same() -> None:
    english, chinese = (configurations(guide) for guide in GUIDES)
    assert english == chinese
    assert len(english) > 12


def test_each_compiles_alone() -> None:
    keys = {
        "hook": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
        "legacy": ["secret"],
        "hex": ["00ff"],
        "seed": ["00" * 32],
        "rsa": [pem(rsa.generate_private_key(65537, 2048))],
        "p256": [pem(ec.generate_private_key(ec.SECP256R1()))],
        "http": [pem(Ed25519PrivateKey.generate())],
    }
    for configuration in configurations(GUIDES[0]):
        assert compile_signers(signers(configuration), keys)


@pytest.mark.parametrize(
    "name", ["STRIPE", "SLACK", "FEISHU", "DINGTALK", "ALIPAY", "WECHAT_PAY", "WECHAT_PAY_V2", "DISCORD", "ADYEN"]
)
def test_the_platforms_are_shown_as_they_are_tested(name: str) -> None:
    tested = getattr(providers, name) | {"key": ""}
    assert tested in [configuration | {"key": ""} for configuration in configurations(GUIDES[0])]
