"""The reference, generated from the code in both languages: settings, HTTP API, command line, errors, metrics, limits and
profiles.

    python -m docs.generate            writes docs/{en,zh}/reference/*.md
    python -m docs.generate --check    says which of them are not up to date; exit code 1 if any is

The English texts stand in the code; docs/texts holds the headings of both languages and the Chinese texts.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

import yaml
from docs.http_page import http_page
from docs.profiles_page import profiles_page
from docs.text import LANGUAGES, Texts, table
from prometheus_client import Metric

from posthouse.adapters.system.series import CACHES, COUNTERS, GAUGES
from posthouse.adapters.system.telemetry import PrometheusTelemetry
from posthouse.api.problems import status_of
from posthouse.api.texts.catalogue import chinese
from posthouse.cli.reference import HEAD, reference
from posthouse.cli.texts.catalogue import in_chinese
from posthouse.config import Settings
from posthouse.domain import errors, limits
from posthouse.domain.cache_use import CacheFacts
from posthouse.domain.callback import (
    ACK_FAILED,
    CONFIRMED,
    GONE,
    HTTP_STATUS,
    NOT_ACKNOWLEDGED,
    REDIRECT,
    RULE_DISABLE,
    RULE_GIVE_UP,
    RULE_RETRY,
)
from posthouse.domain.delivery import OwedReason
from posthouse.domain.exchange import Fault
from posthouse.domain.platform_routes import PLATFORM_ROUTE
from posthouse.manage.explain import Reason
from posthouse.send.ending import EXPIRED, FILTER_FAILED, FILTERED, REVOKED
from posthouse.send.outcomes import CANCELLED
from posthouse.wire.transforming import NO_URL, TRANSFORM_FAILED

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "src" / "posthouse"


@cache
def pages(language: str) -> dict[str, str]:
    """The pages of one language: file name to text."""
    texts = Texts(yaml.safe_load((ROOT / "docs" / "texts" / f"{language}.yaml").read_text("utf-8")))
    made = {
        "settings.md": settings_page(texts),
        "http-api.md": http_page(texts),
        "cli.md": cli_page(texts),
        "errors.md": errors_page(texts),
        "metrics.md": metrics_page(texts),
        "limits.md": limits_page(texts),
        "profiles.md": profiles_page(texts),
    }
    return {name: f"<!-- {texts['generated']} -->\n\n{text.rstrip()}\n" for name, text in made.items()}


def stale() -> Iterator[tuple[Path, str]]:
    """The pages that are not as they should be, each with its text."""
    for language in LANGUAGES:
        for name, text in pages(language).items():
            path = ROOT / "docs" / language / "reference" / name
            if not path.exists() or path.read_text("utf-8") != text:
                yield path, text


# Settings


def settings_page(texts: Texts) -> str:
    """Every field of `Settings`, with its variable, flag, default and meaning."""
    flags = serve_flags((SOURCES / "cli" / "serve.py").read_text("utf-8"))
    rows = []
    for name, field in Settings.model_fields.items():
        flag = flags.get(name)
        default = field.get_default(call_default_factory=True)
        rows.append(
            (
                f"`POSTHOUSE_{name.upper()}`",
                "" if flag is None else f"`{flag}`",
                f"`{shown(name, default)}`" if default not in (None, (), {}, "") else texts["settings"]["none"],
                texts.meaning("settings", name, field.description),
            )
        )
    return texts.page("settings", table(texts["settings"]["columns"], rows))


def serve_flags(source: str) -> dict[str, str]:
    """Setting to flag: which parameter of `serve` goes into which argument of `config.load`."""
    module = ast.parse(source)
    serve = next(node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == "serve")
    parameters = {argument.arg for argument in serve.args.kwonlyargs}
    load = next(
        node
        for node in ast.walk(serve)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load"
    )
    flags = {}
    for keyword in load.keywords:
        names = [node.id for node in ast.walk(keyword.value) if isinstance(node, ast.Name) and node.id in parameters]
        if keyword.arg is not None and names:
            flags[keyword.arg] = "--" + names[0].replace("_", "-")
    return flags


def shown(name: str, value: object) -> str:
    """A value as a person writes it: bytes in KiB or MiB, other numbers with separators."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, int | float):
        return str(value)
    if "bytes" in name.lower() and value >= 1024 and value % 1024 == 0:
        return f"{value // (1024 * 1024)} MiB" if value % (1024 * 1024) == 0 else f"{value // 1024} KiB"
    return str(value) if name == "port" else f"{value:,g}" if isinstance(value, float) else f"{value:,}"


# Command line


def cli_page(texts: Texts) -> str:
    """What the commands say of themselves, below a heading of ours."""
    body = reference(str if texts["language"] == "en" else in_chinese).removeprefix(HEAD)
    return texts.page("cli", body.replace("| | |", f"| {' | '.join(texts['cli']['columns'])} |").strip())


# Errors


def errors_page(texts: Texts) -> str:
    """Codes of problems with their statuses, and the reasons of attempts."""
    told = str if texts["language"] == "en" else chinese().message
    rows = [
        (f"`{code}`", str(status), texts.meaning("problems", code, message, optional=True) or told(message))
        for code, (status, message) in sorted(problem_codes().items())
    ]
    reasons = [(f"`{reason}`", texts.meaning("reasons", reason, None)) for reason in attempt_reasons()]
    return texts.page(
        "errors",
        table(texts["errors"]["columns"], rows),
        f"## {texts['errors']['reasons_title']}",
        texts["errors"]["reasons_intro"].strip(),
        table(texts["errors"]["reasons_columns"], reasons),
        f"## {texts['errors']['owed_title']}",
        texts["errors"]["owed_intro"].strip(),
        table(texts["errors"]["reasons_columns"], _reasons(texts, "owed", OwedReason)),
        f"## {texts['errors']['routing_title']}",
        texts["errors"]["routing_intro"].strip(),
        table(texts["errors"]["reasons_columns"], _reasons(texts, "routing", Reason)),
    )


def _reasons(texts: Texts, kind: str, reasons: Iterable[StrEnum]) -> list[tuple[str, str]]:
    return [(f"`{reason.value}`", texts.meaning(kind, reason.value, None)) for reason in reasons]


def attempt_reasons() -> list[str]:
    """Why an attempt ended as it did."""
    faults = [fault.value for fault in Fault]
    judged = [NOT_ACKNOWLEDGED, ACK_FAILED, RULE_RETRY, RULE_GIVE_UP, RULE_DISABLE]
    unsent = [EXPIRED, CANCELLED, REVOKED, FILTERED, FILTER_FAILED, TRANSFORM_FAILED, NO_URL, PLATFORM_ROUTE]
    return [CONFIRMED, HTTP_STATUS, REDIRECT, GONE, *judged, *faults, *unsent]


@cache
def problem_codes() -> dict[str, tuple[int, str]]:
    """Every `code` that the API answers with: its status, and the first text that the code gives it.

    Codes are the literals given to the errors of `domain/errors.py`, and those of their classes.
    """
    kinds = {name: kind for name, kind in vars(errors).items() if isinstance(kind, type)}
    found: dict[str, tuple[int, str]] = {}
    modules = [ast.parse(path.read_text("utf-8")) for path in sorted(SOURCES.rglob("*.py"))]
    constants = {name: text for module in modules for name, text in _constants(module)}
    for module in modules:
        for node in ast.walk(module):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds):
                continue
            kind = kinds[node.func.id]
            given = [keyword.value for keyword in node.keywords if keyword.arg == "code"]
            match given:
                case [ast.Constant(value=code)]:
                    pass
                case [ast.Name(id=constant)]:
                    code = constants.get(constant)
                case _:
                    code = getattr(kind, "code", "invalid")
            if isinstance(code, str) and code not in ("error", "setup"):
                arguments: dict[str, Any] = {"code": code} if given else {}
                if any(keyword.arg == "retry_after" for keyword in node.keywords):
                    arguments["retry_after"] = 1
                error = kind("", **arguments)
                assert isinstance(error, errors.PosthouseError)
                message = _template(node.args[0]) if node.args else ""
                known = found.get(code)
                found[code] = (status_of(error), known[1] if known and known[1] else message)
    found = {code: entry for code, entry in found.items() if entry[0] != 500}
    for code, status, message in (
        ("route_not_found", 404, "there is no such route"),
        ("method_not_allowed", 405, "this route does not answer …"),
        ("internal_error", 500, "something went wrong on our side; it was logged"),
    ):
        found[code] = (status, message)
    return found


def _constants(module: ast.Module) -> Iterator[tuple[str, str]]:
    """The texts that a module names at its top."""
    for node in module.body:
        match node:
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.Constant(value=str() as text)):
                yield name, text


def _template(node: ast.expr) -> str:
    """A text in the source with … where values go."""
    match node:
        case ast.Constant(value=str() as text):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_template(part) for part in parts)
        case ast.BinOp(left=left, right=right):
            return _template(left) + _template(right)
        case _:
            return "…"


# Metrics


def metrics_page(texts: Texts) -> str:
    """Every series that `/metrics` exposes."""
    rows = []
    for family in metric_families():
        series = family.name + ("_total" if family.type == "counter" else "")
        labels = sorted({label for sample in family.samples for label in sample.labels if label != "le"})
        meaning = texts.meaning("metrics", family.name.removeprefix("posthouse_"), family.documentation)
        rows.append(
            (f"`{series}`", texts["metrics"]["types"][family.type], ", ".join(f"`{name}`" for name in labels), meaning)
        )
    return texts.page("metrics", table(texts["metrics"]["columns"], rows))


def metric_families() -> list[Metric]:
    """What a server's registry collects: every gauge, counter and cache is one that a server watches (a test holds that)."""
    telemetry = PrometheusTelemetry()
    for name in (*GAUGES, *COUNTERS):
        telemetry.watch(name, lambda: 0.0)
    for name in CACHES:
        telemetry.watch_cache(name, lambda: CacheFacts(0, 0, 0))
    telemetry.attempt("failed", "http_status", "live", 0.1)
    return list(telemetry.collect())


# Limits


def limits_page(texts: Texts) -> str:
    """Every bound of `domain/limits.py`, by its section, with the setting that changes it where there is one."""
    source = (SOURCES / "domain" / "limits.py").read_text("utf-8")
    parts = []
    for section, names in limit_sections(source):
        rows = []
        for name, note in names:
            value = f"`{shown(name, getattr(limits, name))}`"
            meaning = texts.meaning("limits", name, note or None, optional=True)
            rows.append((f"`{name}`", value, setting_of(name), meaning))
        parts += [f"## {texts['limits']['sections'].get(section, section)}", table(texts["limits"]["columns"], rows)]
    return texts.page("limits", *parts)


def limit_sections(source: str) -> list[tuple[str, list[tuple[str, str]]]]:
    """Section comments, each with its constants and what the source says of them (a comment behind, or a docstring)."""
    lines = source.splitlines()
    sections: list[tuple[str, list[tuple[str, str]]]] = []
    body = ast.parse(source).body
    for node, following in zip(body, [*body[1:], None], strict=True):
        if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
            continue
        heading = next((line for line in reversed(lines[: node.lineno - 1]) if line.startswith("# ")), "# ")
        if not sections or sections[-1][0] != heading[2:]:
            sections.append((heading[2:], []))
        _, _, note = lines[(node.end_lineno or node.lineno) - 1].partition("  # ")
        match following:
            case ast.Expr(value=ast.Constant(value=str() as text)):
                note = " ".join(text.split())
        sections[-1][1].append((node.target.id, note))
    return sections


def setting_of(name: str) -> str:
    """The setting whose default this limit is."""
    return ", ".join(f"`POSTHOUSE_{setting.upper()}`" for setting, limit in _setting_limits().items() if limit == name)


@cache
def _setting_limits() -> dict[str, str]:
    """Setting to limit, from `config.py`: `host: … = limits.HOST`."""
    found = {}
    for node in ast.walk(ast.parse((SOURCES / "config.py").read_text("utf-8"))):
        match node:
            case ast.AnnAssign(
                target=ast.Name(id=setting), value=ast.Attribute(value=ast.Name(id="limits"), attr=limit)
            ):
                found[setting] = limit
    return found


def main(words: Iterable[str]) -> int:
    """Write what is stale, or with `--check` only name it."""
    check = "--check" in words
    found: list[Any] = list(stale())
    for path, text in found:
        sys.stdout.write(f"{path.relative_to(ROOT)}\n")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if check and found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
