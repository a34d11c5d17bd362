"""The text of a body, whatever charset it is written in."""

from __future__ import annotations

import codecs
import re
from typing import Final

DEFAULT: Final = "utf-8"

_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: it begins as that does
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_CHARSET: Final = re.compile(r"""charset\s*=\s*["']?([A-Za-z0-9_.:\-]{1,40})""", re.IGNORECASE)
_DECLARED: Final = re.compile(rb"""\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:\-]{1,40})["']""")

# By the names that are in use for them, without `-`, `_` and case. Only these: a codec of Python's may be no charset at all.
_KNOWN: Final = {
    "utf8": "utf-8",
    "ascii": "utf-8",
    "usascii": "utf-8",
    "utf16": "utf-16-le",
    "utf16le": "utf-16-le",
    "utf16be": "utf-16-be",
    "utf32": "utf-32-le",
    "utf32le": "utf-32-le",
    "utf32be": "utf-32-be",
    "gbk": "gb18030",
    "gb2312": "gb18030",
    "gb18030": "gb18030",
    "cp936": "gb18030",
    "ms936": "gb18030",
    "windows936": "gb18030",
    "xgbk": "gb18030",
    "euccn": "gb18030",
    "big5": "big5hkscs",
    "big5hkscs": "big5hkscs",
    "cp950": "big5hkscs",
    "latin1": "iso8859-1",
    "shiftjis": "cp932",
    "sjis": "cp932",
    "xsjis": "cp932",
    "windows31j": "cp932",
    "ms932": "cp932",
    "cp932": "cp932",
    "eucjp": "euc-jp",
    "iso2022jp": "iso2022-jp",
    "euckr": "cp949",
    "ksc56011987": "cp949",
    "cp949": "cp949",
    "ms949": "cp949",
    "windows949": "cp949",
    "koi8r": "koi8-r",
    "koi8u": "koi8-u",
    "tis620": "tis-620",
    "windows874": "cp874",
    **{f"windows{number}": f"cp{number}" for number in range(1250, 1259)},
    **{f"cp{number}": f"cp{number}" for number in range(1250, 1259)},
    **{f"iso8859{part}": f"iso8859-{part}" for part in range(1, 17) if part != 12},
}


def text_of(body: bytes, content_type: str, *, whole: bool = True) -> tuple[str, str]:
    """The text, and what is to be said of how it was read: empty, where it is what the body says that it is.

    The charset is that of the byte order mark, of `content_type`, of the XML declaration, or UTF-8: the first that all of the
    body is written in. Where it is written in none of them, what cannot be read is U+FFFD. `whole` says that nothing was cut
    off its end. Never raises.
    """
    named, marked = _named(body, content_type)
    known = [known_as(name) for name in named]
    charsets = list(dict.fromkeys([*marked, *[charset for charset in known if charset is not None], DEFAULT]))
    for charset in charsets:
        try:
            text = _decoded(body, charset, "strict", whole)
        except UnicodeError:
            continue
        if None in known and charset == charsets[0]:
            return text, f"the charset that the body names is not known; it was read as {charset}"
        if charset != charsets[0]:
            return text, f"the body is not {charsets[0]}, as it should be; it was read as {charset}"
        return text, ""
    return _decoded(body, charsets[0], "replace", whole), f"bytes that are not {charsets[0]} were replaced"


def known_as(name: str) -> str | None:
    """The codec for the name of a charset; None where there is none."""
    return _KNOWN.get(name.lower().replace("-", "").replace("_", ""))


def _named(body: bytes, content_type: str) -> tuple[list[str], list[str]]:
    """Names of charsets that the body is said to have, and charsets that its beginning shows."""
    named = [found[1]] if (found := _CHARSET.search(content_type[:1_000])) else []
    if (declared := _DECLARED.match(body, 0, 400)) is not None:
        named.append(declared[1].decode("ascii"))
    for mark, charset in _BOMS:
        if body.startswith(mark):
            return named, [charset]
    # Text of two bytes a character without a mark: the first is one of those that JSON and XML begin with.
    if len(body) > 1 and not body[1] and body[0] in b'<{["':
        return named, ["utf-16-le"]
    if len(body) > 1 and not body[0] and body[1] in b'<{["':
        return named, ["utf-16-be"]
    return named, []


def _decoded(body: bytes, charset: str, errors: str, whole: bool) -> str:
    decoder = codecs.getincrementaldecoder(charset)(errors)
    return decoder.decode(body, final=whole).removeprefix("\ufeff")
