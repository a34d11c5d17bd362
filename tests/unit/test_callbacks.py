"""What whoever writes hooks imports: light, and strict about how it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import posthouse
from posthouse import callbacks
from posthouse.callbacks import Response, event_data, on_callback

ROOT = Path(__file__).parents[2]
NAMES = [
    *("Action", "Callback", "Disable", "Emit", "Forward", "Notify", "Resend", "Response", "SetMetadata", "Throttle"),
    "on_callback",
]


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    found: list[Any] = []
    monkeypatch.setattr(callbacks, "registered", found)
    return found


def test_its_names_are_those_of_the_package() -> None:
    assert {name: getattr(posthouse, name) for name in NAMES} == {name: getattr(callbacks, name) for name in NAMES}
    assert set(NAMES) <= set(callbacks.__all__)
    with pytest.raises(AttributeError, match="no attribute 'on_call'"):
        _ = posthouse.on_call


def test_it_loads_nothing_of_the_server_and_nothing_before_it_is_asked_for() -> None:
    program = """
import sys, posthouse
assert not [name for name in sys.modules if name.startswith(("posthouse.", "msgspec"))], sys.modules
posthouse.on_callback
rooms = ("api", "adapters", "bootstrap", "config", "dispatch", "intake", "lane", "manage", "send", "settle", "wire")
assert not [name for name in sys.modules if name.startswith(tuple(f"posthouse.{room}" for room in rooms))]
assert not {"pydantic", "asyncpg", "fastapi", "structlog", "uvicorn"} & set(sys.modules)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_handler_is_the_function_that_it_was_and_known_by_its_patterns(registered: list[Any]) -> None:
    @on_callback("order.*", "user_register")
    def one(callback: posthouse.Callback) -> None: ...

    @on_callback("*")
    async def two(callback: posthouse.Callback) -> posthouse.Action:
        return posthouse.Notify("hello")

    assert registered == [(("order.*", "user_register"), one), (("*",), two)]
    assert one.__name__ == "one"


@pytest.mark.parametrize("pattern", ["", "order.", "order.**", ".*", "*.created", "no type"])
def test_a_pattern_that_matches_nothing_is_refused(pattern: str, registered: list[Any]) -> None:
    with pytest.raises(ValueError, match="is no event type"):
        on_callback(pattern)
    assert registered == []


def test_without_a_pattern_it_says_how_it_is_used(registered: list[Any]) -> None:
    def handler(callback: posthouse.Callback) -> None: ...

    for wrong in ((), (handler,)):
        with pytest.raises(TypeError, match=r"such as @on_callback\("):
            on_callback(*wrong)
    with pytest.raises(TypeError, match="is for functions"):
        on_callback("order.*")("no function")  # type: ignore[type-var]
    assert registered == []


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_guide_says_what_works(language: str, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / language / "guides" / "handlers.md").read_text("utf-8")
    files = dict(re.findall(r"<!-- file: (\w+)\.py -->\n```python\n(.*?)```\n", page, re.DOTALL))
    assert set(files) == {"hooks", "test_hooks"}
    for name, text in files.items():
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(text, name, "exec"), module.__dict__)
    sys.modules["test_hooks"].test_a_packed_order_is_told_of()


def test_an_answer_is_read_as_it_is_asked_for() -> None:
    json = Response(status=200, body=b'{"code": 0, "name": "\xe9\xa9\xbf"}')
    assert (json.json, json.text, json.xml) == ({"code": 0, "name": "驿"}, '{"code": 0, "name": "驿"}', None)
    xml = Response(
        status=200,
        headers={"content-type": "text/xml; charset=gbk"},
        body="<xml><return_msg>成功</return_msg></xml>".encode("gbk"),
    )
    assert (xml.json, xml.xml) == (None, {"xml": {"return_msg": "成功"}})
    broken = Response(status=200, body=b"{" * 100_000)
    assert (broken.json, broken.xml) == (None, None)
    assert Response(status=200, body=b'{"a": 1', truncated=True).json is None


@pytest.mark.parametrize(
    ("payload", "content_type", "data"),
    [
        (b'{"id": 7}', "application/json", {"id": 7}),
        (b"[1]", "application/vnd.shop+json; charset=utf-8", [1]),
        (b'"sold"', "text/json", "sold"),
        (b"\x00\x01", "application/octet-stream", b"\x00\x01"),
        (b"{", "application/vnd.shop+json", b"{"),
        (b"[" * 100_000, "application/vnd.shop+json", b"[" * 100_000),
        (b"<a/>", "text/xml", b"<a/>"),
    ],
)
def test_the_data_of_an_event(payload: bytes, content_type: str, data: object) -> None:
    assert event_data(payload, content_type) == data
