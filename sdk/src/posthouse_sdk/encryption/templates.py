"""Texts with `{variables}`: written by who sends, read again by who receives. `{{` and `}}` are braces.

What is read back must be found without doubt, so a text that holds something of the encryption is looked at closely:
between two variables stands a character that no encoding uses, and only one of them may be of a free form.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from posthouse_sdk.encryption.errors import SettingError

CIPHERTEXT: Final = "ciphertext"
IV: Final = "iv"
TAG: Final = "tag"
WRAPPED_KEY: Final = "wrapped_key"
KEY_ID: Final = "key_id"
ASSOCIATED_DATA: Final = "associated_data"
CONTENT_TYPE: Final = "content_type"

CODED: Final = frozenset({CIPHERTEXT, IV, TAG, WRAPPED_KEY})
"""What stands as Base64, hexadecimal digits or letters and digits."""
SEALED: Final = CODED | {KEY_ID, ASSOCIATED_DATA, CONTENT_TYPE}
"""All that comes of an encryption."""
TEMPLATE_LENGTH_MAX: Final = 2_048

_ALPHABET: Final = r"A-Za-z0-9+/=_\-"
_PIECE: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*")


def shown(variable: str) -> str:
    """A variable as it stands in a template."""
    return f"{{{variable}}}"


class Template:
    """A text and the variables it names. Equal texts make equal templates.

    Raises: SettingError for a brace that stands alone, or what is no name between braces.
    """

    __slots__ = ("_literals", "_names", "text")

    def __init__(self, text: str, path: str = "") -> None:
        if len(text) > TEMPLATE_LENGTH_MAX:
            raise SettingError(f"a template has at most {TEMPLATE_LENGTH_MAX} characters", path)
        self.text: Final = text
        literals: list[str] = [""]
        names: list[str] = []
        end = 0
        for piece in _PIECE.finditer(text):
            literals[-1] += text[end : piece.start()]
            end = piece.end()
            name = piece.group(1)
            if piece.group() in ("{{", "}}"):
                literals[-1] += piece.group()[0]
            elif name is None or not _NAME.fullmatch(name):
                raise SettingError("braces hold the name of a variable; a brace itself is written twice", path)
            else:
                names.append(name)
                literals.append("")
        literals[-1] += text[end:]
        self._literals: Final = tuple(literals)
        self._names: Final = tuple(names)

    @property
    def names(self) -> tuple[str, ...]:
        """The variables, in order; one that stands there twice is told twice."""
        return self._names

    def written(self, values: Mapping[str, str]) -> str:
        """The text with its variables. Raises: KeyError for one without a value."""
        text = self._literals[0]
        for name, literal in zip(self._names, self._literals[1:], strict=True):
            text += values[name] + literal
        return text

    def check_readable(self, path: str) -> None:
        """Whether what is sealed can be read back from what is written.

        Raises: SettingError.
        """
        if not SEALED.intersection(self._names):
            return
        if sum(name not in CODED for name in self._names) > 1:
            raise SettingError("beside the ciphertext only one variable of a free form can be told apart", path)
        for literal in self._literals[1:-1]:
            if not re.search(rf"[^{_ALPHABET}]", literal):
                raise SettingError(
                    "two variables need a character between them that no encoding uses, such as a full stop", path
                )

    def reader(self) -> re.Pattern[str] | None:
        """What reads back the sealed variables, one group each of its name; None where the text has none of them."""
        if not SEALED.intersection(self._names):
            return None
        pattern = re.escape(self._literals[0])
        for name, literal in zip(self._names, self._literals[1:], strict=True):
            # Alone it may look like anything: a JWE has full stops, or is JSON.
            form = rf"[{_ALPHABET}]*" if name in CODED and len(self._names) > 1 else ".*"
            pattern += rf"(?P<{name}>{form})" if name in SEALED else form
            pattern += re.escape(literal)
        return re.compile(pattern, re.DOTALL)
