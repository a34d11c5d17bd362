"""What can keep a rule's event from being published; each is counted, logged, and told to `on_error`."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple, get_args

Reason = Literal[
    "too_large", "encoded", "not_json", "unread", "cut_off", "missing", "invalid", "full", "refused", "unsent", "broken"
]
REASONS: Final[tuple[Reason, ...]] = get_args(Reason)


class Miss(NamedTuple):
    """An event that was to be, and is not published; or, for `broken` without a type, a fault of the listener's own.

    | reason | what happened |
    |---|---|
    | `too_large` | the rule needs a body, which has more than `body_bytes_max` |
    | `encoded` | it needs a body, which is compressed in a way that is not read here (only gzip and deflate are) |
    | `not_json` | its data are a body, which is no JSON (of a request: and no form), or is there none |
    | `unread` | it needs the request's body, which the application did not read to its end |
    | `cut_off` | it needs the answer's body, which the application did not end |
    | `missing` | a text of it needs a field that is not there, or is null, empty, an object or a list |
    | `invalid` | what came of it is no event (by its form: see `Event`) |
    | `full` | the queue, or the spool, has no room |
    | `refused` | the server refused it for good (memory only; a spool sets it aside) |
    | `unsent` | it could not be sent, or stored, for as long as it was tried |
    | `broken` | something that should not be; `error` is what |
    """

    reason: Reason
    rule: str
    detail: str
    type: str | None = None
    error: Exception | None = None


class UnreadableError(Exception):
    """A body that a rule needs and that cannot be had."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason: Final = reason
