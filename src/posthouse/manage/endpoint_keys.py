"""The named keys of an endpoint: put, taken away and told of by name, and never shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid, NotFound
from posthouse.domain.ids import ENDPOINT, format_id
from posthouse.domain.limits import OVERLAP_SECONDS_MAX
from posthouse.domain.named_keys import KeyVersion, check_key, put_key, texts_of
from posthouse.manage.access import audit, endpoint_not_found, find_endpoint
from posthouse.manage.key_change import check_keys
from posthouse.ports.clock import Clock
from posthouse.ports.directory import Directory

_ACTION: Final = "endpoint.key"


class EndpointKeys:
    """An administrator, or the app itself, manages the keys of its endpoints."""

    def __init__(self, directory: Directory, clock: Clock) -> None:
        self._directory = directory
        self._clock = clock

    async def listed(self, principal: Principal, app: str, reference: str) -> list[KeyVersion]:
        """The live versions, by name, newest first. Raises NotFound."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        return self._live(await self._directory.endpoint_keys(owner.id, endpoint.id), reference)

    async def put(
        self, principal: Principal, app: str, reference: str, name: str, text: str, *, overlap_seconds: int
    ) -> list[KeyVersion]:
        """Make this text the newest of its name; the ones before it live until the overlap ends. The live versions of the
        name. Raises Invalid, NotFound, Conflict (too many versions are live)."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        if not 0 <= overlap_seconds <= OVERLAP_SECONDS_MAX:
            raise Invalid(f"must be from 0 to {OVERLAP_SECONDS_MAX} seconds", path="overlap_seconds")
        check_key(name, text, path="value")
        now = self._clock.now()

        def change(config: EndpointConfig, versions: Sequence[KeyVersion]) -> Sequence[KeyVersion]:
            new = put_key(versions, name, text, now=now, overlap_seconds=overlap_seconds)
            check_keys(config, texts_of(new, now=now))
            return new

        entry = audit(
            principal,
            f"{_ACTION}_put",
            format_id(ENDPOINT, endpoint.id),
            key=name,
            overlap_seconds=overlap_seconds,
        )
        found = await self._directory.change_endpoint_keys(owner.id, endpoint.id, change, entry)
        return [one for one in self._live(found, reference) if one.name == name]

    async def delete(self, principal: Principal, app: str, reference: str, name: str) -> None:
        """Take a key away with all its versions, at once. Raises NotFound, and Invalid where the endpoint needs it."""
        owner, endpoint = await find_endpoint(self._directory, principal, app, reference)
        now = self._clock.now()

        def change(config: EndpointConfig, versions: Sequence[KeyVersion]) -> Sequence[KeyVersion]:
            new = [one for one in versions if one.name != name]
            if len(new) == len(versions):
                raise NotFound(f"the endpoint has no key {name[:80]!r}", code="endpoint_key_not_found")
            check_keys(config, texts_of(new, now=now))
            return new

        entry = audit(principal, f"{_ACTION}_deleted", format_id(ENDPOINT, endpoint.id), key=name)
        if await self._directory.change_endpoint_keys(owner.id, endpoint.id, change, entry) is None:
            raise endpoint_not_found(reference)

    def _live(self, found: list[KeyVersion] | None, reference: str) -> list[KeyVersion]:
        if found is None:
            raise endpoint_not_found(reference)
        now = self._clock.now()
        return [one for one in found if one.live(now)]
