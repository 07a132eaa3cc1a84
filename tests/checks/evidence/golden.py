"""The bytes that two small worlds leave behind, against those of 2026-11: what is arithmetic on integers or a single
operation on floats is the same on every machine, whatever the code is rewritten to. `tests/fixtures/golden.json` is
written anew by `python -m tests.checks.evidence.golden`, after a change that is meant to move them and says so.
"""

import json
import subprocess
import sys
import tempfile

from tests.support.plain_reading import ROOT
from tests.support.worlds.golden import PORTABLE

DIGESTS = ROOT / "tests" / "fixtures" / "golden.json"


def main() -> bool:
    kept, found = json.loads(DIGESTS.read_text("utf-8")), _digests()
    moved = [
        f"{world}: {name}" for world in kept for name in kept[world] if kept[world][name] != found[world].get(name)
    ]
    print("\n".join(f"moved: {name}" for name in moved) or f"{sum(map(len, kept.values()))} digests as they were")
    return not moved


def _digests() -> dict[str, dict[str, str]]:
    with tempfile.TemporaryDirectory() as scratch:
        program = [sys.executable, "-m", "tests.support.worlds.golden", scratch]
        worlds = json.loads(subprocess.run(program, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout)
    return {world: _portable(digests) for world, digests in worlds.items()}


def _portable(digests: dict[str, str]) -> dict[str, str]:
    return {name: digest for name, digest in digests.items() if name.split()[0] in PORTABLE}


if __name__ == "__main__":
    DIGESTS.write_text(json.dumps(_digests(), indent=1) + "\n", "utf-8")
