"""What is wrong with a configuration is told with its place, and with what may stand there."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.domain.configuration import read
from posthouse.domain.encryption import Encryption
from posthouse.domain.errors import Invalid
from posthouse.domain.reaction import AnyRule
from posthouse.domain.signing import Signer

EFFECTS = "throttle, emit, forward, set, notify, call"


@pytest.mark.parametrize(
    ("value", "type", "path", "text"),
    [
        (
            [{"then": "explode"}],
            tuple[AnyRule, ...],
            "x[0].then",
            f"invalid value 'explode'; it is one of: confirm, retry, give_up, disable, {EFFECTS}",
        ),
        (
            [{"then": "confirm", "also": [{"then": "retry"}]}],
            tuple[AnyRule, ...],
            "x[0].also[0].then",
            f"invalid value 'retry'; it is one of: {EFFECTS}",
        ),
        ({"kind": "pgp"}, Encryption, "x.kind", "invalid value 'pgp'; it is one of: jwe, envelope, hybrid"),
        (
            [{"kind": "jwt", "algorithm": "none", "key": "k"}],
            tuple[Signer, ...],
            "x[0].algorithm",
            "invalid enum value 'none'; it is one of: HS256, RS256, ES256, EdDSA",
        ),
        ([{"then": "retry", "after": "soon"}], tuple[AnyRule, ...], "x[0].after", "expected float | null, got str"),
        ([{"then": "emit", "typ": "a"}], tuple[AnyRule, ...], "x[0].typ", "object contains unknown field typ"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_and_what_may_stand_there(
    value: Any, type: Any, path: str, text: str
) -> None:
    with pytest.raises(Invalid) as wrong:
        read(value, type, "x")
    assert (wrong.value.path, str(wrong.value)) == (path, text)
