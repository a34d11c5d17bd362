"""When an endpoint's deliveries are to be tried again: may it be stored? Pure."""

from __future__ import annotations

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import DELAY_SECONDS_MAX, EXPONENTIAL_FACTOR_MAX, NAME_LENGTH_MAX, RETRY_TYPES_MAX
from posthouse.domain.retry import ATTEMPTS_MAX, Delays, RetrySettings
from posthouse.domain.routing import is_pattern
from posthouse.manage.flow_check import check_between, check_schedule


def check_retry(retry: RetrySettings) -> None:
    """Raises Invalid with the path of what is wrong."""
    if not 0 <= retry.jitter <= 1:
        raise Invalid("must be from 0 to 1: 0.1 moves a delay by up to a tenth", path="retry.jitter")
    _check_delays(retry, "retry")
    if len(retry.by_type) > RETRY_TYPES_MAX:
        raise Invalid(f"at most {RETRY_TYPES_MAX} patterns have a schedule of their own", path="retry.by_type")
    for pattern, delays in retry.by_type.items():
        path = f"retry.by_type.{pattern[:NAME_LENGTH_MAX].encode('unicode_escape').decode('ascii')}"
        if not is_pattern(pattern):
            raise Invalid("a pattern is an event type (order.created), a beginning (order.*), or * for all", path=path)
        if delays.schedule is None and delays.exponential is None:
            raise Invalid("say when these are tried again: a schedule or an exponential", path=path)
        _check_delays(delays, path)


def _check_delays(delays: Delays, path: str) -> None:
    if delays.schedule is not None and delays.exponential is not None:
        raise Invalid("give either a schedule or an exponential, not both", path=path)
    if delays.schedule is not None:
        check_schedule(delays.schedule, f"{path}.schedule")
    if delays.exponential is not None:
        curve, at = delays.exponential, f"{path}.exponential"
        check_between(curve.base, 0.0, DELAY_SECONDS_MAX, f"{at}.base", "seconds")
        check_between(curve.max, 0.0, DELAY_SECONDS_MAX, f"{at}.max", "seconds")
        if not 1 <= curve.factor <= EXPONENTIAL_FACTOR_MAX:
            raise Invalid(f"must be from 1 to {EXPONENTIAL_FACTOR_MAX:g}", path=f"{at}.factor")
        check_between(curve.attempts, 0, ATTEMPTS_MAX, f"{at}.attempts", "attempts")
