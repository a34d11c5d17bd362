"""Why no signature fits: what can be told from a request that is refused anyway.

Nothing here lets a request in. It costs a few hashes more, for bodies of bounded size.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from posthouse_sdk.compression import MAGIC, encoding_of
from posthouse_sdk.errors import NoMatchingSignatureError, ReserialisedBodyError, WrongSecretKindError
from posthouse_sdk.signatures import V1, V1A, Key
from posthouse_sdk.webhook import RAW_BYTES, Headers

DIAGNOSED_BYTES_MAX: Final = 64 * 1024

_COMPACT: Final = (",", ":")
_SPACED: Final = (", ", ": ")
_ENVELOPE: Final = ("id", "type", "timestamp", "data")
_SIGNED_WITH: Final = {V1: "a shared secret (v1: whsec_…)", V1A: "an ed25519 key (v1a: whpk_…)"}


def why_none_matched(
    keys: Sequence[Key],
    prefix: bytes,
    body: bytes,
    signatures: Mapping[str, Sequence[bytes]],
    headers: Headers,
) -> NoMatchingSignatureError:
    """The error to raise: the most precise one that the request allows."""
    given = {key.version for key in keys}
    used = {version for version, found in signatures.items() if found}
    if not used:
        return NoMatchingSignatureError("no signature of the request is of a version known here: v1 or v1a")
    if not given & used:
        return WrongSecretKindError(
            f"the request is signed with {_named(used)}, and what is given here is {_named(given)}: "
            "take the endpoint's secret as it is now"
        )
    if encoding_of(headers) and not body.startswith(MAGIC):
        return NoMatchingSignatureError(
            "no signature fits, and the body is not gzip although its Content-Encoding says that it is compressed: something "
            f"unpacked it on its way here. The compressed bytes are what is signed; {RAW_BYTES}"
        )
    for spelling in _spellings(body):
        if any(key.verifies(prefix, spelling, signatures[key.version]) for key in keys):
            return ReserialisedBodyError(
                "the body was parsed and re-serialised: the signature fits another spelling of the same content. "
                f"The secret is right; {RAW_BYTES}"
            )
    return NoMatchingSignatureError(
        "no signature was made with a secret given here: either the secret is not this endpoint's, or the body is "
        f"not what was sent; {RAW_BYTES}, not a parsed and re-serialised copy"
    )


def _named(versions: set[str]) -> str:
    return " and ".join(_SIGNED_WITH[version] for version in sorted(versions))


def _spellings(body: bytes) -> Iterator[bytes]:
    """Other bytes that the sender may have written where these arrived here."""
    if not body or len(body) > DIAGNOSED_BYTES_MAX:
        return
    tried = {body}
    for spelling in _respelled(body):
        if spelling not in tried:
            tried.add(spelling)
            yield spelling


def _respelled(body: bytes) -> Iterator[bytes]:
    yield body.strip()
    yield body.removeprefix(b"\xef\xbb\xbf")
    yield body.replace(b"\r\n", b"\n")
    yield body.replace(b"\n", b"\r\n")
    try:
        parsed = json.loads(body)
        for value in (parsed, *_as_envelope(parsed)):
            for separators in (_COMPACT, _SPACED):
                for ascii_only in (False, True):
                    yield json.dumps(value, ensure_ascii=ascii_only, separators=separators).encode()
    except (ValueError, RecursionError):  # no JSON, or none that can be written again
        return


def _as_envelope(parsed: Any) -> Iterator[dict[str, Any]]:
    """The members in the order in which the standard envelope has them, where sorting has moved them."""
    if isinstance(parsed, dict):
        yield {name: parsed[name] for name in _ENVELOPE if name in parsed} | parsed
