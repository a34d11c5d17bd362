"""Receiving with Django REST framework: `pip install posthouse-sdk[drf]`.

    urlpatterns = [path("hook", view(receiver))]

    @webhook(gate)
    def hook(request, event): ...

The signature says who sent the request: the project's authentication, permissions and parsers are not asked. Throttles are.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.views import APIView

from posthouse_sdk.receiving import django
from posthouse_sdk.receiving.django import View
from posthouse_sdk.receiving.gate import Gate
from posthouse_sdk.receiving.receiver import Receiver


def view(receiver: Receiver) -> View:
    """A view for POST.

    Raises: ReceiverError where the receiver has no fallback, or its store is asynchronous.
    """
    return _as_view(django.view(receiver))


def webhook(gate: Gate) -> Callable[[View], View]:
    """Decorates a view `(request, event, …)`: the event is verified and claimed, and confirmed if it answers 2xx.

    Refusals, and events that were handled before, are answered without the view. Any other answer, and an exception (one of
    REST framework's too), releases the event, so that it may come again. A view that returns None answers 204.

    Raises: ReceiverError where the gate's store is asynchronous.
    """

    def decorate(function: View) -> View:
        return functools.wraps(function)(_as_view(django.webhook(gate)(function)))

    return decorate


class _AnyAccept(BaseContentNegotiation):  # type: ignore[misc]
    """What a sender accepts is no reason to refuse its event."""

    def select_parser(self, request: Any, parsers: Any) -> Any:
        return None

    def select_renderer(self, request: Any, renderers: Any, format_suffix: Any = None) -> Any:
        return renderers[0], renderers[0].media_type


class _WebhookView(APIView):  # type: ignore[misc]
    authentication_classes = ()
    permission_classes = ()
    parser_classes = ()
    renderer_classes = (JSONRenderer,)
    content_negotiation_class = _AnyAccept
    receive: Any = None

    def post(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        return self.receive(request, *args, **kwargs)


def _as_view(receive: View) -> View:
    made: View = _WebhookView.as_view(receive=receive)
    return made
