"""Whether an answer is what a step of a handshake expects, from whatever bytes the target sent. Pure.

What is read of a body is bounded as for `wire/answers.py`, and what is compared is compared in constant time.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from posthouse.domain.encryption import Encryption, Envelope
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Answer
from posthouse.domain.handshake import Expect
from posthouse.domain.limits import HANDSHAKE_EXPECTED_MAX, NAME_LENGTH_MAX
from posthouse.domain.verification import Reason
from posthouse.wire.answers import body_text, header_text, read_answer
from posthouse.wire.challenges import Names
from posthouse.wire.encryption.answers import Opener
from posthouse.wire.headers import is_token
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.pointers import index_of, pointer_of

OK: Final = ("2xx",)
REFUSED: Final = ("4xx",)

_CLASS: Final = re.compile(r"[1-5]xx")
_NOTHING: Final = object()

Judge = Callable[[Answer], Reason | None]


def compile_expect(
    expect: Expect,
    names: Names,
    *,
    encryption: Encryption | None,
    keys: Mapping[str, Sequence[str]],
    status: Sequence[int | str],
    path: str,
) -> Judge:
    """What judges answers: None where one is right. `status` is what is right where the step does not say.

    Raises: Invalid, whose path begins with `path`.
    """
    statuses = tuple(expect.status) or tuple(status)
    _check_statuses(expect.status, f"{path}.status")
    for name, there in (("headers", expect.headers), ("json", expect.json)):
        if len(there) > HANDSHAKE_EXPECTED_MAX:
            raise Invalid(f"there are more than {HANDSHAKE_EXPECTED_MAX}", path=f"{path}.{name}")
    headers = [_header(name, text, names, f"{path}.headers") for name, text in expect.headers.items()]
    values = [
        (_pointer(pointer, f"{path}.json"), names.data(value, f"{path}.json.{pointer[:NAME_LENGTH_MAX]}"))
        for pointer, value in expect.json.items()
    ]
    text = None if expect.text is None else names.of(expect.text, f"{path}.text").strip()
    opener = _opener(expect, encryption, keys, f"{path}.decrypt")
    ways = _ways(expect, names, encryption=encryption, keys=keys, status=statuses, path=f"{path}.any")

    def judge(answer: Answer) -> Reason | None:
        if not any(_is(answer.status, wanted) for wanted in statuses):
            return Reason.WRONG_STATUS
        if not all(_same(_header_of(answer, name), wanted) for name, wanted in headers):
            return Reason.WRONG_ANSWER
        if opener is not None:
            opened = opener(answer)
            if not isinstance(opened, Answer) or opened.sealed:
                return Reason.WRONG_ANSWER
            answer = opened
        if text is not None:
            found, whole = body_text(answer)
            if not whole or not _same(found.strip(), text):
                return Reason.WRONG_ANSWER
        if values:
            body = read_answer(answer, ["body"]).facts["body"]
            if not all(_same(_at(body, pointer), wanted) for pointer, wanted in values):
                return Reason.WRONG_ANSWER
        reasons = [way(answer) for way in ways]
        return None if not reasons or None in reasons else reasons[0]

    return judge


def _ways(
    expect: Expect,
    names: Names,
    *,
    encryption: Encryption | None,
    keys: Mapping[str, Sequence[str]],
    status: Sequence[int | str],
    path: str,
) -> list[Judge]:
    if len(expect.any) > HANDSHAKE_EXPECTED_MAX:
        raise Invalid(f"there are more than {HANDSHAKE_EXPECTED_MAX}", path=path)
    for index, way in enumerate(expect.any):
        if way.any:
            raise Invalid("one of several ways has no ways of its own", path=f"{path}[{index}].any")
    return [
        compile_expect(way, names, encryption=encryption, keys=keys, status=status, path=f"{path}[{index}]")
        for index, way in enumerate(expect.any)
    ]


def _check_statuses(statuses: Sequence[int | str], path: str) -> None:
    if len(statuses) > HANDSHAKE_EXPECTED_MAX:
        raise Invalid(f"there are more than {HANDSHAKE_EXPECTED_MAX}", path=path)
    for place, status in enumerate(statuses):
        known = 100 <= status <= 599 if isinstance(status, int) else _CLASS.fullmatch(status)
        if not known:
            raise Invalid(
                "a status is a number from 100 to 599, or a class of them such as 2xx", path=f"{path}[{place}]"
            )


def _is(status: int, wanted: int | str) -> bool:
    return status == wanted if isinstance(wanted, int) else status // 100 == int(wanted[0])


def _header(name: str, text: str, names: Names, path: str) -> tuple[bytes, str]:
    if not is_token(name) or len(name) > NAME_LENGTH_MAX:
        raise Invalid("this is no name of a header", path=path)
    return name.lower().encode("ascii"), names.of(text, f"{path}.{name}").strip()


def _pointer(text: str, path: str) -> tuple[str, ...]:
    try:
        return pointer_of(text, path)
    except SettingError:
        raise Invalid(
            "what is expected is named by JSON pointers into the body: /challenge, with ~0 for ~ and ~1 for /",
            path=f"{path}.{text[:NAME_LENGTH_MAX]}",
        ) from None


def _opener(
    expect: Expect, encryption: Encryption | None, keys: Mapping[str, Sequence[str]], path: str
) -> Opener | None:
    if not expect.decrypt:
        return None
    if not expect.json and expect.text is None:
        raise Invalid("nothing is expected of the body that is opened: say what, as json or text", path=path)
    if encryption is None or not keys.get(encryption.key):
        raise Invalid("the endpoint has no encryption to open an answer with", path=path)
    try:
        if isinstance(encryption, Envelope):
            return Opener(encryption, keys, required=True)
    except Invalid:
        pass
    raise Invalid(
        "the answer cannot be opened with the endpoint's encryption: that takes a key that both sides have",
        path=path,
    )


def _header_of(answer: Answer, name: bytes) -> object:
    found = answer.header(name)
    return _NOTHING if found is None else header_text(found).strip()


def _at(value: Any, pointer: Sequence[str]) -> Any:
    for name in pointer:
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and (index := index_of(name, len(value))) is not None:
            value = value[index]
        else:
            return _NOTHING
    return value


def _same(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return isinstance(found, str) and hmac.compare_digest(
            found.encode("utf-8", "surrogatepass"), wanted.encode("utf-8", "surrogatepass")
        )
    if isinstance(wanted, dict):
        return (
            isinstance(found, dict)
            and found.keys() == wanted.keys()
            and all(_same(found[name], each) for name, each in wanted.items())
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(_same(one, other) for one, other in zip(found, wanted, strict=True))
        )
    if wanted is None or isinstance(wanted, bool) or isinstance(found, bool):
        return found is wanted
    return isinstance(found, int | float) and found == wanted
