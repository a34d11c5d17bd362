"""A shop on Django, in one file, that tells third parties of its users and orders.

    python -m examples.django_platform        the shop, its relay, a Posthouse server and a third party, in one command

Each view writes its data and its event in one `atomic()`: what is rolled back was never told.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import django
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_DATABASE", "shop.db")}},
    INSTALLED_APPS=["posthouse_sdk.django"],  # its migration makes the outbox
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["127.0.0.1"],
    SECRET_KEY="only an example",
    USE_TZ=True,
)
django.setup()

from django.core.management import execute_from_command_line  # noqa: E402
from django.db import IntegrityError, connection, models, transaction  # noqa: E402
from django.http import HttpRequest, JsonResponse  # noqa: E402
from django.urls import path  # noqa: E402

from posthouse_sdk.django import emit  # noqa: E402


class User(models.Model):
    name = models.CharField(max_length=100, primary_key=True)

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return str(self.name)


class Order(models.Model):
    id = models.BigAutoField(primary_key=True)
    shop = models.IntegerField()
    amount_cents = models.IntegerField()

    class Meta:
        app_label = "shop"

    def __str__(self) -> str:
        return f"order {self.id}"


def register(request: HttpRequest) -> JsonResponse:
    name = json.loads(request.body)["name"]
    try:
        with transaction.atomic():
            emit("user_register", {"username": name}, subject=f"user:{name}")
            User.objects.create(name=name)
    except IntegrityError:
        return JsonResponse({"detail": "that name is taken"}, status=409)  # and nobody hears of it
    return JsonResponse({"name": name}, status=201)


def order(request: HttpRequest) -> JsonResponse:
    given = json.loads(request.body)
    shop = given["shop"]
    with transaction.atomic():
        made = Order.objects.create(shop=shop, amount_cents=given["amount_cents"])
        # One shop's events arrive in the order of its transactions, at endpoints that ask for order by key.
        data = {"order": made.id, "amount_cents": made.amount_cents}
        emit("order_create", data, subject=f"shop:{shop}", key=f"shop:{shop}")
    return JsonResponse({"id": made.id}, status=201)


urlpatterns: list[Any] = [path("users", register), path("orders", order)]


def main(arguments: list[str]) -> None:
    """As manage.py would be."""
    if arguments[:1] == ["runserver"]:
        execute_from_command_line(["shop", "migrate", "--verbosity", "0"])
        with connection.schema_editor() as editor:  # in a real platform: migrations of its own app
            for model in (User, Order):
                editor.create_model(model)
    execute_from_command_line(["shop", *arguments])


if __name__ == "__main__":
    main(sys.argv[1:])
