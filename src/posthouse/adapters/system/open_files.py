"""How many files this process may open; each connection is one."""

from __future__ import annotations

import sys

from posthouse.domain.limits import CLIENTS_MAX, CLIENTS_MIN, FILES_BESIDE_SOCKETS

if sys.platform != "win32":
    import resource


def open_as_many_as_may_be() -> int | None:
    """Raise the limit to the hard one, which most systems set far above what a shell or a service begins with; what it is then.
    None: there is none."""
    if sys.platform == "win32":
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):  # a hard limit that is none, and a kernel with another
            return None if soft == resource.RLIM_INFINITY else soft
    return None if hard == resource.RLIM_INFINITY else hard


def room_for_clients(files: int | None, *, sockets_max: int) -> int:
    """How many clients may be connected: what requests to targets need is not theirs."""
    if files is None:
        return CLIENTS_MAX
    return max(min(CLIENTS_MAX, files - sockets_max - FILES_BESIDE_SOCKETS), CLIENTS_MIN)
