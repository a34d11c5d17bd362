"""One course of events for both worlds: what is called is yielded, and a driver calls it, or awaits it.

A course decides; it never knows whether it runs on an event loop. In a blocking program a coroutine function gets an event loop
for the call; on an event loop a blocking function gets a thread, unless it is `quick`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from inspect import isawaitable, iscoroutinefunction
from typing import Any, TypeVar

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call:
    """A call to make; what it returns is sent back into the course, what it raises is thrown into it."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    quick: bool = False


Course = Generator[Call, Any, R]


def run(course: Course[R]) -> R:
    """Follow a course to its end, blocking."""
    try:
        call = next(course)
        while True:
            try:
                result = _call(call)
            except BaseException as error:  # noqa: BLE001 - it is the course's to handle
                call = course.throw(error)
            else:
                call = course.send(result)
    except StopIteration as end:
        returned: R = end.value
        return returned


async def arun(course: Course[R]) -> R:
    """Follow a course to its end, on an event loop."""
    try:
        call = next(course)
        while True:
            try:
                result = await _await(call)
            except BaseException as error:  # noqa: BLE001
                call = course.throw(error)
            else:
                call = course.send(result)
    except StopIteration as end:
        returned: R = end.value
        return returned


def is_async(function: Callable[..., Any]) -> bool:
    """Whether a call of it is to be awaited: also of an object whose `__call__` is, or of a partial."""
    while hasattr(function, "func"):
        function = function.func
    return iscoroutinefunction(function) or iscoroutinefunction(getattr(function, "__call__", None))  # noqa: B004


def _call(call: Call) -> Any:
    result = call.function(*call.arguments)
    if isawaitable(result):
        import asyncio

        return asyncio.run(_awaited(result))
    return result


async def _await(call: Call) -> Any:
    if call.quick or is_async(call.function):
        result = call.function(*call.arguments)
    else:
        import asyncio

        result = await asyncio.to_thread(call.function, *call.arguments)
    return await result if isawaitable(result) else result


async def _awaited(result: Awaitable[Any]) -> Any:
    return await result
