"""A copy of a world that works on its own: MLflow's addresses in it are absolute, and a copy of them is refused."""

import shutil
from pathlib import Path

from pipeline.cli.upkeep.locations import relocate


def copy_world(world: Path, folder: Path) -> None:
    """The same files, their times included, in `folder`, which is new."""
    shutil.copytree(world, folder)
    relocate(folder / "var" / "mlflow.db", world / "var", folder / "var")
