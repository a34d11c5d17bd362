"""Receiving with Django: `pip install posthouse-sdk[django]`.

    urlpatterns = [path("hook", view(receiver))]

    @webhook(gate)
    def hook(request, event): ...

Views of both kinds are exempt from CSRF protection: the signature says who sent the request. Django's own limit of a body,
`DATA_UPLOAD_MAX_MEMORY_SIZE` (2.5 MB), holds besides the gate's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from inspect import iscoroutinefunction
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, HttpResponseNotAllowed
from django.http.request import RawPostDataException
from django.views.decorators.csrf import csrf_exempt

from posthouse_sdk.errors import ParsedBodyError
from posthouse_sdk.received import ReceivedEvent
from posthouse_sdk.receiving.answers import Answer
from posthouse_sdk.receiving.gate import Gate
from posthouse_sdk.receiving.receiver import Receiver
from posthouse_sdk.receiving.steps import Course, arun, run

View = Callable[..., Any]


def view(receiver: Receiver) -> View:
    """A view for POST, for WSGI.

    Raises: ReceiverError where the receiver has no fallback, or its store is asynchronous.
    """
    receiver.check()
    receiver.check_blocking()

    def receive(request: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        body = body_of(request, receiver)
        return response_of(body if isinstance(body, Answer) else receiver.handle(body, request.headers))

    exempt: View = csrf_exempt(receive)
    return exempt


def async_view(receiver: Receiver) -> View:
    """The same for ASGI.

    Raises: ReceiverError where the receiver has no fallback.
    """
    receiver.check()

    async def receive(request: Any) -> HttpResponse:
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        body = body_of(request, receiver)
        return response_of(body if isinstance(body, Answer) else await receiver.ahandle(body, request.headers))

    exempt: View = csrf_exempt(receive)
    return exempt


def webhook(gate: Gate) -> Callable[[View], View]:
    """Decorates a view `(request, event, …)`, blocking or not: the event is verified, claimed, and confirmed if it answers 2xx.

    Refusals, and events that were handled before, are answered without the view. Any other answer, and an exception,
    releases the event, so that it may come again. A view that returns None answers 204.
    """

    def decorate(function: View) -> View:
        if iscoroutinefunction(function):

            @functools.wraps(function)
            async def receive(request: Any, *args: Any, **kwargs: Any) -> Any:
                return _answered(await arun(_passage(gate, function, request, args, kwargs)))

        else:
            gate.check_blocking()

            @functools.wraps(function)
            def receive(request: Any, *args: Any, **kwargs: Any) -> Any:
                return _answered(run(_passage(gate, function, request, args, kwargs)))

        exempt: View = csrf_exempt(receive)
        return exempt

    return decorate


def _passage(gate: Gate, function: View, request: Any, args: Any, kwargs: Any) -> Course[Any]:
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])

    def work(event: ReceivedEvent[Any]) -> Any:
        return function(request, event, *args, **kwargs)

    async def awaited(event: ReceivedEvent[Any]) -> Any:
        return await function(request, event, *args, **kwargs)

    way = awaited if iscoroutinefunction(function) else work
    return (yield from gate.passage(body_of(request, gate), request.headers, way, confirms))


def confirms(response: Any) -> bool:
    """Whether what a view returned confirms the event: 2xx, or None, which is answered 204."""
    return response is None or 200 <= response.status_code < 300


def _answered(returned: Any) -> Any:
    if isinstance(returned, Answer):
        return response_of(returned)
    return HttpResponse(status=204) if returned is None else returned


def body_of(request: Any, gate: Gate) -> bytes | Answer:
    """The raw body, as far as it may go."""
    length = request.META.get("CONTENT_LENGTH") or "0"
    if length.isdigit() and int(length[:20]) > gate.body_bytes_max:
        return gate.too_large()
    try:
        body: bytes = request.body
    except RequestDataTooBig:
        return gate.too_large()
    except RawPostDataException:
        return gate.refuse(
            ParsedBodyError(
                "the body was read before it was verified (request.POST, request.data or read()): verify first"
            )
        )
    return body if len(body) <= gate.body_bytes_max else gate.too_large()


def response_of(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body, status=answer.status)
    del response["Content-Type"]
    for name, value in answer.headers:
        response[name] = value
    return response
