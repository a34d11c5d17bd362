"""The tables of the outbox, as the database's dialect has them."""

from __future__ import annotations

from typing import Any

from django.db import migrations, models

from posthouse_sdk.outbox.schema import drop_statements, statements

_EVENT = [
    ("id", models.BigAutoField(primary_key=True, serialize=False)),
    ("uid", models.TextField()),
    ("type", models.TextField()),
    ("subject", models.TextField(null=True)),
    ("event_key", models.TextField(null=True)),
    ("app", models.TextField(null=True)),
    ("data", models.TextField()),
    ("extra", models.TextField(null=True)),
]


def make(_: Any, editor: Any) -> None:
    for statement in statements(editor.connection.vendor):
        editor.execute(statement, params=None)


def remove(_: Any, editor: Any) -> None:
    for statement in drop_statements(editor.connection.vendor):
        editor.execute(statement, params=None)


class Migration(migrations.Migration):
    initial = True
    operations = [  # noqa: RUF012 - Django's own form
        migrations.RunPython(make, remove, atomic=False),  # in the transaction of the migration, where DDL has one
        migrations.CreateModel("OutboxEvent", _EVENT, options={"db_table": "posthouse_outbox", "managed": False}),
        migrations.CreateModel(
            "DeadOutboxEvent",
            [*_EVENT, ("reason", models.TextField())],
            options={"db_table": "posthouse_outbox_dead", "managed": False},
        ),
    ]
