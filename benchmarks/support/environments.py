"""Environments of their own for peers whose packages do not go with this project's."""

import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[2] / "var" / "benchmarks"


def environment(name: str, packages: list[str]) -> str | None:
    """The interpreter of an environment with `packages`, made on the first call and kept under `var/`; None, with a
    word about why, where they cannot be installed.
    """
    folder = FOLDER / name
    python, ready = folder / "bin" / "python", folder / "ready"
    if ready.exists():
        return str(python)
    print(f"{name}: installing {', '.join(packages)} into {folder}", flush=True)
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(folder)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            words = (done.stderr or done.stdout).strip().splitlines()
            print(f"{name}: cannot be installed: {words[-1] if words else 'no reason given'}", flush=True)
            return None
    ready.touch()
    return str(python)


def versions(python: str, packages: list[str]) -> dict[str, str]:
    """The versions of `packages`, given as requirements, in the environment of an interpreter."""
    names = [package.split("=")[0].split("<")[0] for package in packages]
    show = "import sys; from importlib.metadata import version; print(*(version(name) for name in sys.argv[1:]))"
    told = subprocess.run([python, "-c", show, *names], capture_output=True, text=True, check=True).stdout
    return dict(zip(names, told.split(), strict=True))
