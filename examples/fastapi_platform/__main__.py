"""`python -m examples.fastapi_platform`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from examples.platform import POSTHOUSE, show


def platform(folder: Path, port: int) -> tuple[Sequence[str], Sequence[str], dict[str, str]]:
    database = folder / "shop.db"
    shop = [sys.executable, "-m", "uvicorn", "examples.fastapi_platform.shop:app", "--port", str(port)]
    relay = [*POSTHOUSE, "relay", "--dsn", f"sqlite:///{database}"]
    return [*shop, "--log-level", "warning"], relay, {"SHOP_DATABASE": str(database)}


if __name__ == "__main__":
    show(platform)
