"""All signers of an endpoint, in the order in which they have their turn.

Whoever changes the body comes first, then who adds to the URL, then those who add headers, and HTTP Message Signatures last:
so that nothing is changed after it was signed, in whichever order they are written. For the same reason one signer at most
puts something into the body; several put something into the URL only where none of them signs it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final, assert_never

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import SIGNED_PARTS_MAX, SIGNERS_MAX
from posthouse.domain.signing import CustomSigner, HttpSigner, JwtSigner, Place, Placed, Signer, StandardSigner
from posthouse.wire.message import Step
from posthouse.wire.signing import custom, http, standard, token
from posthouse.wire.signing.keys import Keys, SignedBy
from posthouse.wire.signing.texts import Known
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES

_ALONE: Final = {Place.FIELD: "the body", Place.QUERY: "the URL"}
_HTTP_RANK: Final = 3
_RANKS: Final = {Place.FIELD: 0, Place.QUERY: 1, Place.HEADER: 2}


def compile_signers(
    config: Sequence[Signer],
    keys: Mapping[str, Sequence[str]],
    *,
    values: Collection[str] = EVENT_VALUES | REQUEST_VALUES,
    checked: bool = False,
    wrong: bool = False,
    signed_by: SignedBy | None = None,
    path: str = "signing",
) -> tuple[Step, ...]:
    """The signers that a configuration asks for. `keys` are the endpoint's, by name, each with its texts, newest first;
    `values` are the names that templates may use (`REQUEST_VALUES` alone where events come in batches); `checked` says that
    all this was compiled once before, so that private RSA keys are not examined again, which takes long; `wrong` asks
    for signatures that do not verify; `signed_by` is told what would be signed, and nothing is.

    Raises: Invalid with the path of the field: an unknown name, key or component, a key of the wrong type or size, a place
    that cannot be used or is taken.
    """
    if len(config) > SIGNERS_MAX:
        raise Invalid(f"there are more than {SIGNERS_MAX} signers", path=path)
    known = Known(values)
    steps = [
        _signer(
            signer,
            Keys(keys, checked=checked, wrong=wrong, told=None if signed_by is None else signed_by.at(i)),
            known,
            f"{path}[{i}]",
        )
        for i, signer in enumerate(config)
    ]
    _check_places(config, steps, path)
    order = sorted(range(len(steps)), key=lambda i: _rank(config[i]))
    return tuple(steps[i] for i in order)


def header_names(config: Sequence[Signer]) -> frozenset[str]:
    """The headers, in lower case, that these signers add; an endpoint's own must be others."""
    return frozenset(name.lower() for signer in config for place, name, _ in _spots(signer) if place is Place.HEADER)


def written_by(signer: Signer) -> tuple[tuple[Place, str], ...]:
    """Where a signer writes, and under which names."""
    return tuple([(place, name) for place, name, _ in _spots(signer)])


def _signer(signer: Signer, keys: Keys, known: Known, path: str) -> Step:
    match signer:
        case StandardSigner():
            return standard.StandardSigner(signer, keys, path=path)
        case CustomSigner():
            return custom.CustomSigner(signer, keys, known=known, path=path)
        case JwtSigner():
            return token.JwtSigner(signer, keys, known=known, path=path)
        case HttpSigner():
            return http.HttpSigner(signer, keys, path=path)
        case _:
            assert_never(signer)


def _rank(signer: Signer) -> int:
    if isinstance(signer, HttpSigner):
        return _HTTP_RANK
    return min(_RANKS[place] for place, _, _ in _spots(signer))


def _spots(signer: Signer) -> Iterator[tuple[Place, str, str]]:
    """What a signer writes: the place, the name there, and the field of the configuration that says so."""
    match signer:
        case StandardSigner():
            for name in standard.HEADERS:
                yield Place.HEADER, signer.prefix + name, "prefix"
        case CustomSigner():
            yield _spot(signer.signature, "signature")
            for i, placed in enumerate(signer.also):
                yield _spot(placed, f"also[{i}]")
        case JwtSigner():
            yield _spot(signer.token, "token")
        case HttpSigner():
            names = {http.SIGNATURE, http.SIGNATURE_INPUT}
            if http.CONTENT_DIGEST in signer.components:
                names.add(http.CONTENT_DIGEST)
            for name in sorted(names):
                yield Place.HEADER, name, "kind"
        case _:
            assert_never(signer)


def _spot(placed: Placed, field: str) -> tuple[Place, str, str]:
    return placed.place, placed.name, f"{field}.name"


def _signs_url(step: Step) -> bool:
    return not isinstance(step, custom.CustomSigner) or step.signs_url


def _check_places(config: Sequence[Signer], steps: Sequence[Step], path: str) -> None:
    taken: dict[tuple[Place, str], int] = {}
    writers: dict[Place, int] = {}
    labels: set[str] = set()
    for i, signer in enumerate(config):
        own: set[tuple[Place, str]] = set()
        for place, name, field in _spots(signer):
            spot = (place, name.lower() if place is Place.HEADER else name)
            shared = isinstance(signer, HttpSigner) and isinstance(config[taken.get(spot, i)], HttpSigner)
            if spot in own or (spot in taken and not shared):
                raise Invalid(f"the {place} {name} is written twice", path=f"{path}[{i}].{field}")
            own.add(spot)
            if place in _ALONE and (first := writers.setdefault(place, i)) != i:
                if place is Place.QUERY and not (_signs_url(steps[first]) or _signs_url(steps[i])):
                    continue
                raise Invalid(
                    f"two signers write into {_ALONE[place]}: one of them would sign what the other changes",
                    path=f"{path}[{i}].{field}",
                )
        taken |= dict.fromkeys(own, i)
        if isinstance(signer, CustomSigner) and len(signer.also) > SIGNED_PARTS_MAX:
            raise Invalid(f"more than {SIGNED_PARTS_MAX} values go along", path=f"{path}[{i}].also")
        if isinstance(signer, HttpSigner):
            if signer.label in labels:
                raise Invalid("two signatures have the same label", path=f"{path}[{i}].label")
            labels.add(signer.label)
