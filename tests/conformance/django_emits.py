"""A Django project in one file, for test_outbox_emit.py: migrates the database given, and emits in and out of transactions."""

from __future__ import annotations

import asyncio
import json
import sys

import django
import pytest
from django.conf import settings

if "mysql" in sys.argv[1]:
    import pymysql

    pymysql.version_info = (2, 2, 1, "final", 0)  # Django asks for mysqlclient's
    pymysql.install_as_MySQLdb()

settings.configure(DATABASES={"default": json.loads(sys.argv[1])}, INSTALLED_APPS=["posthouse_sdk.django"], USE_TZ=True)
django.setup()

from django.core.management import call_command  # noqa: E402
from django.db import connection, transaction  # noqa: E402

from posthouse_sdk.django import emit  # noqa: E402
from posthouse_sdk.django.management.commands.posthouse_relay import dsn_of  # noqa: E402
from posthouse_sdk.django.models import OutboxEvent  # noqa: E402
from posthouse_sdk.outbox import NotInTransactionError  # noqa: E402
from posthouse_sdk.outbox import emit as emit_with  # noqa: E402
from posthouse_sdk.outbox.store import store_of  # noqa: E402


async def works(dsn: str) -> bool:
    store = store_of(dsn)
    await store.open()
    await store.close()
    return True


call_command("migrate", verbosity=0)
call_command("makemigrations", "posthouse", check=True, dry_run=True, verbosity=0)
with transaction.atomic():
    emit("order.created", {"order": 1})
try:
    with transaction.atomic():
        emit_with(connection, "order.created", {"order": 2})
        raise InterruptedError
except InterruptedError:
    pass
with pytest.raises(NotInTransactionError, match=r"transaction\.atomic"):
    emit("order.created", {"order": 3})
(found,) = OutboxEvent.objects.all()
assert found.type == "order.created"
dsn = dsn_of(connection)
connection.close()
print(json.dumps({"dsn": dsn, "dsn_works": asyncio.run(works(dsn))}))
