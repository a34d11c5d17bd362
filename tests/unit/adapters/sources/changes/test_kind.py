"""The kind itself, where what it needs is not there."""

from __future__ import annotations

import sys

import pytest

from posthouse.adapters.sources.changes.kind import ChangesKind
from posthouse.domain.errors import SourceRefused
from posthouse.ports.sources import Spec


async def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    kind = ChangesKind()
    settings = kind.check({"dsn": "postgresql://u@h/d", "tables": ["a"]})
    spec = Spec(id="trg_1", name="", settings=settings)
    with pytest.raises(SourceRefused, match=r"pip install 'posthouse\[changes\]'") as found:
        kind.source(spec)
    assert found.value.code == "driver_missing"
    for work in (kind.plan(spec), kind.install(spec), kind.remove(spec), kind.rewind(spec, None)):
        with pytest.raises(SourceRefused, match="psycopg"):
            await work
