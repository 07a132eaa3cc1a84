"""`recur restore`: the state of a backup, put where a configuration that has none yet keeps its own.

Everything is copied and verified beside its place first, and then renamed into it; a restore that was killed is taken
up again. What lay in MLflow's database as the backup's folder becomes this one.
"""

import shutil
from pathlib import Path
from typing import Any

from pipeline.cli.upkeep.backup import CONTENTS, FORMAT, LEFT_OUT, MLFLOW, VAR, Stores, digest_while_copying
from pipeline.cli.upkeep.locations import relocate
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.sealed import DamagedError, read_sealed
from pipeline.training.tracking import ANYWHERE

STAGING = ".restoring"


def restore(settings: Settings, folder: Path) -> dict[str, Any]:
    """Puts the backup in `folder` into the stores of the configuration; gives what its `backup.json` says. Raises
    RecurError where it is no whole backup, where a file of it is damaged, and where the stores hold something already.
    """
    folder, stores = folder.resolve(), Stores.of(settings)
    content = read_contents(folder)
    with settings.state.writing(alone=True):
        staged = {name: path.with_name(f"{STAGING}.{path.name}") for name, path in stores.paths.items()}
        staged[VAR] = settings.var / STAGING
        if not (staged[VAR] / CONTENTS).exists():  # else a restore was killed while it renamed
            _require_nothing(stores)
            _stage(folder, content, stores, staged)
        for name, path in stores.paths.items():
            if name != VAR and staged[name].exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.is_dir():
                    path.rmdir()
                staged[name].rename(path)
        for item in sorted(staged[VAR].iterdir()):
            if item.name != CONTENTS:
                _remove(settings.var / item.name)  # secrets that a command made meanwhile
                item.rename(settings.var / item.name)
        shutil.rmtree(staged[VAR])
    return content


def read_contents(folder: Path) -> dict[str, Any]:
    """What `backup.json` in `folder` says. Raises RecurError where it is no backup, or one that was not finished."""
    try:
        return read_sealed(folder / CONTENTS, FORMAT)
    except FileNotFoundError:
        raise RecurError(
            f"{folder} is no backup, or one that was broken off: it has no {CONTENTS}; name the folder of another"
        ) from None
    except DamagedError as error:
        raise RecurError(f"{error}: name the folder of another backup") from None


def _stage(folder: Path, content: dict[str, Any], stores: Stores, staged: dict[str, Path]) -> None:
    """Every file beside its place, verified while it is copied."""
    for path in staged.values():
        _remove(path)
    staged[VAR].mkdir(parents=True)
    for name, expected in content["files"].items():
        store, _, below = name.partition("/")
        if store not in staged:
            raise RecurError(
                f"the backup holds {name}, but the configuration keeps that elsewhere ({'; '.join(stores.elsewhere)}): "
                "restore it with addresses like those of the backup"
            )
        try:
            copied = digest_while_copying(folder / name, staged[store] / below if below else staged[store])
        except FileNotFoundError:
            raise RecurError(f"{folder / name} is missing: the backup is damaged; restore another one") from None
        if (copied.size, copied.sha256) != (expected["size"], expected["sha256"]):
            raise RecurError(f"{folder / name} is damaged: it does not hold what was written; restore another backup")
    if staged.get(MLFLOW, Path()).is_file():
        relocate(staged[MLFLOW], ANYWHERE, stores.paths[VAR])
    digest_while_copying(folder / CONTENTS, staged[VAR] / CONTENTS)


def _require_nothing(stores: Stores) -> None:
    """Raises RecurError where a store holds something."""
    for name, path in stores.paths.items():
        items = [path] if path.is_file() else sorted(path.iterdir()) if path.is_dir() else []
        for item in items:
            if not (name == VAR and item.name in (*LEFT_OUT, "secrets")) and not item.name.startswith(STAGING):
                raise RecurError(
                    f"{item} is there: a backup is restored where there is no state yet; move it away, or restore with "
                    "another configuration (--config)"
                )


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
