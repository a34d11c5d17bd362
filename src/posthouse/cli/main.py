"""`posthouse`: the commands, each loaded only when it runs.

Exit codes: 0 ok, 1 failure, 2 usage, 3 authorisation, 4 not found, 5 conflict, 6 partial, 7 unreachable; 130 and 141 as of
programs that SIGINT and SIGPIPE end.
"""

from __future__ import annotations

import errno
import inspect
import os
import select
import sys
from collections.abc import Sequence
from typing import Final, TextIO

import cyclopts

from posthouse import __version__
from posthouse.cli.texts.language import chinese_wanted

PARTIAL: Final = 6
INTERRUPTED: Final = 130
READER_GONE: Final = 141
NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
EXIT_CODES: Final = {
    "Invalid": 2,
    "BadSettings": 2,
    "Unauthorised": 3,
    "Forbidden": 3,
    "NotFound": 4,
    "Conflict": 5,
    "TooLarge": 2,
    "Overloaded": 7,
    "StoreUnavailable": 7,
    "SourceUnavailable": 7,
}

RUN: Final = cyclopts.Group("Run it", sort_key=1)
PUBLISH: Final = cyclopts.Group("Publish and receive", sort_key=2)
CONFIGURE: Final = cyclopts.Group("Who hears of what", sort_key=3)
LOOK: Final = cyclopts.Group("What happened", sort_key=4)

# The help stands here too: a command's module is loaded only when the command runs.
COMMANDS: Final = (
    ("demo", "demo:demo", RUN, "The whole story in one command: server, targets, events."),
    ("serve", "serve:serve", RUN, "Run a server."),
    ("open", "console:open_console", RUN, "Open the console in a browser, signed in."),
    ("portal", "console:open_portal", RUN, "Open the portal of an app in a browser, signed in."),
    ("doctor", "doctor:doctor", RUN, "Look for what is wrong with an installation, and say what to do."),
    ("migrate", "migrate:migrate", RUN, "Bring a database's schema up to date."),
    ("trigger", "trigger:trigger", PUBLISH, "Publish one event."),
    ("listen", "listen:listen", PUBLISH, "A local target that verifies and prints what arrives."),
    ("relay", "outbox:relay", PUBLISH, "Publish what was committed to an outbox in your own database."),
    ("outbox", "outbox:outbox", PUBLISH, "Outboxes: their tables, what waits, and what was refused."),
    ("apply", "apply:apply", CONFIGURE, "Make the server's configuration what YAML files say."),
    ("export", "export:export", CONFIGURE, "Write the server's configuration as a YAML file."),
    ("catalogue", "catalogue:catalogue", CONFIGURE, "Event types from the classes of your code."),
    ("event-types", "resources:event_types", CONFIGURE, "The catalogue: what can happen."),
    ("apps", "resources:apps", CONFIGURE, "The third parties: who receives events."),
    ("grants", "resources:grants", CONFIGURE, "What an app may hear of: event types and subjects."),
    ("endpoints", "resources:endpoints", CONFIGURE, "Target URLs, and how to speak to them."),
    ("profiles", "resources:profiles", CONFIGURE, "Presets of how a target is spoken to: github, wecom, …"),
    ("schedules", "resources:schedules", CONFIGURE, "Events that are published at certain times."),
    ("triggers", "resources:triggers", CONFIGURE, "What is watched elsewhere, such as tables, and becomes events."),
    ("expressions", "resources:expressions", CONFIGURE, "Try a filter, a transformation or a rule."),
    ("keys", "resources:keys", CONFIGURE, "API keys; and sealing anew under another master key."),
    ("tail", "tail:tail", LOOK, "Events and attempts as they come, a line each."),
    ("events", "resources:events", LOOK, "What was published."),
    ("attempts", "resources:attempts", LOOK, "What was tried, and what came of it."),
    ("deliveries", "resources:deliveries", LOOK, "What is still owed."),
    ("replay", "replay:replay", LOOK, "Send past events to an endpoint again, and watch."),
    ("replays", "resources:replays", LOOK, "Past events that are sent again, in the background."),
    ("audit", "resources:audit", LOOK, "Who changed or revealed what."),
)

app = cyclopts.App(
    name="posthouse",
    help="Webhook delivery for open platforms: durable, signed, at once, again until confirmed.",
    version=__version__,
    help_format="plaintext",  # Markdown would take a third of the start-up, for texts that hold none
)
for _name, _where, _group, _help in COMMANDS:
    app.command(f"posthouse.cli.{_where}", name=_name, group=_group, help=_help)
app.command("posthouse.cli.completion:completion", name="completion", help="Print the completion script of a shell.")
app.command(
    "posthouse.cli.completion:install_completion",
    name="--install-completion",
    help="Let your shell complete posthouse's commands.",
)


def exit_code(error: Exception | None) -> int:
    """That of the class of what went wrong, or else of the nearest one above it that has one."""
    return next((EXIT_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in EXIT_CODES), 1)


def main() -> None:
    """Run a command and end the process with its exit code."""
    try:
        code = _run()
        for stream in _streams():
            stream.flush()  # here it can still be said that something was not written; as the interpreter ends it cannot
    except BrokenPipeError:
        if not any(map(_has_no_reader, _streams())):
            raise  # it was another pipe, and that is a fault
        code = READER_GONE
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        print(f"posthouse: cannot write {error.filename or 'the output'}: {error.strerror}", file=sys.stderr)
        code = 1
        _to_nowhere(sys.stdout)
    for stream in filter(_has_no_reader, _streams()):
        _to_nowhere(stream)
    sys.exit(code)


def tell_all_of(words: Sequence[str]) -> None:
    """Let the help of the command that these words name be its docstring up to the parameters, with its paragraphs as wide as
    the terminal: what COMMANDS says is for the list."""
    command = app
    for word in words:
        if word.startswith("-") or word not in command:
            break
        command = command[word]
    if command is not app and command.default_command is not None:
        text = inspect.cleandoc(command.default_command.__doc__ or "").partition("\nParameters\n")[0]
        command.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in text.split("\n\n"))


def _run() -> int:
    """Run a command: its exit code. What went wrong is told. Raises BrokenPipeError."""
    from cyclopts.exceptions import CycloptsError

    from posthouse.domain.errors import PosthouseError

    try:
        try:
            tell_all_of(sys.argv[1:])
            if chinese_wanted():
                from posthouse.cli.texts.help import ChineseHelp

                app.help_formatter = ChineseHelp()
            result = app(print_error=False, exit_on_error=False, result_action="return_value")
        except CycloptsError as error:
            from posthouse.cli.usage import told

            raise told(error) from None
    except PosthouseError as error:
        print(f"posthouse: {error}", file=sys.stderr)
        for step in getattr(error, "__notes__", ()):
            print(f"  {step}", file=sys.stderr)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):
            return READER_GONE  # rich ends the program by itself, with 1
        raise
    return result if isinstance(result, int) else 0


def _streams() -> list[TextIO]:
    """Standard output and error, as far as they are open."""
    return [stream for stream in (sys.stdout, sys.stderr) if stream is not None]


def _has_no_reader(stream: TextIO) -> bool:
    """Whether it is a pipe whose other end is closed, as after `| head -1`."""
    if sys.platform == "win32":
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def _to_nowhere(stream: TextIO) -> None:
    """What is left in its buffer is written as the interpreter ends, where it can no longer fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


if __name__ == "__main__":
    main()
