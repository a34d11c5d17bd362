"""`python -m examples.django_platform`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from examples.platform import show

SHOP = (sys.executable, "-m", "examples.django_platform.shop")


def platform(folder: Path, port: int) -> tuple[Sequence[str], Sequence[str], dict[str, str]]:
    serve = [*SHOP, "runserver", f"127.0.0.1:{port}", "--noreload", "--verbosity", "0", "--skip-checks"]
    return serve, [*SHOP, "posthouse_relay"], {"SHOP_DATABASE": str(folder / "shop.db")}


if __name__ == "__main__":
    show(platform)
