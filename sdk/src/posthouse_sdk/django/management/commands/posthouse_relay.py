"""`manage.py posthouse_relay`: publish what was committed to the outbox of a database of these settings."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any
from urllib.parse import quote, urlencode

from django.core.management.base import BaseCommand, CommandError
from django.db import DEFAULT_DB_ALIAS, connections

from posthouse_sdk.outbox.errors import OutboxError
from posthouse_sdk.outbox.publisher import HttpPublisher
from posthouse_sdk.outbox.relay import Relay
from posthouse_sdk.outbox.store import store_of
from posthouse_sdk.publishing.errors import ConfigurationError


class Command(BaseCommand):
    help = "Publish the events of the outbox, in the order of each key, until it is stopped."

    def add_arguments(self, parser: Any) -> None:
        parser.add_argument("--database", default=DEFAULT_DB_ALIAS, help="Which of DATABASES holds the outbox.")
        parser.add_argument("--url", default=os.environ.get("POSTHOUSE_URL"), help="The server (or POSTHOUSE_URL).")
        parser.add_argument("--api-key", default=os.environ.get("POSTHOUSE_API_KEY"), help="(or POSTHOUSE_API_KEY)")

    def handle(self, *_: Any, **options: Any) -> None:
        if not options["url"] or not options["api_key"]:
            raise CommandError("where to? Give --url and --api-key, or set POSTHOUSE_URL and POSTHOUSE_API_KEY")
        try:
            asyncio.run(_relay(dsn_of(connections[options["database"]]), options["url"], options["api_key"]))
        except (OutboxError, ConfigurationError) as error:
            raise CommandError(str(error)) from error


def dsn_of(connection: Any) -> str:
    """The DSN of one of Django's databases. Raises CommandError for one that can hold no outbox."""
    settings, vendor = connection.settings_dict, connection.vendor
    name = str(settings["NAME"])
    if vendor == "sqlite":
        return f"sqlite:///{quote(name)}"
    if vendor not in ("postgresql", "mysql"):
        raise CommandError(f"there is no outbox for {vendor}; there is one for PostgreSQL, MySQL, MariaDB and SQLite")
    user, password, host = (quote(str(settings[part] or ""), safe="") for part in ("USER", "PASSWORD", "HOST"))
    login = f"{user}:{password}@" if password else f"{user}@" if user else ""
    query, port = {}, f":{settings['PORT']}" if settings["PORT"] else ""
    if host.startswith("%2F"):  # a socket
        query = {"host" if vendor == "postgresql" else "unix_socket": settings["HOST"]}
        if port and vendor == "postgresql":
            query["port"] = settings["PORT"]
        host = port = ""
    return f"{vendor}://{login}{host}{port}/{quote(name, safe='')}" + (f"?{urlencode(query)}" if query else "")


async def _relay(dsn: str, url: str, api_key: str) -> None:
    store, publisher = store_of(dsn), HttpPublisher(url, api_key)
    try:
        relay = Relay(store, publisher)
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, relay.stop)
        await relay.run()
    finally:
        await publisher.close()
        await store.close()
