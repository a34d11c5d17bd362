# /// script
# requires-python = ">=3.11"
# dependencies = ["posthouse-sdk[drf]"]
# ///
"""A receiver with Django REST framework, in one file: a view behind a gate, which lets each event in once.

    WEBHOOK_SECRET=whsec_… uv run examples/receivers/drf_app.py       # http://127.0.0.1:9000/hook

The project's permissions hold for its API, and do not stand in the way of webhooks: their signature says who sent them.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from django.conf import settings

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    SECRET_KEY=os.environ.get("SECRET_KEY", "for this machine only"),
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "rest_framework"],
    REST_FRAMEWORK={"DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"]},
)

from django.core.management import execute_from_command_line  # noqa: E402
from django.urls import path  # noqa: E402

from posthouse_sdk.receiving import Gate, ReceivedEvent  # noqa: E402
from posthouse_sdk.receiving.drf import webhook  # noqa: E402
from posthouse_sdk.receiving.stores.django_cache import DjangoCacheReplayStore  # noqa: E402

gate = Gate(os.environ["WEBHOOK_SECRET"], store=DjangoCacheReplayStore("default"))


@webhook(gate)
def hook(request: Any, event: ReceivedEvent[Any]) -> None:
    """What it raises, or any answer but 2xx, makes the event come again."""
    if event.type == "order.created":
        print(f"order {event.data['order']} was created", flush=True)
    else:
        print(f"order {event.data['order']}: {event.type}", flush=True)


urlpatterns = [path("hook", hook)]

if __name__ == "__main__":
    execute_from_command_line([sys.argv[0], "runserver", "--noreload", f"127.0.0.1:{os.environ.get('PORT', '9000')}"])
