"""Who may do what: the same few questions in front of every use case."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from posthouse.domain.access import Principal, Scope
from posthouse.domain.errors import Forbidden, Invalid, NotFound
from posthouse.domain.ids import ID_BYTES, KEY, AppId, format_id, parse_id
from posthouse.domain.limits import METADATA_BYTES_MAX, NAME_LENGTH_MAX
from posthouse.domain.operations import OPERATIONS_APP, RESERVED
from posthouse.domain.platform_routes import PLATFORM_APP
from posthouse.ports.directory import App, Audit, Directory, StoredEndpoint

NEWEST: Final = b"\xff" * ID_BYTES
"""Where a list that is newest first begins: above every id."""

_MAY_PUBLISH: Final = (
    "this key may publish events, and nothing else: POST to /v1/events, /v1/apps/…/events, and both with /batch"
)
_MAY_PUBLISH_IN_ONE_APP: Final = (
    "this key may publish events of its app, and nothing else: POST to /v1/apps/…/events and /v1/apps/…/events/batch"
)
_UID: Final = re.compile(r"[A-Za-z0-9_~@:+\-][A-Za-z0-9._~@:+\-]*\Z")


def actor(principal: Principal) -> str:
    """How the audit names the holder of a key."""
    return format_id(KEY, principal.key_id)


def audit(principal: Principal, action: str, thing: str, **detail: Any) -> Audit:
    """An audit entry of what a principal does. What comes through the portal bears the name of the key that let somebody in."""
    if principal.in_portal:
        detail["through"] = "portal"
    return Audit(actor(principal), action, thing, detail)


def admin_only(principal: Principal) -> None:
    """Raises Forbidden for the key of an app."""
    if not principal.admin:
        raise Forbidden("this key belongs to one app; this needs a key of scope admin")


def not_only_publishing(principal: Principal) -> None:
    """Raises Forbidden for a key that may do nothing but publish: in front of everything else."""
    if principal.scope is Scope.PUBLISH:
        raise Forbidden(_MAY_PUBLISH if principal.app_id is None else _MAY_PUBLISH_IN_ONE_APP)


def check_publishing(principal: Principal, app_id: AppId | None) -> None:
    """Raises Forbidden for a key that may not publish events of this app; None: those for whoever is granted them."""
    if principal.may_publish(app_id):
        return
    not_only_publishing(principal)
    raise Forbidden("this key looks after one app; publishing needs a key of scope publish or admin")


async def find_app(directory: Directory, principal: Principal, reference: str) -> App:
    """The app with this id or uid, if the principal may see it. Raises NotFound, the same for both."""
    app = await directory.get_app(reference)
    if app is None or not principal.may_see(app.id):
        raise app_not_found(reference)
    return app


def endpoint_not_found(reference: str) -> NotFound:
    return NotFound(f"there is no endpoint {reference[:80]!r}", code="endpoint_not_found")


async def find_endpoint(
    directory: Directory, principal: Principal, app: str, reference: str
) -> tuple[App, StoredEndpoint]:
    """An endpoint and the app whose it is. Raises NotFound where there is none that the principal sees."""
    owner = await find_app(directory, principal, app)
    return owner, await endpoint_of(directory, owner.id, reference)


async def endpoint_of(directory: Directory, app_id: AppId, reference: str) -> StoredEndpoint:
    """An endpoint of an app that the principal sees. Raises NotFound."""
    found = await directory.get_endpoint(app_id, reference)
    if found is None:
        raise endpoint_not_found(reference)
    return found


def app_not_found(reference: str) -> NotFound:
    return NotFound(f"there is no app {reference[:80]!r}", code="app_not_found")


def not_reserved(app_id: AppId) -> None:
    """Raises Forbidden for the app in which Posthouse tells its operators, and for that of the platform routes."""
    if app_id == OPERATIONS_APP:
        raise Forbidden(
            "this app is Posthouse's own, for its operational events: it has endpoints, and a name and metadata, but nobody "
            "publishes in it, deletes it, gives it another uid, grants it anything or makes keys for it",
            code=RESERVED,
        )
    if app_id == PLATFORM_APP:
        raise Forbidden(
            "this app is Posthouse's own, for platform routes: it has endpoints, and a name and metadata, but nobody publishes "
            "in it, deletes it, gives it another uid, grants it anything or makes keys for it",
            code=RESERVED,
        )


def check_uid(uid: str | None, *, prefix: str) -> None:
    """Raises Invalid where this cannot be a uid: it stands in URLs, and must never be taken for an id."""
    if uid is None:
        return
    if len(uid) > NAME_LENGTH_MAX or _UID.match(uid) is None:
        raise Invalid(
            f"a uid is 1 to {NAME_LENGTH_MAX} letters, digits and . _ ~ @ : + -, and does not begin with a dot",
            path="uid",
        )
    if parse_id(prefix, uid) is not None:
        raise Invalid("a uid must not look like an id of Posthouse's own", path="uid")


def check_metadata(metadata: dict[str, Any]) -> None:
    """Raises Invalid for too much."""
    size = len(msgspec.json.encode(metadata))
    if size > METADATA_BYTES_MAX:
        raise Invalid(f"metadata has at most {METADATA_BYTES_MAX} bytes as JSON; this has {size}", path="metadata")


UID_TAKEN: Final = "uid_taken"
TURNS_MAX: Final = 10
"""How often an upsert tries to be either the one who makes a thing or the one who replaces it."""


class Moved(Exception):
    """What was found under a uid bears another one by the time it is locked: look again."""


def uid_of_path(reference: str, given: str | None) -> str:
    """The uid of what is put under a name. Raises Invalid where the body gives it another one."""
    if given is not None and given != reference:
        raise Invalid(
            f"the path says {reference[:80]!r}; leave uid out, or change it with PATCH, or by PUT to the id", path="uid"
        )
    return reference
