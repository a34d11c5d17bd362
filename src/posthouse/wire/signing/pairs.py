"""`{pairs}`: names and values, sorted by name (then value, both by code point), as many platforms sign them.

    {"exclude": ["sign_type"], "pair": "{name}={value}", "separator": "&"}     a=1&b=2

Values are as they were before they were encoded for a form or a URL. The field or parameter that the signature itself goes
into never counts.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import SIGNED_PARTS_MAX
from posthouse.domain.signing import Pairs, PairSource, Place, Placed
from posthouse.wire.query import parameters
from posthouse.wire.signing.texts import Turn, bounded
from posthouse.wire.template import Template

_KNOWN: Final = frozenset({"name", "value"})
_PLACES: Final = {PairSource.BODY: Place.FIELD, PairSource.QUERY: Place.QUERY}


def compile_pairs(config: Pairs, signature: Placed, *, path: str) -> Callable[[Turn], str]:
    """What writes the pairs in a signer's turn. Raises: Invalid for a pair without its value."""
    for name in config.exclude:
        bounded(name, f"{path}.exclude")
    template = Template(bounded(config.pair, f"{path}.pair"), known=_KNOWN, path=f"{path}.pair")
    bounded(config.separator, f"{path}.separator")
    if len(config.exclude) > SIGNED_PARTS_MAX:
        raise Invalid(f"more than {SIGNED_PARTS_MAX} names are left out", path=f"{path}.exclude")
    if "value" not in template.names:
        raise Invalid("a pair is written with its {value}, else anything could stand there", path=f"{path}.pair")
    excluded = set(config.exclude)
    if signature.place is _PLACES[config.source]:
        excluded.add(signature.name)

    def written(turn: Turn) -> str:
        pairs = turn.fields if config.source is PairSource.BODY else parameters(turn.message)
        counted = sorted((name, value) for name, value in pairs if name not in excluded and (value or config.blank))
        return config.separator.join([template.fill({"name": name, "value": value}) for name, value in counted])

    return written
