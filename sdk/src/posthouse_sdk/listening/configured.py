"""A listener from plain data: settings, or a file of TOML or JSON that was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from posthouse_sdk.listening.memory import Memory
from posthouse_sdk.listening.rules import Rule, rule_of
from posthouse_sdk.listening.sink import Sink
from posthouse_sdk.listening.spool import Spool
from posthouse_sdk.publishing.errors import ConfigurationError

_FIELDS: Final = ("rules", "spool", "memory", "url", "api_key", "body_bytes_max", "idempotency_header")
_SPOOL: Final = ("path", "relays", "fsync", "hold_seconds", "bytes_max", "lease_seconds")
_MEMORY: Final = ("buffer_events", "buffer_bytes", "keep_seconds", "exit_seconds")
_WHERE: Final = 'say where events wait: spool = "/var/lib/shop/events.spool" (recommended), or memory = true'


def read(told: Mapping[str, Any], where: str = "listening") -> tuple[list[Rule], Sink, dict[str, Any]]:
    """The rules, the sink, and what a `Listener` has besides. Raises ConfigurationError, which names the field."""
    _check(told, _FIELDS, where)
    rules = told.get("rules")
    if not isinstance(rules, Sequence) or isinstance(rules, str) or not rules:
        raise ConfigurationError(f"{where}.rules: a list of rules that is not empty")
    made = [rule_of(rule, f"{where}.rules[{index}]") for index, rule in enumerate(rules)]
    rest = {name: told[name] for name in ("body_bytes_max", "idempotency_header") if name in told}
    return made, _sink(told, where), rest


def _sink(told: Mapping[str, Any], where: str) -> Sink:
    reach = {name: told[name] for name in ("url", "api_key") if name in told}
    spool, memory = told.get("spool"), told.get("memory")
    if (spool is None) == (memory is None or memory is False):
        raise ConfigurationError(f"{where}: {_WHERE}; one of the two")
    try:
        if spool is None:
            options: Any = {} if memory is True else memory
            _check(options, _MEMORY, f"{where}.memory")
            return Memory(**reach, **options)
        options = {"path": spool} if isinstance(spool, str) else spool
        _check(options, _SPOOL, f"{where}.spool")
        if "path" not in options:
            raise ConfigurationError(f"{where}.spool.path: it is not there; it says which file the spool is")
        return Spool(**reach, **options)
    except TypeError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def _check(told: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(told, Mapping):
        raise ConfigurationError(f"{where}: it maps names to values, and is no {type(told).__name__}")
    if unknown := [str(name) for name in told if name not in known]:
        raise ConfigurationError(f"{where}.{unknown[0]}: there is no such field; there are {', '.join(known)}")
