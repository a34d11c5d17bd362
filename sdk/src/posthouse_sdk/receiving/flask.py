"""Receiving with Flask: `pip install posthouse-sdk[flask]`.

app.post("/hook")(view(receiver))

@app.post("/hook")
@webhook(gate)
def hook(event): ...
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from flask import Response, current_app, make_response, request
from werkzeug.exceptions import ClientDisconnected, RequestEntityTooLarge

from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.receiving.answers import Answer
from posthouse_sdk.receiving.gate import Gate
from posthouse_sdk.receiving.receiver import Receiver
from posthouse_sdk.receiving.steps import run


def view(receiver: Receiver) -> Callable[[], Response]:
    """A view for POST.

    Raises: ReceiverError where the receiver has no fallback, or its store is asynchronous.
    """
    receiver.check()
    receiver.check_blocking()

    def receive() -> Response:
        body = _body(receiver)
        return _response(body if isinstance(body, Answer) else receiver.handle(body, request.headers))

    return receive


def webhook(gate: Gate) -> Callable[[Callable[..., Any]], Callable[..., Response]]:
    """Decorates a view that takes the event first: it is verified and claimed, and confirmed if the view answers 2xx.

    Refusals, and events that were handled before, are answered without the view. Any other answer, and an exception,
    releases the event, so that it may come again. A view that returns None answers 204.

    Raises: ReceiverError where the gate's store is asynchronous.
    """
    gate.check_blocking()

    def decorate(function: Callable[..., Any]) -> Callable[..., Response]:
        @functools.wraps(function)
        def receive(*args: Any, **kwargs: Any) -> Response:
            def work(event: ReceivedEvent[Any]) -> Response:
                returned = current_app.ensure_sync(function)(event, *args, **kwargs)
                return make_response(("", 204) if returned is None else returned)

            answer = run(gate.passage(_body(gate), request.headers, work, lambda response: response.status_code < 300))
            return _response(answer) if isinstance(answer, Answer) else answer

        return receive

    return decorate


def _body(gate: Gate) -> bytes | Answer:
    """The raw body, as far as it may go."""
    limit = gate.body_bytes_max
    if request.max_content_length is None or request.max_content_length > limit:
        request.max_content_length = limit
    try:
        body = request.get_data()
    except RequestEntityTooLarge:
        return gate.too_large()
    except ClientDisconnected:
        return Answer(400)
    return body if len(body) <= limit else gate.too_large()


def _response(answer: Answer) -> Response:
    return Response(answer.body, answer.status, dict(answer.headers))
