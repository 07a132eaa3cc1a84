"""What every benchmark writes, in one form."""

import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "results"
PACKAGES = ("duckdb", "ibis-framework", "keras", "lightgbm", "numpy", "pandas", "pyarrow", "tensorflow")


def read(name: str) -> dict[str, Any]:
    """The result file of an earlier run; empty where there is none."""
    file = FOLDER / f"{name}.json"
    return dict(json.loads(file.read_text("utf-8"))) if file.exists() else {}


def write(
    name: str,
    sizes: dict[str, int],
    figures: dict[str, float],
    peers: dict[str, dict[str, float]],
    ratios: dict[str, float],
    others: dict[str, str] | None = None,
    more: dict[str, Any] | None = None,
) -> Path:
    """Writes `benchmarks/results/NAME.json` and prints its figures and ratios. `others` are versions of peers, `more`
    stands beside the promised keys.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found: dict[str, Any] = {
        "name": name,
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "memory_bytes": memory, "processor": platform.machine()},
        "versions": {"python": platform.python_version()} | {each: version(each) for each in PACKAGES} | (others or {}),
        "sizes": sizes,
        "figures": figures,
        "peers": peers,
        "ratios": ratios,
    } | (more or {})
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.json"
    file.write_text(json.dumps(found, indent=2) + "\n")
    for kind in (figures, ratios):
        print("\n".join(f"{key}: {value:,.4g}" for key, value in kind.items()))
    print(f"written to {file}")
    return file
