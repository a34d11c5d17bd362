"""A JSON object, read member by member; what is wrong is told with its path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.templates import Template

T = TypeVar("T")

_MISSING: Final[Any] = object()
MEMBERS_MAX: Final = 64


class Reader:
    """Each method reads one member; without a default it must be there. Raises: SettingError."""

    def __init__(self, value: Mapping[str, Any], path: str = "") -> None:
        if not isinstance(value, Mapping):
            raise SettingError("this is an object", path)
        self._value: Final = value
        self._path: Final = path
        self._read: Final[set[str]] = set()

    def path(self, name: str) -> str:
        return f"{self._path}.{name}" if self._path else name

    def has(self, name: str) -> bool:
        return name in self._value

    def check_all_read(self) -> None:
        """Raises: SettingError where a member is left that nobody asked for."""
        for name in self._value:
            if name not in self._read:
                raise SettingError("there is no such field here", self.path(str(name)[:MEMBERS_MAX]))

    def text(self, name: str, default: str = _MISSING) -> str:
        value = self._get(name, default)
        if not isinstance(value, str) or (default is _MISSING and not value):
            raise SettingError("this is a text", self.path(name))
        return value

    def one_of(self, name: str, known: Sequence[T], default: Any = _MISSING) -> T:
        """One of the known values; None only where that is the default."""
        value = self._get(name, default)
        if value not in known and not (value is None and default is None):
            raise SettingError(f"one of {', '.join(map(str, known))}", self.path(name))
        return value  # type: ignore[no-any-return]

    def flag(self, name: str, default: bool) -> bool:
        value = self._get(name, default)
        if not isinstance(value, bool):
            raise SettingError("this is true or false", self.path(name))
        return value

    def object(self, name: str) -> Mapping[str, Any]:
        value = self._get(name, _MISSING)
        if not isinstance(value, Mapping):
            raise SettingError("this is an object", self.path(name))
        return value

    def object_reader(self, name: str) -> Reader:
        return Reader(self.object(name), self.path(name))

    def any(self, name: str, default: Any) -> Any:
        return self._get(name, default)

    def texts(self, name: str) -> list[str]:
        """A list of texts, empty where it is not there."""
        value = self._get(name, ())
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise SettingError("this is a list of texts", self.path(name))
        return list(value)

    def templates(self, name: str, *, required: bool = False) -> tuple[tuple[str, Template], ...]:
        """An object whose members are templates; empty where it is not there and need not be."""
        value = self._get(name, _MISSING if required else {})
        path = self.path(name)
        if not isinstance(value, Mapping) or not all(isinstance(each, str) for pair in value.items() for each in pair):
            raise SettingError("this is an object of texts", path)
        if len(value) > MEMBERS_MAX:
            raise SettingError(f"at most {MEMBERS_MAX} members", path)
        return tuple((key, Template(text, f"{path}.{key}")) for key, text in value.items())

    def _get(self, name: str, default: Any) -> Any:
        self._read.add(name)
        value = self._value.get(name, default)
        if value is _MISSING:
            raise SettingError("this is needed", self.path(name))
        return value
