"""Where tests keep the files of servers: in memory where there is room. A database is made and dropped a thousand times."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

ROOM_BYTES: Final = 4 * 2**30  # what all processes of tests have there at once is a tenth of it
_MEMORY: Final = Path("/dev/shm")


def _fast() -> str:
    if os.access(_MEMORY, os.W_OK | os.X_OK) and shutil.disk_usage(_MEMORY).free >= ROOM_BYTES:
        return str(_MEMORY)
    return "/tmp"


FAST: Final = _fast()
"""Not pytest's own folders: those are closed to the user that PostgreSQL runs as. No program can be started from it
everywhere, and what a crash of the machine should leave is not for here."""
