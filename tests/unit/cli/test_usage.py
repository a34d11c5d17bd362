"""What is told of a command that was called wrongly."""

from __future__ import annotations

import pytest
from cyclopts.exceptions import CycloptsError

from posthouse.cli.main import app
from posthouse.cli.usage import told

HELP = "`posthouse {} --help` says what there is"


def refused(*words: str) -> list[str]:
    """What is told, and the next steps."""
    with pytest.raises(CycloptsError) as caught:
        app(words, print_error=False, exit_on_error=False, result_action="return_value")
    error = told(caught.value)
    return [str(error), *error.__notes__]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("events", "list", "--limit"),
            [
                "--limit needs a value after it: a whole number",
                "--limit: How many at most.",
                HELP.format("events list"),
            ],
        ),
        (
            ("events", "list", "--app", "--limit", "3"),
            [
                "--app needs a value after it",
                "--app: The app's id or uid.",
                "--limit is taken for an option; a value that begins with - is given as --app=VALUE",
                HELP.format("events list"),
            ],
        ),
        (
            ("trigger", "--subject"),  # whose help is in a docstring
            [
                "--subject needs a value after it",
                "--subject: Whom the event is about, such as shop:42.",
                HELP.format("trigger"),
            ],
        ),
        (
            ("doctor", "--resolve", "a", "--resolve"),
            [
                "--resolve needs a value after it",
                "--resolve: A name to look up in DNS instead of those of endpoints; may be repeated.",
                HELP.format("doctor"),
            ],
        ),
        (
            ("relay",),
            [
                "`posthouse relay` needs --dsn",
                "--dsn: The database: postgresql://…, mysql://… (MariaDB's, too) or sqlite:///path.",
                "give it, or set POSTHOUSE_OUTBOX_DSN",
                HELP.format("relay"),
            ],
        ),
        (
            ("completion",),
            [
                "`posthouse completion` needs SHELL: one of bash, zsh, fish",
                "SHELL: The shell.",
                HELP.format("completion"),
            ],
        ),
        (
            ("endpoints", "get"),
            [
                "`posthouse endpoints get` needs ENDPOINT",
                "ENDPOINT: The endpoint's id or uid.",
                HELP.format("endpoints get"),
            ],
        ),
        (("completion", "foo"), ["SHELL is one of bash, zsh, fish, and not 'foo'", HELP.format("completion")]),
        (("events", "list", "--limit", "x"), ["--limit is a whole number, and not 'x'", HELP.format("events list")]),
        (("outbox", "retry", "x"), ["IDS is a whole number, and not 'x'", HELP.format("outbox retry")]),
        (("events", "list", "x"), ["`posthouse events list` takes no 'x'", HELP.format("events list")]),
        (("apps", "create", "--uid", "a", "--uid", "b"), ["--uid is given more than once", HELP.format("apps create")]),
        (
            ("events", "list", "--limi", "3"),
            ["unknown option: --limi. Did you mean --limit?", HELP.format("events list")],
        ),
        (
            ("keys", "nosuch"),
            ['unknown command "nosuch". Available commands: create, list, revoke, rekey', HELP.format("keys")],
        ),
    ],
)
def test_what_is_wrong_and_what_to_do(words: tuple[str, ...], said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POSTHOUSE_OUTBOX_DSN", raising=False)
    assert refused(*words) == said
