"""How many examples a property is tried with: POSTHOUSE_TEST_EXAMPLES times as many as by default."""

from __future__ import annotations

import os
from typing import Final

TIMES: Final = int(os.environ.get("POSTHOUSE_TEST_EXAMPLES", "1"))


def examples(count: int) -> int:
    return count * TIMES
