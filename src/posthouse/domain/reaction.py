"""Response rules (`on_response`): what a target's answer makes happen beside, or instead of, the usual, as configuration.

The first rule whose `when` is true is the one that counts. What it says is done; then what it says `also`. `confirm`, `retry`,
`give_up` and `disable` decide what becomes of the delivery; the others leave that to the acknowledgement rule, and are effects:
recorded with the attempt, and done once.
"""

from __future__ import annotations

from posthouse.domain.configuration import Configuration


class Rule(Configuration, frozen=True, kw_only=True, tag_field="then"):
    """`when`: an expression over `event`, `app`, `endpoint`, `response` and `attempt`; empty: always. `also`: effects."""

    when: str = ""
    also: tuple[AnyEffect, ...] = ()


class ConfirmRule(Rule, frozen=True, kw_only=True, tag="confirm"):
    """It is delivered, whatever the status."""


class RetryRule(Rule, frozen=True, kw_only=True, tag="retry"):
    """It is not delivered, whatever the status. `after`: seconds until the next attempt; `schedule`: seconds before each
    further one, from here on, in place of the endpoint's own; with neither, as the endpoint says."""

    after: float | None = None
    schedule: tuple[float, ...] | None = None


class GiveUpRule(Rule, frozen=True, kw_only=True, tag="give_up"):
    """No further attempt is made."""


class DisableRule(Rule, frozen=True, kw_only=True, tag="disable"):
    """No further attempt is made, and the endpoint is disabled."""


class ThrottleRule(Rule, frozen=True, kw_only=True, tag="throttle"):
    """At most so many requests a second for so many seconds."""

    per_second: float
    seconds: float = 60.0


class EmitRule(Rule, frozen=True, kw_only=True, tag="emit"):
    """An event is published in the endpoint's app. Expressions: `data` (left out: the answer's body), `subject` and `key` (left
    out: the event's own)."""

    type: str
    data: str = ""
    subject: str = ""
    key: str = ""


class ForwardRule(Rule, frozen=True, kw_only=True, tag="forward"):
    """The answer is sent on, as an event of this type, to one endpoint of the app (its uid or id), or to a URL as the endpoint
    itself is spoken to. `data` is an expression; left out, the answer's body."""

    endpoint: str = ""
    url: str = ""
    type: str = "callback.answered"
    data: str = ""


class SetRule(Rule, frozen=True, kw_only=True, tag="set"):
    """These values, expressions by name, are merged into the endpoint's metadata."""

    metadata: dict[str, str]


class NotifyRule(Rule, frozen=True, kw_only=True, tag="notify"):
    """The operators are told, by an operational event. `message` is an expression that comes to a text."""

    message: str = ""


class CallRule(Rule, frozen=True, kw_only=True, tag="call"):
    """A Python handler is called, where the server has one for the event's type (`serve --callbacks`)."""


AnyEffect = ThrottleRule | EmitRule | ForwardRule | SetRule | NotifyRule | CallRule
AnyRule = ConfirmRule | RetryRule | GiveUpRule | DisableRule | AnyEffect
