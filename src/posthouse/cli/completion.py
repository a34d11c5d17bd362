"""`posthouse completion` and `posthouse --install-completion`."""

from __future__ import annotations

from typing import Literal

from posthouse.cli.output import note
from posthouse.domain.errors import SetupError

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Shell, /) -> None:
    """Print the completion script of a shell; to try it: source <(posthouse completion bash).

    Parameters
    ----------
    shell
        The shell.
    """
    from posthouse.cli.main import app

    print(app.generate_completion(shell=shell))


def install_completion(*, shell: Shell | None = None) -> None:
    """Put the completion script where your shell looks for it, and let the shell load it.

    Parameters
    ----------
    shell
        The shell; by default the one that this runs in.
    """
    from cyclopts.completion.detect import ShellDetectionError

    from posthouse.cli.main import app

    try:
        written = app.install_completion(shell=shell)
    except ShellDetectionError:
        raise SetupError("which shell? Give --shell bash, zsh or fish") from None
    note(f"wrote {written}; it works in the next shell you open")
