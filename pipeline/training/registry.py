"""The model registry: versions of the one registered model, the aliases champion and challenger, and a local copy of
the champion's artefact.

A version is a run's folder `model/`: `recipe.json` (what it is and what it knew) beside `artefact/` (what the model's
own `save` wrote). Nothing is unpickled.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models import model_class
from models.base import Model
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import folder_atomically
from pipeline.training import tracking

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
REIGNS = "reigns"  # tag of the registered model: the versions that were champion, oldest first, the present one last


@dataclass(frozen=True)
class Version:
    """A registered version. `trained_until` is the moment as of which its examples were labelled: it knows no later."""

    number: int
    recipe: str
    run_id: str
    trained_until: datetime
    question_digest: str
    parameters: Mapping[str, Any]

    @property
    def label(self) -> str:
        return f"version {self.number} ({self.recipe}, trained until {self.trained_until.date()})"


def registered_name(settings: Settings) -> str:
    return f"recur-{settings.question.primary}-days"


def register(settings: Settings, run: tracking.Run, model: Model, recipe: str, trained_until: datetime) -> Version:
    """Store the fitted `model` as an artifact of `run`, and make it a version with the alias challenger."""
    facts = {
        "recipe": recipe,
        "family": model.family,
        "trained_until": trained_until.isoformat(),
        "question_digest": settings.question.digest,
        "parameters": json.dumps(model.parameters, sort_keys=True),
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "artefact").mkdir()
        model.save(folder / "artefact")
        (folder / "recipe.json").write_text(json.dumps(facts, indent=2), "utf-8")
        run.folder(folder, "model")
    name = registered_name(settings)
    if not run.client.search_registered_models(f"name = '{name}'"):
        run.client.create_registered_model(name, description=f"Who churns within {settings.question.primary} days?")
    described = f"{recipe}, trained until {trained_until.date()}"
    made = run.client.create_model_version(
        name, f"runs:/{run.run_id}/model", run.run_id, tags=facts, description=described
    )
    run.client.set_registered_model_alias(name, CHALLENGER, made.version)
    return _version(made)


def versions(settings: Settings) -> list[Version]:
    """All versions, oldest first."""
    found = tracking.client(settings).search_model_versions(f"name = '{registered_name(settings)}'")
    ours = (_version(version) for version in found if "recipe" in version.tags)
    return sorted(ours, key=lambda version: version.number)


def champion(settings: Settings) -> Version | None:
    """The version that the alias champion names; None where nothing was promoted yet."""
    reigning = reigns(settings)
    return version(settings, reigning[-1]) if reigning else None


def version(settings: Settings, number: int) -> Version:
    """Raises RecurError, which names those there are, where there is no such version."""
    known = versions(settings)
    for candidate in known:
        if candidate.number == number:
            return candidate
    there = ", ".join(str(candidate.number) for candidate in known) or "none yet: run `recur train` first"
    raise RecurError(f"{registered_name(settings)} has no version {number}; it has {there}")


def reigns(settings: Settings) -> list[int]:
    """The versions that were champion, oldest first; the last is what the alias champion names."""
    models = tracking.client(settings).search_registered_models(f"name = '{registered_name(settings)}'")
    if not models or CHAMPION not in models[0].aliases:
        return []
    present, earlier = int(models[0].aliases[CHAMPION]), json.loads(models[0].tags.get(REIGNS, "[]"))
    # The alias is the truth, since a person may have moved it in MLflow's own page.
    return earlier if earlier and earlier[-1] == present else [*earlier, present]


def crown(settings: Settings, number: int) -> None:
    """Make `number` the champion. The one before it stays known for `uncrown`."""
    _write_reigns(settings, [*reigns(settings), number])


def uncrown(settings: Settings) -> int:
    """Make the champion before the present one champion again; gives its number. Raises RecurError if there is none."""
    known = reigns(settings)
    if len(known) < 2:
        raise RecurError(f"{registered_name(settings)} has no earlier champion: name a version with `recur promote`")
    _write_reigns(settings, known[:-1])
    return known[-2]


def load(settings: Settings, version: Version) -> Model:
    """The fitted model of `version`, from the local copy of its artefact, kept in memory by this process."""
    folder = settings.var / "models" / version.run_id
    if not (folder / "recipe.json").exists():
        _download(settings, version, folder)
    return _load(folder)


def _write_reigns(settings: Settings, numbers: list[int]) -> None:
    mlflow, name = tracking.client(settings), registered_name(settings)
    mlflow.set_registered_model_alias(name, CHAMPION, str(numbers[-1]))
    mlflow.set_registered_model_tag(name, REIGNS, json.dumps(numbers))
    challenger = mlflow.get_registered_model(name).aliases.get(CHALLENGER)
    if challenger is not None and int(challenger) == numbers[-1]:
        mlflow.delete_registered_model_alias(name, CHALLENGER)


def _download(settings: Settings, version: Version, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    with folder_atomically(folder) as scratch:
        tracking.client(settings).download_artifacts(version.run_id, "model", str(scratch))
        for one in (scratch / "model").iterdir():
            one.rename(scratch / one.name)
        (scratch / "model").rmdir()


@lru_cache(maxsize=2)
def _load(folder: Path) -> Model:
    recipe = json.loads((folder / "recipe.json").read_text("utf-8"))["recipe"]
    return model_class(recipe).load(folder / "artefact")


def _version(version: "ModelVersion") -> Version:
    tags = version.tags
    assert version.run_id is not None  # `register` names it
    return Version(
        number=int(version.version),
        recipe=tags["recipe"],
        run_id=version.run_id,
        trained_until=datetime.fromisoformat(tags["trained_until"]),
        question_digest=tags["question_digest"],
        parameters=json.loads(tags["parameters"]),
    )
