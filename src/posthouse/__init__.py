"""Posthouse (驿站): webhook delivery for open platforms.

For those who run it beside code of their own, the names of `posthouse.callbacks` are here too: `posthouse.on_callback` and what
handlers are given and return. They are loaded as they are first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from posthouse.callbacks import Action as Action
    from posthouse.callbacks import Callback as Callback
    from posthouse.callbacks import Disable as Disable
    from posthouse.callbacks import Emit as Emit
    from posthouse.callbacks import Forward as Forward
    from posthouse.callbacks import Notify as Notify
    from posthouse.callbacks import Resend as Resend
    from posthouse.callbacks import Response as Response
    from posthouse.callbacks import SetMetadata as SetMetadata
    from posthouse.callbacks import Throttle as Throttle
    from posthouse.callbacks import on_callback as on_callback

__version__ = "0.1.0"

_OF_CALLBACKS = frozenset(
    (
        *(
            "Action",
            "Callback",
            "Disable",
            "Emit",
            "Forward",
            "Notify",
            "Resend",
            "Response",
            "SetMetadata",
            "Throttle",
        ),
        "on_callback",
    )
)


def __getattr__(name: str) -> Any:
    if name in _OF_CALLBACKS:
        return getattr(import_module("posthouse.callbacks"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
