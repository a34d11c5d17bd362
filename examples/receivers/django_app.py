# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk[django]"]
# ///
"""A receiver with Django, in one file: handlers by type, each event once.

    WEBHOOK_SECRET=whsec_… uv run examples/receivers/django_app.py       # http://127.0.0.1:9000/hook

The store is Django's cache: with several workers, one that they share, not the default in memory.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings
from django.core.management import execute_from_command_line
from django.urls import path

from posthouse_sdk.receiving import ReceivedEvent, Receiver, ignore
from posthouse_sdk.receiving.django import view
from posthouse_sdk.receiving.stores.django_cache import DjangoCacheReplayStore

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.environ.get("SECRET_KEY", "for this machine only"),
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware"],
)

receiver = Receiver(os.environ["WEBHOOK_SECRET"], store=DjangoCacheReplayStore("default"), fallback=ignore)


@receiver.on("order.created")
def created(event: ReceivedEvent[Any]) -> None:
    print(f"order {event.data['order']} was created", flush=True)


@receiver.on("order.*")
def changed(event: ReceivedEvent[Any]) -> None:
    print(f"order {event.data['order']}: {event.type}", flush=True)


urlpatterns = [path("hook", view(receiver))]

if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", f"127.0.0.1:{os.environ.get('PORT', '9000')}"])
