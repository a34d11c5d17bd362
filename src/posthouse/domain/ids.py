"""Identifiers: a prefix and a UUIDv7 in lower-case Crockford base32, such as `evt_06b1v8k3m5x…`.

Inside the engine an id is its 16 raw bytes: a tenth of the cost of a string, the form PostgreSQL stores, and it sorts by
time. At the edges (API, CLI, headers, logs) it is text. UUIDv7: RFC 9562, section 5.7.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NewType

EventId = NewType("EventId", bytes)
AppId = NewType("AppId", bytes)
EndpointId = NewType("EndpointId", bytes)
AttemptId = NewType("AttemptId", bytes)
GrantId = NewType("GrantId", bytes)
JobId = NewType("JobId", bytes)
ScheduleId = NewType("ScheduleId", bytes)
RefusalId = NewType("RefusalId", bytes)
TriggerId = NewType("TriggerId", bytes)

APP: Final = "app"
ATTEMPT: Final = "att"
EFFECT: Final = "eff"
ENDPOINT: Final = "ep"
EVENT: Final = "evt"
GRANT: Final = "grant"
KEY: Final = "key"
PROCESS: Final = "proc"
REFUSAL: Final = "ref"
REPLAY: Final = "rpl"
REQUEST: Final = "req"
SCHEDULE: Final = "sch"
SESSION: Final = "ses"
TRIGGER: Final = "trg"

ID_BYTES: Final = 16
TEXT_LENGTH: Final = 26

_DAY_MS: Final = 86_400_000
_ORDINAL_BYTES: Final = 2
_UNWRITTEN_MS_MAX: Final = 60_000

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
_PAIRS: Final = [a + b for a in _ALPHABET for b in _ALPHABET]
_TRIPLES: Final = [pair + c for pair in _PAIRS for c in _ALPHABET]
# Crockford reads i and l as 1, and o as 0: people type ids from screens.
_VALUES: Final = {c: i for i, c in enumerate(_ALPHABET)} | {"i": 1, "l": 1, "o": 0}


def uuid7(unix_ms: int, random_bits: int) -> bytes:
    """Build a UUIDv7 from a time and 74 random bits (RFC 9562, section 5.7)."""
    rand_a = (random_bits >> 62) & 0xFFF
    rand_b = random_bits & 0x3FFF_FFFF_FFFF_FFFF
    return ((unix_ms << 80) | (0x7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b).to_bytes(ID_BYTES, "big")


def unix_ms_of(raw: bytes) -> int:
    """The time inside an id, in milliseconds since the epoch."""
    return int.from_bytes(raw[:6], "big")


def lower_bound(unix_ms: int) -> bytes:
    """The smallest id of a millisecond: where a scan that needs nothing older may begin."""
    return max(unix_ms, 0).to_bytes(6, "big") + bytes(10)


def next_id(raw: bytes) -> bytes:
    """The id right after this one."""
    return (int.from_bytes(raw, "big") + 1).to_bytes(ID_BYTES, "big")


def id_beside(newest: bytes | None, made: bytes) -> bytes:
    """The id for something that is written beside an owner who gives ids in order, and may have given some already that
    are not yet written: right after the newest that is. Where that is from another day, `made` a minute earlier.
    """
    made_ms = unix_ms_of(made)
    if newest is not None and unix_ms_of(newest) > made_ms - _DAY_MS:
        return next_id(newest)
    return (made_ms - _UNWRITTEN_MS_MAX).to_bytes(6, "big") + made[6:]


def effect_id(attempt: bytes, ordinal: int) -> bytes:
    """The id of an attempt's follow-up: one for each ordinal, the same whenever it is asked for; the first is the attempt's
    own."""
    return attempt if ordinal == 0 else attempt[:8] + (int.from_bytes(attempt[8:], "big") ^ ordinal).to_bytes(8, "big")


def origin_of(effect: bytes) -> bytes:
    """The same for an attempt and for its follow-ups: two attempts of one process share it about never."""
    return effect[: ID_BYTES - _ORDINAL_BYTES]


@lru_cache(maxsize=4_096)  # that of an event is wanted for its publisher, and soon after for each of its targets
def format_id(prefix: str, raw: bytes) -> str:
    """The text form: `evt_` and 26 characters; sorts as the bytes do. Made without a loop: two characters, and eight times
    three."""
    n = int.from_bytes(raw, "big") << 2  # 128 bits and two zero bits: 26 characters of five
    t = _TRIPLES
    return (
        f"{prefix}_{_PAIRS[n >> 120]}{t[n >> 105 & 32767]}{t[n >> 90 & 32767]}{t[n >> 75 & 32767]}{t[n >> 60 & 32767]}"
        f"{t[n >> 45 & 32767]}{t[n >> 30 & 32767]}{t[n >> 15 & 32767]}{t[n & 32767]}"
    )


def parse_id(prefix: str, text: str) -> bytes | None:
    """The 16 bytes of a text id; None where it is not an id of this prefix."""
    head, _, body = text.partition("_")
    if head != prefix or len(body) != TEXT_LENGTH:
        return None
    number = 0
    for character in body.lower():
        value = _VALUES.get(character)
        if value is None:
            return None
        number = number << 5 | value
    if number & 3:
        return None
    return (number >> 2).to_bytes(ID_BYTES, "big")
