"""The simulator's mutations fit the code as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.simulation.mutants import FOLDER, Mutation, mutations
from tests.tidy.tree import ROOT

MUTATIONS_MIN = 30


@pytest.mark.parametrize("mutation", list(mutations()), ids=lambda mutation: str(mutation.name))
def test_a_mutation_changes_what_is_there_exactly_once(mutation: Mutation) -> None:
    for change in mutation.changes:
        text = (ROOT / "src" / change.file).read_text("utf-8")
        assert text.count(change.old) == 1, f"{change.file} holds {change.old!r} {text.count(change.old)} times"
        assert change.new != change.old
        if change.file.endswith(".py"):
            compile(text.replace(change.old, change.new), change.file, "exec")


def test_each_mutation_says_why_under_the_name_of_its_file() -> None:
    assert {f"{mutation.name}.toml" for mutation in mutations()} == {path.name for path in Path(FOLDER).glob("*.toml")}
    assert [mutation.name for mutation in mutations() if not mutation.why.strip()] == []
    assert len(list(mutations())) >= MUTATIONS_MIN
