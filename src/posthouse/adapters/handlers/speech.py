"""What the server and a handlers' process say to each other, as JSON."""

from __future__ import annotations

from typing import Final

import msgspec

from posthouse.domain.calling import Call, CallFailed, Done


class Who(msgspec.Struct, frozen=True, tag="who"):
    """Which handlers are there?"""


class Asking(msgspec.Struct, frozen=True, tag="call"):
    call: Call


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """The modules were imported. `patterns`: of all handlers; `names`: theirs."""

    patterns: tuple[str, ...]
    names: tuple[str, ...]


class Broken(msgspec.Struct, frozen=True, tag="broken"):
    """The modules cannot be used, and why."""

    detail: str


class Called(msgspec.Struct, frozen=True, tag="done"):
    done: Done


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    failed: CallFailed


Request = Who | Asking
Reply = Loaded | Broken | Called | Failed

encode: Final = msgspec.json.Encoder().encode
decode_request: Final = msgspec.json.Decoder(Request).decode
decode_reply: Final = msgspec.json.Decoder(Reply).decode
