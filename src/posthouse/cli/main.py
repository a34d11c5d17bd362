"""`posthouse`: the commands, each loaded only when it runs.

Exit codes: 0 ok, 1 failure, 2 usage, 3 authorisation, 4 not found, 5 conflict, 6 partial, 7 unreachable.
"""

from __future__ import annotations

import sys
from typing import Final

import cyclopts

from posthouse import __version__

EXIT_CODES: Final = {
    "Invalid": 2,
    "Unauthorised": 3,
    "Forbidden": 3,
    "NotFound": 4,
    "Conflict": 5,
    "TooLarge": 2,
    "Overloaded": 7,
    "StoreUnavailable": 7,
    "InDoubt": 7,
}

app = cyclopts.App(
    name="posthouse",
    help="Webhook delivery for open platforms: durable, signed, at once, again until confirmed.",
    version=__version__,
    help_format="plaintext",  # Markdown would take a third of the start-up, for texts that hold none
)
app.command("posthouse.cli.demo:demo", name="demo", help="The whole story in one command: server, targets, events.")
app.command("posthouse.cli.serve:serve", name="serve", help="Run a server.")
app.command("posthouse.cli.listen:listen", name="listen", help="A local target that verifies and prints what arrives.")
app.command("posthouse.cli.trigger:trigger", name="trigger", help="Publish one event.")
app.command("posthouse.cli.keys:app", name="keys", help="Make, list and revoke API keys.")
app.command("posthouse.cli.migrate:migrate", name="migrate", help="Bring a database's schema up to date.")


def main() -> None:
    """Run a command and end the process with its exit code."""
    from posthouse.domain.errors import PosthouseError

    try:
        result = app(exit_on_error=True)
    except PosthouseError as error:
        print(f"posthouse: {error}", file=sys.stderr)
        sys.exit(EXIT_CODES.get(type(error).__name__, 1))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
