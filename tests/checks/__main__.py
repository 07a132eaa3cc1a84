"""Runs the named checks, or all of them, and exits with 1 where one falls short."""

import sys
from importlib import import_module
from pathlib import Path


def main(names: list[str]) -> int:
    files = {file.stem.replace("_", "-"): file for file in Path(__file__).parent.glob("*/[a-z]*.py")}
    known = sorted(files)
    if unknown := [name for name in names if name not in known]:
        print(f"check: there is no check {unknown[0]}: choose among {', '.join(known)}", file=sys.stderr)
        return 2
    held = True
    for name in names or known:
        print(f"== {name}", flush=True)
        holds = import_module(f"tests.checks.{files[name].parent.name}.{files[name].stem}").main()
        print(f"== {name}: {'holds' if holds else 'FALLS SHORT'}", flush=True)
        held = held and holds
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
