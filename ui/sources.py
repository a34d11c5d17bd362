"""The build of console and portal, seen from Python: what its types are made of, and whether what is committed is what its
sources make.

python -m ui.sources openapi          the API's OpenAPI document, to standard output
python -m ui.sources hash FOLDER      write into a built console what it was built from
python -m ui.sources compare FOLDER   is a build in this folder, byte for byte, the one that is committed?
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Final

UI: Final = Path(__file__).parent
BUILT: Final = UI.parent / "src" / "posthouse" / "console"
HASH_FILE: Final = "sources.sha256"
HOW: Final = "run `make ui` and commit src/posthouse/console"
_GENERATED: Final = "src/api/schema.d.ts"  # types alone: nothing of it is in what is built
_PAGES: Final = ("index.html", "portal.html")
_FILES: Final = (*_PAGES, "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts", "licences.ts")


def sources() -> Iterator[Path]:
    """What a build is made of, in order."""
    found = [UI / name for name in _FILES if (UI / name).is_file()]
    for folder in ("public", "src"):
        found += (path for path in (UI / folder).rglob("*") if path.is_file() and not path.name.startswith("."))
    yield from sorted(path for path in found if path.relative_to(UI).as_posix() != _GENERATED)


def sources_hash() -> str:
    """SHA-256 over the names and the contents of all sources, the lock file among them."""
    told = sha256()
    for path in sources():
        body = path.read_bytes()
        told.update(f"{path.relative_to(UI).as_posix()}\n{len(body)}\n".encode())
        told.update(body)
    return told.hexdigest()


def built_from(folder: Path = BUILT) -> str | None:
    """The hash of the sources that a built console says it was made of; None where there is none."""
    try:
        return (folder / HASH_FILE).read_text("ascii").strip()
    except FileNotFoundError:
        return None


def differences(folder: Path) -> list[str]:
    """In what a build differs from the one that is committed."""
    theirs, ours = _files(folder), _files(BUILT)
    told = [f"{name} is not committed" for name in sorted(theirs.keys() - ours.keys())]
    told += [f"{name} is committed, and no build makes it" for name in sorted(ours.keys() - theirs.keys())]
    return told + [
        f"{name} is another one" for name in sorted(theirs.keys() & ours.keys()) if theirs[name] != ours[name]
    ]


def _files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def main(command: str, *rest: str) -> int:
    match command, *rest:
        case ("openapi",):
            from docs.http_page import openapi_document

            print(json.dumps(openapi_document(), indent=1))
        case "hash", folder:
            (Path(folder) / HASH_FILE).write_text(f"{sources_hash()}\n", "ascii")
        case "compare", folder:
            told = differences(Path(folder))
            for line in told:
                print(f"src/posthouse/console: {line}", file=sys.stderr)
            if told:
                print(f"the console that is committed is not what its sources make: {HOW}", file=sys.stderr)
                return 1
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
