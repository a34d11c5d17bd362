"""What an attempt causes besides the delivery's own fate: its endpoint is disabled, the operators are told. Pure."""

from __future__ import annotations

from posthouse.domain.callback import Block, Decision, Disable, GiveUp
from posthouse.domain.circuit import Health
from posthouse.domain.delivery import Attempt, Effect, EffectKind, HealthTurn
from posthouse.domain.limits import RECOVERED_SECONDS_MIN
from posthouse.domain.operations import (
    News,
    circuit_closed,
    circuit_opened,
    delivery_exhausted,
    endpoint_disabled,
    endpoint_recovered,
    follow_ups,
)


def follow(
    attempt: Attempt,
    event_type: str,
    decision: Decision,
    before: Health,
    health: HealthTurn | None,
    now: float,
) -> tuple[Effect, ...]:
    """What else follows: the endpoint is disabled, the operators are told."""
    news = [] if health is None else _turned(attempt, before, health.health, now)
    effects: tuple[Effect, ...] = ()
    match decision:
        case Disable(reason=reason):
            news.append(endpoint_disabled(attempt.app_id, attempt.endpoint_id, reason=reason, at=now))
            effects = (
                Effect(
                    id=attempt.id,
                    partition=attempt.partition,
                    endpoint_id=attempt.endpoint_id,
                    kind=EffectKind.DISABLE_ENDPOINT,
                    reason=reason,
                ),
            )
        case GiveUp() | Block():
            news.append(delivery_exhausted(attempt, event_type, at=now))
        case _:
            pass
    return effects + follow_ups(attempt, news) if news else effects


def _turned(attempt: Attempt, before: Health, after: Health, now: float) -> list[News]:
    """What there is to tell of an endpoint's turn."""
    app_id, endpoint_id = attempt.app_id, attempt.endpoint_id
    news = []
    was, since = before.failing_since, before.opened_at
    if was is not None and after.failing_since is None and now - was >= RECOVERED_SECONDS_MIN:
        news.append(endpoint_recovered(app_id, endpoint_id, failing_since=was, at=now))
    if since is None and after.opened_at is not None:
        news.append(circuit_opened(app_id, endpoint_id, probe_at=after.probe_at or now, at=now))
    elif since is not None and after.opened_at is None:
        news.append(circuit_closed(app_id, endpoint_id, opened_at=since, at=now))
    return news
