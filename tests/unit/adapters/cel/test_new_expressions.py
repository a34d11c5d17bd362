"""Expressions that a process meets for the first time, as after a restart: compiling them holds nobody up."""

from __future__ import annotations

import asyncio

from tests.fakes import an_event

from posthouse.adapters.cel.expressions import CelExpressions
from posthouse.domain.expression import Expression, Facts, Use, Value
from posthouse.domain.limits import AT_ONCE_COMPILED_MAX


async def test_many_new_ones_are_compiled_in_turns_and_then_evaluated_at_once() -> None:
    expressions = CelExpressions()
    wanted = [Expression(f"event.data.n == {n}", Use.FILTER) for n in range(AT_ONCE_COMPILED_MAX + 5)]
    facts = Facts(event=an_event(1))
    assert expressions.at_once(wanted, facts) is None
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    try:
        outcomes = await expressions.evaluate(wanted, facts)
    finally:
        task.cancel()
    assert outcomes == [Value(n == 1) for n in range(len(wanted))]
    assert turns >= 5, "the rest of them"
    assert expressions.at_once(wanted, facts) == outcomes
    await expressions.close()


async def test_a_few_new_ones_are_compiled_at_once() -> None:
    expressions = CelExpressions()
    wanted = [Expression(f"event.key == '{n}'", Use.FILTER) for n in range(AT_ONCE_COMPILED_MAX)]
    assert expressions.at_once(wanted, Facts(event=an_event(1, key="3"))) == [Value(n == 3) for n in range(len(wanted))]
    await expressions.close()
