"""Whether a profile works, as far as can be told without an endpoint: it is loaded, what it names is there and what is there is
named, and a request is made on trial, with keys made as the profile makes them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any, Final

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.profile import Profile
from posthouse.manage.key_change import check_keys
from posthouse.manage.profile_keys import made_keys
from posthouse.manage.profiles import SAMPLE, fields_of, load, within
from posthouse.wire.encryption.answers import check_decrypt_answer

_PLACE: Final = re.compile(r"body|(?:header|query|form):[^\s:]+|(?:json|xml|sent):/\S*|")
_SETTING: Final = re.compile(r"\$\{([^}]*)\}")
_URL: Final = "https://example.com/"
# Fields of fields that name keys, and those in which `key` is a word of the target's.
_KEYS: Final = frozenset({"key", "client_key"})
_OF_THE_TARGET: Final = frozenset(
    {"body", "data", "elements", "fields", "headers", "json", "params", "query", "template"}
)


def check_profile(text: str, *, name: str | None = None) -> Profile:
    """The profile in this text; `name` is what its file is called.

    Raises: Invalid with the path of what is wrong.
    """
    profile = load(text, name=name)
    _check_settings(profile)
    _check_keys(profile)
    for field in ("id", "type", "timestamp", "data"):
        if _PLACE.fullmatch(getattr(profile.receive, field)) is None:
            raise Invalid(
                "a place is header:Name, query:name, form:name, json:/pointer, xml:/Element, sent:/pointer or body",
                path=f"receive.{field}",
            )
    if all(key.make is not None for key in profile.keys):
        with within("endpoint"):
            _try_out(profile)
    return profile


def _check_settings(profile: Profile) -> None:
    named = {found for text in _texts(profile.endpoint) for found in _SETTING.findall(text)}
    for index, setting in enumerate(profile.settings):
        if setting.name not in named:
            raise Invalid("nothing of the endpoint names this setting", path=f"settings[{index}].name")


def _check_keys(profile: Profile) -> None:
    named = dict(_key_names(profile.endpoint, "endpoint"))
    known = [key.name for key in profile.keys]
    for name, path in named.items():
        if name not in known:
            raise Invalid(f"the profile has no such key; it has: {', '.join(known) or 'none'}", path=path)
    for index, each in enumerate(known):
        if each not in named:
            raise Invalid("nothing of the endpoint names this key", path=f"keys[{index}].name")


def _try_out(profile: Profile) -> None:
    keys = made_keys(profile, (), os.urandom).texts
    fields = fields_of(profile, {each.name: SAMPLE for each in profile.settings if each.default is None})
    config = EndpointConfig(url=_URL, **fields)
    check_decrypt_answer(config, fields)
    check_keys(config, NamedKeys({name: (text,) for name, text in keys.items()}))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(each)


def _key_names(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """The keys that are named, each with a path that names it."""
    if isinstance(value, list):
        for index, each in enumerate(value):
            yield from _key_names(each, f"{path}[{index}]")
    elif isinstance(value, dict):
        for name, each in value.items():
            if name in _KEYS and isinstance(each, str) and each:
                yield each, f"{path}.{name}"
            elif name not in _OF_THE_TARGET:
                yield from _key_names(each, f"{path}.{name}")
