"""What an endpoint may say of what its answers make happen. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.domain.limits import (
    DELAY_SECONDS_MAX,
    NAME_LENGTH_MAX,
    RATE_PER_SECOND_MAX,
    RESPONSE_RULES_MAX,
    RULE_EFFECTS_MAX,
    RULE_METADATA_MAX,
)
from posthouse.domain.reaction import AnyRule, EmitRule, ForwardRule, RetryRule, SetRule, ThrottleRule
from posthouse.intake.parse import check_type
from posthouse.manage.flow_check import check_between, check_schedule
from posthouse.wire.target import parse_target


def check_reactions(rules: Sequence[AnyRule], *, path: str = "on_response") -> None:
    """Raises Invalid with the path of what is wrong. Expressions are judged elsewhere."""
    if len(rules) > RESPONSE_RULES_MAX:
        raise Invalid(f"an endpoint has at most {RESPONSE_RULES_MAX} response rules", path=path)
    for index, rule in enumerate(rules):
        _check(rule, f"{path}[{index}]")
        if len(rule.also) > RULE_EFFECTS_MAX:
            raise Invalid(f"a rule has at most {RULE_EFFECTS_MAX} of these", path=f"{path}[{index}].also")
        for place, effect in enumerate(rule.also):
            at = f"{path}[{index}].also[{place}]"
            if effect.when:
                raise Invalid("what a rule does also, it does whenever it does the rest", path=f"{at}.when")
            if effect.also:
                raise Invalid("what a rule does also has no more of its own", path=f"{at}.also")
            _check(effect, at)


def forward_targets(rules: Sequence[AnyRule], *, path: str = "on_response") -> Iterator[tuple[str, str, Target]]:
    """The URLs that answers are forwarded to, taken apart, each with its path. Raises Invalid."""
    for index, rule in enumerate(rules):
        places = [(f"{path}[{index}]", rule)]
        places += [(f"{path}[{index}].also[{place}]", effect) for place, effect in enumerate(rule.also)]
        for at, each in places:
            if isinstance(each, ForwardRule) and each.url:
                yield f"{at}.url", each.url, parse_target(each.url, path=f"{at}.url")


def _check(rule: AnyRule, at: str) -> None:
    match rule:
        case RetryRule():
            _check_retry(rule, at)
        case ThrottleRule():
            rate = rule.per_second
            if not 0 < rate <= RATE_PER_SECOND_MAX or rate * DELAY_SECONDS_MAX < 1:
                raise Invalid(
                    f"must be more than 0 and at most {RATE_PER_SECOND_MAX} requests a second, and no less than one in "
                    f"{DELAY_SECONDS_MAX:.0f} seconds",
                    path=f"{at}.per_second",
                )
            check_between(rule.seconds, 0.0, DELAY_SECONDS_MAX, f"{at}.seconds", "seconds")
        case EmitRule():
            check_type(rule.type, path=f"{at}.type")
        case ForwardRule():
            check_type(rule.type, path=f"{at}.type")
            if bool(rule.endpoint) == bool(rule.url):
                raise Invalid("forward needs an endpoint or a url: one of the two", path=at)
            if len(rule.endpoint) > NAME_LENGTH_MAX or "\0" in rule.endpoint:
                raise Invalid("this is neither the uid nor the id of an endpoint", path=f"{at}.endpoint")
        case SetRule():
            if not 1 <= len(rule.metadata) <= RULE_METADATA_MAX:
                raise Invalid(f"sets 1 to {RULE_METADATA_MAX} names", path=f"{at}.metadata")
            for name, text in rule.metadata.items():
                if not 0 < len(name) <= NAME_LENGTH_MAX or "\0" in name:
                    raise Invalid(f"a name has 1 to {NAME_LENGTH_MAX} characters", path=f"{at}.metadata")
                if not text:
                    raise Invalid("a value is an expression; null takes the name away", path=f"{at}.metadata.{name}")
        case _:
            pass


def _check_retry(rule: RetryRule, at: str) -> None:
    if rule.after is not None and rule.schedule is not None:
        raise Invalid("give either after or a schedule, not both", path=at)
    if rule.after is not None and not 0 <= rule.after <= DELAY_SECONDS_MAX:
        raise Invalid(f"must be at least 0 and at most {DELAY_SECONDS_MAX:g} seconds", path=f"{at}.after")
    if rule.schedule is not None:
        check_schedule(rule.schedule, f"{at}.schedule")
