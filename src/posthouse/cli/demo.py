"""`posthouse demo`: the whole story in one command."""

from __future__ import annotations

import asyncio
import json
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from posthouse.cli.client import Client
from posthouse.cli.receiver import Arrival, Receiver, Served

if TYPE_CHECKING:
    from posthouse.config import Settings

PATIENCE_SECONDS: Final = 30.0
APP: Final = "acme"
TYPES: Final = {
    "user_register": "A user registered",
    "order_create": "An order was created",
    "product_update": "A product changed",
}
JOHN: Final = {"username": "John Doe", "email": "john.doe@example.com"}
ORDER: Final = {"order": 1001, "total": "99.00", "buyer": "John Doe"}
PRODUCT: Final = {"sku": "P-7", "price": "19.50"}


def demo(*, keep: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Start a server and three targets, publish, and show what happens.

    Parameters
    ----------
    keep
        Leave everything running until Ctrl-C, with its URLs and key printed.
    """
    from posthouse import config, process

    folder = Path(tempfile.mkdtemp(prefix="posthouse-demo-"))
    folder.chmod(0o755)  # as root, PostgreSQL runs as another user, who must reach its own folder in there
    key = f"ph_demo_{secrets.token_hex(16)}"
    settings = config.load(
        data_dir=folder / "data", port=0, host="127.0.0.1", allow_private_targets=True, admin_key=key, log_level="error"
    )
    process.configure_logging(settings)
    try:
        return process.run(_Demo(Console(highlight=False), key).run(settings, keep=keep))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Demo:
    def __init__(self, console: Console, key: str) -> None:
        self._console = console
        self._key = key
        self._client: Client
        self._arrivals: Counter[str] = Counter()
        self._unverified = 0
        self._changed = asyncio.Event()
        self._started = time.monotonic()

    async def run(self, settings: Settings, *, keep: bool) -> int:
        from posthouse import bootstrap

        self._chapter("Posthouse starts", "a server, with a PostgreSQL of its own")
        ledger = Receiver(self._answering("ledger", lambda n: 200))
        mailer = Receiver(self._answering("mailer", lambda n: 503 if n <= 2 else 200))
        closed = Receiver(self._answering("closed", lambda n: 410))
        posthouse = bootstrap.Posthouse(settings)
        posthouse.stop_on_signals()
        async with (
            posthouse,
            Served(ledger) as ledger_at,
            Served(mailer) as mailer_at,
            Served(closed) as closed_at,
        ):
            serving = asyncio.create_task(posthouse.serve())
            self._client = Client(posthouse.url, self._key)
            self._say(f"the API answers on {posthouse.url}")
            told = await self._tell(
                {
                    "ledger": (ledger, ledger_at.url),
                    "mailer": (mailer, mailer_at.url),
                    "closed": (closed, closed_at.url),
                }
            )
            if keep and told:
                self._chapter("It goes on running", "Ctrl-C stops it")
                self._say(f"export POSTHOUSE_URL={posthouse.url} POSTHOUSE_KEY={self._key}")
                if (link := await posthouse.sign_in_link()) is not None:
                    self._say(f"the console, by a link that works once: {link}")
                self._say(f"posthouse trigger user_register --app {APP} --data '{json.dumps(JOHN)}'")
            else:
                posthouse.stop()
            await serving
        return 0 if told else 1

    async def _tell(self, targets: dict[str, tuple[Receiver, str]]) -> bool:
        self._chapter("The platform says what can happen", "event types")
        for name, description in TYPES.items():
            await self._call("event-types", body={"name": name, "description": description})
            self._say(f"{name:<16} {description}")

        self._chapter("A third party joins", "an app with three target URLs")
        await self._call("apps", body={"uid": APP, "name": "Acme"})
        behaviour = {
            "ledger": "answers 200",
            "mailer": "answers 503 twice, then 200",
            "closed": "answers 410: gone for good",
        }
        endpoints: dict[str, str] = {}
        for name, (receiver, url) in targets.items():
            retry = {"schedule": [1, 2, 4], "jitter": 0}
            made = await self._call(
                "apps", APP, "endpoints", body={"uid": name, "url": f"{url}/{name}", "retry": retry}
            )
            receiver.secrets = [made["secret"]]
            endpoints[made["id"]] = name
            self._say(f"{name:<16} {url}/{name}  {behaviour[name]}")

        self._chapter("John Doe registers", "one event, to all three")
        await self._publish("user_register", JOHN)
        if not await self._until(
            lambda: self._arrivals["mailer"] >= 3 and self._arrivals["closed"] >= 1, "all to arrive"
        ):
            return False
        if not await self._wait_disabled("closed"):
            return False

        self._chapter("He orders, and a price changes", "the endpoint that was gone is left alone")
        await self._publish("order_create", ORDER)
        await self._publish("product_update", PRODUCT)
        if not await self._until(lambda: self._arrivals["mailer"] >= 5 and self._arrivals["ledger"] >= 3, "the rest"):
            return False

        self._chapter("Everything is on record", f"GET /v1/apps/{APP}/attempts")
        attempts = await self._attempts(5 + 4)
        self._table(attempts, endpoints)
        owed = (await self._get("apps", APP, "deliveries"))["data"]
        self._say(
            f"{len(attempts)} attempts, {len(owed)} still owed, {self._unverified} signatures that did not verify"
        )
        good = not owed and not self._unverified and self._arrivals["closed"] == 1
        end = "[bold green]That is the story.[/]" if good else "[bold red]Something is not as it should be.[/]"
        self._console.print(f"\n{end}")
        return good

    # What the targets do

    def _answering(self, name: str, status: Callable[[int], int]) -> Callable[[Arrival], int]:
        def answer(arrival: Arrival) -> int:
            self._arrivals[name] += 1
            code = status(self._arrivals[name])
            if not arrival.verified:
                self._unverified += 1
            colour = "green" if code < 300 else "yellow" if code >= 500 else "red"
            event = arrival.decoded()["type"]
            self._say(f"[bold]{name:<8}[/] got {event:<15} [dim]{arrival.verdict}[/]  answers [{colour}]{code}[/]")
            self._changed.set()
            return code

        return answer

    # What the platform does

    async def _call(self, *path: str, body: dict[str, Any]) -> Any:
        return await asyncio.to_thread(self._client.post, *path, body=body)

    async def _get(self, *path: str, **query: str) -> Any:
        return await asyncio.to_thread(lambda: self._client.get(*path, **query))

    async def _publish(self, event_type: str, data: dict[str, Any]) -> str:
        accepted = await self._call("apps", APP, "events", body={"type": event_type, "data": data})
        self._say(f"published {event_type} {json.dumps(data)} [dim]{accepted['id']}[/]")
        return str(accepted["id"])

    # Waiting for facts

    async def _until(self, fact: Callable[[], bool], what: str) -> bool:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while not fact():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            self._console.print(f"[bold red]gave up waiting for {what} after {PATIENCE_SECONDS:.0f} s[/]")
            return False
        return True

    async def _wait_disabled(self, name: str) -> bool:
        until = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < until:
            endpoint = await self._get("apps", APP, "endpoints", name)
            if not endpoint["enabled"]:
                self._say(f"{name} is disabled: [red]{endpoint['disabled_reason']}[/]")
                return True
            await asyncio.sleep(0.05)
        self._console.print(f"[bold red]{name} was not disabled[/]")
        return False

    async def _attempts(self, expected: int) -> list[dict[str, Any]]:
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            attempts: list[dict[str, Any]] = (await self._get("apps", APP, "attempts"))["data"]
            if len(attempts) >= expected or time.monotonic() > until:
                return attempts
            await asyncio.sleep(0.05)

    # Showing

    def _chapter(self, title: str, what: str) -> None:
        self._console.print(f"\n[bold]{title}[/]  [dim]{what}[/]", soft_wrap=True)

    def _say(self, text: str) -> None:
        self._console.print(f"  [dim]{time.monotonic() - self._started:6.2f}s[/]  {text}", soft_wrap=True)

    def _table(self, attempts: list[dict[str, Any]], endpoints: dict[str, str]) -> None:
        table = Table(box=None, padding=(0, 1, 0, 1))
        for column in ("event", "endpoint", "try", "status", "outcome", "reason", "took"):
            table.add_column(column, no_wrap=True)
        for attempt in reversed(attempts):
            outcome = attempt["outcome"]
            colour = {"delivered": "green", "failed": "yellow"}.get(outcome, "red")
            table.add_row(
                attempt["type"],
                endpoints.get(attempt["endpoint"], attempt["endpoint"]),
                str(attempt["attempt"]),
                str(attempt["status"]),
                f"[{colour}]{outcome}[/]",
                attempt["reason"],
                f"{attempt['timings']['total_ms']:.1f} ms",
            )
        self._console.print(table)
