"""The front door of the SDK: every public name is there, typed, and loaded only when used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import posthouse_sdk

SOURCE = Path(posthouse_sdk.__file__)


def told_to_type_checkers() -> dict[str, str]:
    """Public name -> module, from the imports under `TYPE_CHECKING`."""
    (block,) = (node for node in ast.parse(SOURCE.read_text()).body if isinstance(node, ast.If))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    assert len(imports) == len(block.body)
    return {alias.name: str(node.module).removeprefix("posthouse_sdk.") for node in imports for alias in node.names}


def test_types_and_run_time_agree() -> None:
    assert told_to_type_checkers() == posthouse_sdk._HOMES
    assert sorted(posthouse_sdk.__all__) == sorted(posthouse_sdk._HOMES)


@pytest.mark.parametrize("name", posthouse_sdk.__all__)
def test_every_name_is_found(name: str) -> None:
    assert getattr(posthouse_sdk, name) is not None
    assert name in dir(posthouse_sdk)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Posthaus'"):
        posthouse_sdk.Posthaus  # noqa: B018


def test_import_loads_none_of_its_modules() -> None:
    """Each costs what it imports; a user pays for those whose names are used."""
    told = subprocess.run(
        [sys.executable, "-c", "import sys, posthouse_sdk; print([m for m in sys.modules if 'posthouse_sdk.' in m])"],
        check=True, capture_output=True, text=True, timeout=60,
    ).stdout  # fmt: skip
    assert told.strip() == "[]"
