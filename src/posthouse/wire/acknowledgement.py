"""Whether a target's answer confirms a delivery, by the endpoint's acknowledgement rule (`ack`). Pure.

A rule is met in one way or in several: each of `any` is a way of its own. An answer confirms where all that is said on one of
these ways holds; where nothing on it says which status, that must be 2xx. So `{"text": "ok"}` wants a 2xx,
`{"status": [202, 500], "text": "ok"}` does not, and `{"any": [{"status": [409]}, {"text": "ok"}]}` wants a 409, or a 2xx with
that text.

Redirects and 410 confirm only where a status names them: a redirect by its number or `3xx`, 410 by its number. What has no
answer is not judged at all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

import msgspec

from posthouse.domain.acknowledgement import Ack, HeaderRule
from posthouse.domain.callback import GONE_STATUS
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Answer
from posthouse.domain.expression import Failed, Outcome
from posthouse.domain.limits import (
    ACK_DEPTH_MAX,
    ACK_RULES_MAX,
    ACK_STATUSES_MAX,
    ANSWER_AT_ONCE_BYTES_MAX,
    NAME_LENGTH_MAX,
    RESPONSE_READ_BYTES_MAX,
    TEXT_LENGTH_MAX,
)
from posthouse.wire.answers import body_text, header_text, read_answer
from posthouse.wire.headers import is_token

ANY_STATUS: Final = "*"

_CLASS: Final = re.compile(r"[2-5]xx")
_PART: Final = re.compile(r"\bresponse\s*(?:\.\s*|\[\s*['\"])(body|xml|text)\b")


class Acknowledged(msgspec.Struct, frozen=True, gc=False):
    """`undecided`: it does not confirm because an expression has no value; had that been true, it would. `words` say which
    parts do not hold: for a person, and without anything of the answer."""

    confirmed: bool
    undecided: bool = False
    words: str = ""


_CONFIRMED: Final = Acknowledged(True)


def judge_ack(ack: Ack, answer: Answer, outcomes: Mapping[str, Outcome]) -> Acknowledged:
    """Whether this answer confirms. `outcomes` has what each `when` came to, by its path (`ack.any[0].when`). An expression
    without a value is one that does not hold."""
    case = _Case(answer, outcomes)
    if case.confirms(ack):
        return _CONFIRMED
    words = "; ".join(dict.fromkeys(case.words))
    undecided = case.has_failed and _Case(answer, outcomes, failed_is=True).confirms(ack)
    return Acknowledged(False, undecided, words)


class _Case:
    """An answer before a rule. `words` collects what does not hold."""

    def __init__(self, answer: Answer, outcomes: Mapping[str, Outcome], *, failed_is: bool = False) -> None:
        self._answer = answer
        self._outcomes = outcomes
        self._failed_is = failed_is
        self._body: tuple[str, bool] | None = None
        self.words: list[str] = []
        self.has_failed = False

    def confirms(self, ack: Ack) -> bool:
        naming, silent = self._ways(ack, "ack")
        if silent and not naming and not 200 <= self._answer.status < 300:
            self.words.insert(0, "the status is not 2xx")
            return False
        return naming or silent

    def _ways(self, ack: Ack, path: str) -> tuple[bool, bool]:
        """Whether it holds in a way that says which status, and in one that does not."""
        naming, silent = (True, False) if ack.status else (False, True)
        if not self._own_hold(ack, path):
            naming = silent = False
        for index, each in enumerate(ack.all):
            n, s = self._ways(each, f"{path}.all[{index}]")
            naming, silent = (naming and (n or s)) or (silent and n), silent and s
        if ack.any:
            ways = [self._ways(each, f"{path}.any[{index}]") for index, each in enumerate(ack.any)]
            n, s = any(n for n, _ in ways), any(s for _, s in ways)
            naming, silent = (naming and (n or s)) or (silent and n), silent and s
        return naming, silent

    def _own_hold(self, ack: Ack, path: str) -> bool:
        """Whether what the rule itself says holds. All of it is looked at, for the words."""
        before = len(self.words)
        if ack.status and not _names(ack.status, self._answer.status):
            self.words.append(f"{path}.status does not name {self._answer.status}")
        if ack.header is not None:
            self._look_at_header(ack.header, path)
        if ack.text is not None:
            self._look_at_text(ack.text, path, ignore_case=ack.ignore_case)
        holds = len(self.words) == before
        if ack.when:
            holds = self._when(ack.when, f"{path}.when") and holds
        return holds

    def _look_at_header(self, rule: HeaderRule, path: str) -> None:
        name = rule.name.lower().encode("latin-1")
        values = [value for key, value in self._answer.headers if key == name]
        if not values:
            self.words.append(f"{path}.header: there is no {rule.name}")
        elif rule.equals is not None:
            wanted = rule.equals.strip().casefold()
            if all(header_text(value).strip().casefold() != wanted for value in values):
                self.words.append(f"{path}.header: {rule.name} has another value")

    def _look_at_text(self, text: str, path: str, *, ignore_case: bool) -> None:
        if self._body is None:
            self._body = body_text(self._answer)
        body, whole = self._body
        if not whole:
            self.words.append(f"{path}.text: only the first {RESPONSE_READ_BYTES_MAX} bytes of the body are read")
            return
        body, text = body.strip(), text.strip()
        if body != text and not (ignore_case and body.casefold() == text.casefold()):
            self.words.append(f"{path}.text is not the body")

    def _when(self, text: str, path: str) -> bool:
        outcome = self._outcomes[path]
        if isinstance(outcome, Failed):
            self.has_failed = True
            self.words.append(f"{path} has no value: {outcome.detail}{self._unreadable(text)}")
            return self._failed_is
        if outcome.value is True:
            return True
        self.words.append(f"{path} is false{self._unreadable(text)}")
        return False

    def _unreadable(self, text: str) -> str:
        """Why the expression could not see what it looks at, where that is so."""
        parts = set(_PART.findall(text))
        if (
            self._failed_is
            or not parts
            or (len(self._answer.body) > ANSWER_AT_ONCE_BYTES_MAX and not self._answer.truncated)
        ):
            return ""
        reasons = dict.fromkeys(read_answer(self._answer, parts).unreadable.values())
        return f" ({', '.join(reasons)})" if reasons else ""


def _names(statuses: tuple[int | str, ...], status: int) -> bool:
    if status in statuses:
        return True
    if status == GONE_STATUS:
        return False
    return f"{status // 100}xx" in statuses or (ANY_STATUS in statuses and not 300 <= status < 400)


# Checked as it is written


def check_ack(ack: Ack, path: str = "ack") -> None:
    """Whether a rule may be stored, but for its expressions. Raises Invalid with the path of what is wrong."""
    count = _check(ack, path, 1)
    if count > ACK_RULES_MAX:
        raise Invalid(
            f"an acknowledgement rule has at most {ACK_RULES_MAX} parts, with those inside any and all", path=path
        )


def _check(ack: Ack, path: str, depth: int) -> int:
    """How many rules it is made of."""
    if depth > ACK_DEPTH_MAX:
        raise Invalid(f"any and all are nested at most {ACK_DEPTH_MAX} deep", path=path)
    if ack == Ack(ignore_case=ack.ignore_case):
        raise Invalid("a rule says something: status, header, text, when, any or all; null is any 2xx", path=path)
    if len(ack.status) > ACK_STATUSES_MAX:
        raise Invalid(f"at most {ACK_STATUSES_MAX} statuses", path=f"{path}.status")
    for index, status in enumerate(ack.status):
        _check_status(status, f"{path}.status[{index}]")
    if ack.header is not None:
        if not is_token(ack.header.name) or len(ack.header.name) > NAME_LENGTH_MAX:
            raise Invalid("this is not the name of a header", path=f"{path}.header.name")
        _check_text(ack.header.equals, f"{path}.header.equals")
    _check_text(ack.text, f"{path}.text")
    if ack.ignore_case and ack.text is None:
        raise Invalid("it belongs to text, which is not there", path=f"{path}.ignore_case")
    count = 1
    for name, several in (("any", ack.any), ("all", ack.all)):
        for index, each in enumerate(several):
            count += _check(each, f"{path}.{name}[{index}]", depth + 1)
    return count


def _check_status(status: int | str, path: str) -> None:
    known = (
        200 <= status <= 599
        if isinstance(status, int)
        else status == ANY_STATUS or _CLASS.fullmatch(status) is not None
    )
    if not known:
        raise Invalid("a status is a number from 200 to 599, a class from 2xx to 5xx, or *", path=path)


def _check_text(text: str | None, path: str) -> None:
    if text is not None and len(text) > TEXT_LENGTH_MAX:
        raise Invalid(f"at most {TEXT_LENGTH_MAX} characters", path=path)
