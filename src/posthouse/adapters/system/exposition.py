"""Several scrapes made one: the texts of processes that share a port, told apart by a label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LABEL: Final = "worker"
UP: Final = "posthouse_worker_up"
_UP_HELP: Final = "Whether this worker answered the scrape of its sibling."


def merged(texts: Mapping[int, bytes | None]) -> bytes:
    """One text in Prometheus's format of those of several workers by number, each series with the label `worker`.

    The texts are `prometheus_client`'s. None stands for a worker that gave no answer: its series are left out, and
    `posthouse_worker_up` says so.
    """
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for number, text in sorted(texts.items()):
        family = ""
        for line in (text or b"").decode().splitlines():
            if line.startswith("# "):
                family = line.split(" ", 3)[2]
                head = heads.setdefault(family, [])
                if line not in head and len(head) < 2:
                    head.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, number))
    heads[UP] = [f"# HELP {UP} {_UP_HELP}", f"# TYPE {UP} gauge"]
    samples[UP] = [f'{UP}{{{LABEL}="{number}"}} {float(text is not None)}' for number, text in sorted(texts.items())]
    lines = [line for family, head in heads.items() for line in (*head, *samples.get(family, ()))]
    return ("\n".join(lines) + "\n").encode()


def _labelled(sample: str, number: int) -> str:
    name, brace, rest = sample.partition("{")
    if brace:
        return f'{name}{{{LABEL}="{number}",{rest}'
    name, _, value = sample.partition(" ")
    return f'{name}{{{LABEL}="{number}"}} {value}'
