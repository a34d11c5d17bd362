"""What an app may use of the platform, and whether one more is within it. Pure."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from posthouse.domain.errors import Invalid, QuotaExceeded
from posthouse.domain.limits import ENDPOINTS_PER_APP_MAX, QUOTA_PUBLISH_PER_SECOND_MAX, QUOTA_STORED_BYTES_MAX

RATE: Final = "quota_publish_rate"
ENDPOINTS: Final = "quota_endpoints"
STORED: Final = "quota_stored_bytes"

_ALMOST: Final = 1e-6  # of an event: what rounding may have taken from it


class Quotas(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an app may use; None: no bound of its own.

    `publish_per_second` counts events, not requests, and holds in each process by itself. `stored_bytes_max` counts the
    payloads of its events that retention has not dropped yet.
    """

    publish_per_second: float | None = None
    endpoints_max: int | None = None
    stored_bytes_max: int | None = None


UNLIMITED: Final = Quotas()


def check_quotas(quotas: Quotas) -> None:
    """Raises Invalid with the path of the field that is wrong."""
    rate = quotas.publish_per_second
    if rate is not None and not (0 < rate <= QUOTA_PUBLISH_PER_SECOND_MAX and math.isfinite(rate)):
        raise Invalid(
            f"must be more than 0 and at most {QUOTA_PUBLISH_PER_SECOND_MAX:g} events a second; null is no limit",
            path="quotas.publish_per_second",
        )
    _up_to(quotas.endpoints_max, ENDPOINTS_PER_APP_MAX, "quotas.endpoints_max", "endpoints")
    _up_to(quotas.stored_bytes_max, QUOTA_STORED_BYTES_MAX, "quotas.stored_bytes_max", "bytes")


def check_endpoints(quotas: Quotas, there: int) -> None:
    """May an app that has `there` endpoints have one more? Raises QuotaExceeded."""
    most = quotas.endpoints_max
    if most is not None and there >= most:
        raise QuotaExceeded(
            f"the app's quota is {most} endpoints, and it has {there}; delete one, or have the quota raised",
            code=ENDPOINTS,
            limit=most,
        )


def check_stored(quotas: Quotas, stored: int, size: int) -> None:
    """May an app whose events hold `stored` bytes store `size` more? Raises QuotaExceeded."""
    most = quotas.stored_bytes_max
    if most is not None and stored + size > most:
        raise QuotaExceeded(
            f"the app's quota is {most} bytes of stored events; it has about {stored}, and this would add {size}. Wait "
            "until retention drops some, or have the quota raised",
            code=STORED,
            limit=most,
        )


class Bucket:
    """Events that an app may publish now: filled at its rate, up to what a second brings and at least one.

    Whoever finds a whole event's worth in it is admitted, with all that he brings: a batch larger than a second's worth is
    possible, and paid for by those after it, who wait until the debt is gone. Over any time in which it was never full,
    what was admitted is the rate.
    """

    __slots__ = ("_at", "_level", "_per_second")

    def __init__(self, per_second: float, *, now: float) -> None:
        self._per_second = per_second
        self._level = max(per_second, 1.0)
        self._at = now

    def take(self, events: int, *, per_second: float, now: float) -> None:
        """Raises QuotaExceeded, with the seconds after which one event finds room. `now` is in seconds, and never falls.

        A rate that is another one than before counts from now on.
        """
        self._level += (now - self._at) * self._per_second
        self._at = now
        self._per_second = per_second
        self._level = min(self._level, max(per_second, 1.0))
        if self._level < 1.0 - _ALMOST:
            ahead = 1.0 - self._level
            wait = max(math.ceil(ahead / per_second - _ALMOST), 1)
            raise QuotaExceeded(
                f"the app's quota is {per_second:g} events a second, and it is {math.ceil(ahead)} ahead of that; try again "
                f"in {wait} s",
                code=RATE,
                limit=per_second,
                retry_after=wait,
            )
        self._level -= events


def _up_to(value: int | None, most: int, path: str, unit: str) -> None:
    if value is not None and not 0 <= value <= most:
        raise Invalid(f"must be from 0 to {most} {unit}; null is no limit of the app's own", path=path)
