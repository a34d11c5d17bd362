"""Which of an endpoint's URLs an event is sent to, and which ones after it where that does not answer. Pure.

URLs have indexes: 0 is the endpoint's own, then come its equal URLs, then its fallbacks, as `urls_of` lists them. An order
begins with all that are equal, by chance or by key, and ends with the fallbacks as they were configured.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Final

from posthouse.domain.endpoint import Balance, Endpoint, EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.limits import EQUAL_URLS_MAX, FALLBACK_URLS_MAX

OWN_WEIGHT: Final = 1

_ONE: Final = (0,)
_AS_LISTED: Final = tuple(tuple(range(count)) for count in range(EQUAL_URLS_MAX + FALLBACK_URLS_MAX + 2))
_HASH_BITS: Final = 64


def urls_of(endpoint: Endpoint | EndpointConfig) -> tuple[str, ...]:
    """All URLs of an endpoint, by index."""
    return (endpoint.url, *(equal.url for equal in endpoint.equal_urls), *endpoint.fallback_urls)


def order_of(endpoint: Endpoint, event: Event, draw: float) -> tuple[int, ...]:
    """The indexes of all URLs, each once, in the order in which they should be tried for an event.

    `draw` is uniform in [0, 1), and decides where the URLs are chosen by chance. Sticky, an event's key decides (else its
    subject, else its id): the same one gives the same order for as long as the URLs are the same, and one that leaves moves
    only what was its own (weighted rendezvous hashing).
    """
    if not endpoint.equal_urls:
        return _AS_LISTED[1 + len(endpoint.fallback_urls)] if endpoint.fallback_urls else _ONE
    if endpoint.balance is Balance.STICKY:
        equal = _sticky(endpoint, event)
    else:
        equal = _weighted((OWN_WEIGHT, *(each.weight for each in endpoint.equal_urls)), draw)
    first = 1 + len(endpoint.equal_urls)
    return (*equal, *range(first, first + len(endpoint.fallback_urls)))


def _weighted(weights: tuple[int, ...], draw: float) -> list[int]:
    """All indexes: each place goes to one of those left, with a chance as its weight says. One draw is enough for all, for
    what is left of it within the part that it fell into is uniform again."""
    left = list(range(len(weights)))
    total = sum(weights)
    order = []
    while len(left) > 1:
        point = draw * total
        for index in left[:-1]:
            if point < weights[index]:
                break
            point -= weights[index]
        else:
            index = left[-1]
        draw = min(max(point / weights[index], 0.0), 1.0)
        total -= weights[index]
        left.remove(index)
        order.append(index)
    return order + left


def _sticky(endpoint: Endpoint, event: Event) -> list[int]:
    """All indexes by their scores for this key: an exponential race, whose winner is each with a chance as its weight says."""
    who = event.key or event.subject
    key = event.id if who is None else who.encode("utf-8", "surrogatepass")
    scores = [_score(key, endpoint.url, OWN_WEIGHT)]
    scores += [_score(key, equal.url, equal.weight) for equal in endpoint.equal_urls]
    return sorted(range(len(scores)), key=scores.__getitem__)


def _score(key: bytes, url: str, weight: int) -> float:
    # Of the URL and not of its index: those after one that leaves stay what they were.
    digest = blake2b(url.encode("utf-8", "surrogatepass"), digest_size=_HASH_BITS // 8, key=key[:64])
    digest.update(key[64:])
    uniform = (int.from_bytes(digest.digest(), "big") + 1) / (2**_HASH_BITS + 1)
    return -math.log(uniform) / weight
