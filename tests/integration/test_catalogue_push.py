"""`posthouse catalogue push` against a whole server: classes of the platform's code become its catalogue."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.commands import Served, rows, run_in, served

from posthouse.cli.client import Client

EVENTS = '''
from dataclasses import dataclass
from posthouse_sdk import event_type

@event_type("order.created", visibility="granted", examples=[{{"order": 7}}])
@dataclass
class OrderCreated:
    """An order was created."""
    order: int{more}
'''
CLASS = """import dataclasses, posthouse_sdk

@posthouse_sdk.event_type("a.b"{more})
@dataclasses.dataclass
class Raw:
    {field}
"""
USERS = """
import pydantic
from posthouse_sdk import event_type

@event_type("user_register")
class UserRegister(pydantic.BaseModel):
    username: str
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    with served() as found:
        yield found


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop" / "__init__.py").write_text("")
    (tmp_path / "shop" / "users.py").write_text(USERS)
    declare(tmp_path)
    return tmp_path


def declare(folder: Path, more: str = "") -> None:
    (folder / "shop" / "events.py").write_text(EVENTS.format(more=more))


def push(server: Served, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return run_in(folder, "catalogue", "push", *words, **server.reach, PYTHONDONTWRITEBYTECODE="1")


def test_classes_become_the_catalogue_and_stay_what_it_says(server: Served, shop: Path) -> None:
    client = Client(server.reach["POSTHOUSE_URL"], server.reach["POSTHOUSE_KEY"])
    client.post("event-types", body={"name": "by.hand"})

    told = push(server, shop, "shop.events", "shop.users", "--check")
    assert told.returncode == 1, told.stderr
    assert "+ event type order.created" in told.stdout
    assert "+ event type user_register" in told.stdout
    assert "2 to create" in told.stderr
    assert [row["name"] for row in client.rows("event-types") if row["name"] != "by.hand"] == [], "it only looked"

    told = push(server, shop, "shop.events", "shop.users")
    assert told.returncode == 0, told.stderr
    made = client.get("event-types", "order.created")
    assert made["schema"] == {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}
    assert (made["description"], made["visibility"]) == ("An order was created.", "granted")
    assert made["examples"] == [{"order": 7}]
    assert client.get("event-types", "user_register")["schema"]["required"] == ["username"]
    for words in (("--check",), ()):
        told = push(server, shop, "shop.events", "shop.users", *words)
        assert (told.returncode, told.stdout) == (0, ""), told.stderr
        assert "nothing to change" in told.stderr

    # What a class does not say is the catalogue's.
    client.ask("PATCH", ("event-types", "user_register"), body={"description": "by hand", "visibility": "private"})
    assert push(server, shop, "shop.users", "--check").returncode == 0

    # A field that may be left out breaks nobody.
    declare(shop, '\n    note: str = ""')
    (row,) = rows(push(server, shop, "shop.events", "--check", "--json"), 1)
    assert [field["path"] for field in row["fields"]] == ["schema.properties.note"]
    told = push(server, shop, "shop.events")
    assert told.returncode == 0, told.stderr
    assert client.get("event-types", "order.created")["version"] == 2

    # One that changes what it is does.
    declare(shop, "\n    note: int = 0")
    told = push(server, shop, "shop.events", "--check")
    assert told.returncode == 1
    assert "~ event type order.created" in told.stdout
    assert "schema.properties.note.type: string → integer" in told.stdout
    assert "✗ order.created breaks consumers and publishers at note: " in told.stderr
    told = push(server, shop, "shop.events")
    assert told.returncode == 5
    assert "push with --allow-breaking" in told.stderr
    assert client.get("event-types", "order.created")["version"] == 2
    told = push(server, shop, "shop.events", "--allow-breaking")
    assert told.returncode == 0, told.stderr
    assert client.get("event-types", "order.created")["version"] == 3

    client.delete("event-types", "order.created")
    assert "archived: true → false" in push(server, shop, "shop.events", "--check").stdout


@pytest.mark.parametrize(
    ("module", "text", "told"),
    [
        ("shop.nothing", None, "cannot import shop.nothing: ModuleNotFoundError"),
        ("shop.broken", "1 / 0", "cannot import shop.broken: ZeroDivisionError"),
        ("shop.empty", "", "shop.empty declares no event type"),
        (
            "shop.raw",
            CLASS.format(more="", field="raw: bytes"),
            "{shop}/raw.py:3:1: a.b: Raw.raw is a <class 'bytes'>, for which there is no JSON Schema",
        ),
        (
            "shop.long",
            CLASS.format(more=", description='x' * 5000", field="n: int"),
            "{shop}/long.py:3:1: event_types[a.b].description: ",
        ),
    ],
)
def test_what_is_wrong_with_the_code_is_told(
    server: Served, shop: Path, module: str, text: str | None, told: str
) -> None:
    if text is not None:
        (shop / "shop" / f"{module.partition('.')[2]}.py").write_text(text)
    found = push(server, shop, module)
    assert found.returncode == 2, found.stderr
    assert told.format(shop="shop") in found.stderr.replace(os.sep, "/")
