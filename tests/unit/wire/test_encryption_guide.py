"""What the guide tells to write is taken, and both languages tell the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, Final

import pytest
from tests.encrypting import public_pem, step

DOCS: Final = Path(__file__).parents[3] / "docs"
KEYS: Final = {
    "envelope": "k" * 32,
    "hybrid": public_pem("rsa"),
    "ECDH-ES": public_pem("p256"),
    "jwe": public_pem("rsa"),
}
_BLOCK: Final = re.compile(r"```json\n(.*?)```", re.DOTALL)
_INLINE: Final = re.compile(r"`(\{\"kind\".*?\})`")


def told(language: str) -> list[dict[str, Any]]:
    page = (DOCS / language / "guides" / "encryption.md").read_text("utf-8")
    read = [json.loads(text) for text in (*_BLOCK.findall(page), *_INLINE.findall(page))]
    found = [each.get("encryption", each) for each in read]
    return [each for each in found if "kind" in each]


def test_both_languages_tell_the_same() -> None:
    assert told("en") == told("zh")
    assert {each["kind"] for each in told("en")} == {"jwe", "envelope", "hybrid"}


@pytest.mark.parametrize("configuration", told("en"))
def test_what_the_guide_says_is_taken(configuration: dict[str, Any]) -> None:
    if "…" in configuration["key"]:
        configuration = configuration | {"key": "k"}
    if configuration.get("key_encoding") == "base64":
        key = "A" * 43
    else:
        key = KEYS.get(configuration.get("algorithm", ""), KEYS[configuration["kind"]])
    step(configuration, key)
