"""Runs the named benchmark with its own arguments, or all of them without: `feature-build --events 2000000`."""

import sys
from importlib import import_module
from pathlib import Path

SHARED = ("environments", "journey", "peers", "results", "torch-gru")  # what benchmarks share


def main(arguments: list[str]) -> int:
    known = sorted(file.stem.replace("_", "-") for file in Path(__file__).parent.glob("[a-z]*.py"))
    known = [name for name in known if name not in SHARED]
    names = [argument for argument in arguments[:1] if not argument.startswith("-")]
    if unknown := [name for name in names if name not in known]:
        print(f"bench: there is no benchmark {unknown[0]}: choose among {', '.join(known)}", file=sys.stderr)
        return 2
    for name in names or known:
        print(f"== {name}", flush=True)
        import_module(f"benchmarks.{name.replace('-', '_')}").main(arguments[len(names) :])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
