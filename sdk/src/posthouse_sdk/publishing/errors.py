"""What can go wrong when an event is published; `str(error)` says what, and what to do.

PosthouseError
├── ConfigurationError      (a ValueError) the hub cannot work as it is set up
├── EventError              (a ValueError) no event can be made of what was given; nothing was sent
└── PublishError            an event was made, and is not known to be published
    ├── RefusedError        the server said no, and would say it again: `status`, `code`, `path`, `fields`
    │   ├── UnauthorisedError   401: no key, or one it does not know
    │   ├── ForbiddenError      403: a key that may not, or a quota of the app
    │   ├── NotFoundError       404: no such app or event type
    │   └── InvalidEventError   400, 413, 415, 422: the event is wrong; `path` names the field
    ├── UnavailableError    no answer that settles it within the time given; `in_doubt` where it may be there
    ├── BufferFullError     the background's buffer is full, and this event was not taken
    └── ClosedError         the hub was closed; nothing was sent
"""

from __future__ import annotations

from typing import Final, NamedTuple


class PosthouseError(Exception):
    """Base of everything that publishing raises on purpose."""


class ConfigurationError(PosthouseError, ValueError):
    """The hub cannot work as it is set up."""


class EventError(PosthouseError, ValueError):
    """No event can be made of what was given."""


class PublishError(PosthouseError):
    """An event is not known to be published."""


class FieldError(NamedTuple):
    """One field that the server found wrong."""

    path: str
    detail: str


class RefusedError(PublishError):
    """The server refused: `status` and `code` are stable, `detail` is for people, `path` names the field (`data.items[2]`).

    `fields` are all that it found wrong, where it told several.
    """

    def __init__(
        self, status: int, code: str, detail: str, *, path: str = "", fields: tuple[FieldError, ...] = ()
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.path = path
        self.fields = fields
        self.next_step = next_step(status, code)
        where = f"{path}: " if path else ""
        more = "".join(f"; {field.path}: {field.detail}" for field in fields if field.path != path)
        step = f". {self.next_step}" if self.next_step else ""
        super().__init__(f"{where}{detail}{more} ({status} {code}){step}")


class UnauthorisedError(RefusedError):
    """401: no API key, or one that the server does not know."""


class ForbiddenError(RefusedError):
    """403: the key may not publish, or the app is over a quota."""


class NotFoundError(RefusedError):
    """404: there is no such app or event type."""


class InvalidEventError(RefusedError):
    """400, 413, 415, 422: the event is wrong."""


class UnavailableError(PublishError):
    """Nothing settled it in the time given. `in_doubt`: a try was sent and not answered, so the event may be published.

    Publishing it again with the same idempotency key (within 24 hours) publishes it once.
    """

    def __init__(self, message: str, *, in_doubt: bool, tries: int) -> None:
        super().__init__(message)
        self.in_doubt = in_doubt
        self.tries = tries


class BufferFullError(PublishError):
    """The buffer of the background is full: the event was not taken."""


class ClosedError(PublishError):
    """The hub is closed, and takes nothing more."""


_KINDS: Final[dict[int, type[RefusedError]]] = {
    400: InvalidEventError,
    401: UnauthorisedError,
    403: ForbiddenError,
    404: NotFoundError,
    413: InvalidEventError,
    415: InvalidEventError,
    422: InvalidEventError,
}
_STEPS: Final = {
    "unauthorised": "Set POSTHOUSE_API_KEY, or give api_key; `posthouse keys create` makes keys",
    "forbidden": "Publishing needs a key of scope publish: `posthouse keys create --scope publish`",
    "app_not_found": "`posthouse apps list` shows those that there are; `posthouse apps create` makes one",
    "event_type_not_found": "Declare it: `posthouse catalogue push MODULE`, or `posthouse event-types create NAME`",
    "event_type_archived": "`posthouse event-types update NAME --archived false` brings it back",
    "schema_mismatch": "`posthouse event-types get NAME` shows the schema",
    "idempotency_key_reused": "Let the SDK make the key, or give each event its own",
    "not_posthouse": "Is url that of a Posthouse server, without a path of its API?",
    "redirect": "Give the URL that it leads to",
}


def next_step(status: int, code: str) -> str:
    """What to do about a refusal; empty where its detail says so already."""
    if status == 404 and code in ("", "not_found", "route_not_found"):
        return _STEPS["not_posthouse"]
    return _STEPS.get(code, "")


def refusal(
    status: int, code: str, detail: str, *, path: str = "", fields: tuple[FieldError, ...] = ()
) -> RefusedError:
    """The error of a refusal, of the class that its status asks for."""
    kind = _KINDS.get(status, RefusedError)
    return kind(status, code, detail, path=path, fields=fields)
