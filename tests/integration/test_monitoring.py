"""What is shipped for monitoring, against the `/metrics` of a real server."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from tests.installed import Installed
from tests.serving import ask, serving

from posthouse.adapters.postgres.upkeep import PostgresUpkeep

DEPLOY = Path(__file__).parents[2] / "deploy"
FUNCTIONS = {
    "sum",
    "max",
    "rate",
    "increase",
    "deriv",
    "histogram_quantile",
    "by",
    "le",
    "instance",
    "outcome",
    "reason",
}


def board_expressions() -> list[str]:
    board: dict[str, Any] = json.loads((DEPLOY / "grafana" / "posthouse.json").read_text("utf-8"))
    return [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]


def alert_expressions() -> list[str]:
    rules: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text("utf-8"))
    return [rule["expr"] for group in rules["groups"] for rule in group["rules"]]


def names_of(expression: str) -> set[str]:
    """The series of an expression: what is left of it without selectors, ranges, functions and numbers."""
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]", "", expression)
    return {word for word in re.findall(r"\b[a-z_]+\b", bare) if "_" in word and word not in FUNCTIONS}


async def test_every_series_of_board_and_alerts_is_in_a_scrape(database: str) -> None:
    async with serving(database) as server:
        scrape = (await ask(server.port, "GET", "/metrics", key=None)).body.decode()
    exposed = set(re.findall(r"^([a-z_]+)", scrape, re.MULTILINE))
    # Counters that have labels appear as they count; these have none of their values yet.
    declared = {f"{name}_total" for name in re.findall(r"^# TYPE (\S+?)(?:_total)? counter", scrape, re.MULTILINE)}
    used = set[str]().union(*(names_of(expression) for expression in [*board_expressions(), *alert_expressions()]))
    assert len(used) > 15
    assert used - exposed - declared == set()


@pytest.mark.parametrize("expression", [*board_expressions(), *alert_expressions()])
def test_expressions_close_what_they_open(expression: str) -> None:
    """No PromQL parser is at hand here; unbalanced brackets and quotes are what an edit breaks first."""
    open_ones: list[str] = []
    outside = re.sub(r'"[^"]*"', "", expression)
    assert '"' not in outside
    for character in outside:
        if character in "([{":
            open_ones.append(character)
        elif character in ")]}":
            assert open_ones, expression
            assert open_ones.pop() + character in ("()", "[]", "{}"), expression
    assert not open_ones, expression


async def test_an_open_snapshot_is_seen(postgres: Installed) -> None:
    upkeep = PostgresUpkeep(postgres.reading)
    holder = await asyncpg.connect(postgres.dsn)
    try:
        async with holder.transaction(isolation="repeatable_read"):
            await holder.execute("SELECT count(*) FROM event")
            first = await upkeep.oldest_snapshot_seconds()
            assert first > 0
            assert await upkeep.oldest_snapshot_seconds() > first, "it ages"
    finally:
        await holder.close()
