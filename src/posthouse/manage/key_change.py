"""A change of an endpoint's named keys: does its configuration go with them? Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.limits import OVERLAP_SECONDS
from posthouse.domain.named_keys import KeyVersion, NamedKeys, check_key, check_key_count, put_key, texts_of
from posthouse.manage.handshake_check import check_handshake
from posthouse.manage.speaking import check_speakable
from posthouse.ports.directory import ChangeKeys


def check_keys(config: EndpointConfig, keys: NamedKeys) -> None:
    """Whether an endpoint so configured can be spoken to with these keys: called before a change of either is written.

    Raises Invalid with the path of what does not fit.
    """
    check_key_count(len(keys))
    check_speakable(config, keys)
    check_handshake(config, keys)


def keys_given(keys: Mapping[str, str] | None, *, now: float) -> ChangeKeys:
    """The change that the field `keys` of an endpoint stands for: each text is the newest of its name, the ones before it
    live for as long as in any rotation, and keys that are not named stay. Raises Invalid."""
    check_key_count(len(keys or {}))
    for name, text in (keys or {}).items():
        check_key(name, text, path="keys")

    def change(config: EndpointConfig, versions: Sequence[KeyVersion]) -> Sequence[KeyVersion]:
        for name, text in (keys or {}).items():
            versions = put_key(versions, name, text, now=now, overlap_seconds=OVERLAP_SECONDS)
        check_keys(config, texts_of(versions, now=now))
        return versions

    return change
