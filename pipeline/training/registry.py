"""The model registry: versions of the one registered model, the aliases champion and challenger, and a local copy of
the champion's artefact.

A version is a run's folder `model/`: `recipe.json` (what it is and what it knew) beside `artefact/` (what the model's
own `save` wrote). Nothing is unpickled.
"""

import json
import shutil
import tempfile
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from features.question import Question
from models import model_class
from models.base import Model
from models.spec import ModelSpec
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import folder_atomically
from pipeline.training.tracking import Run, Tracking

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
HISTORY = "reigns"  # tag of the registered model: the versions that were champion, oldest first, the present one last


@dataclass(frozen=True)
class Version:
    """A registered version. `trained_until` is the moment as of which its examples were labelled: it knows no later."""

    number: int
    spec: ModelSpec
    run_id: str
    trained_until: datetime
    question_digest: str

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def label(self) -> str:
        return f"version {self.number} ({self.name}, trained until {self.trained_until.date()})"


@dataclass(frozen=True)
class Registry:
    """The versions of the one registered model that answers `question` at its primary horizon."""

    tracking: Tracking
    question: Question

    @property
    def name(self) -> str:
        return f"recur-{self.question.primary}-days"

    def register(self, run: Run, model: Model, name: str, trained_until: datetime) -> Version:
        """Store the fitted `model` as an artifact of `run`, and make it a version with the alias challenger."""
        facts = {
            "recipe": name,
            "family": model.family,
            "trained_until": trained_until.isoformat(),
            "question_digest": self.question.digest,
            "parameters": json.dumps(model.parameters, sort_keys=True),
        }
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            (folder / "artefact").mkdir()
            model.save(folder / "artefact")
            (folder / "recipe.json").write_text(json.dumps(facts, indent=2), "utf-8")
            run.folder(folder, "model")
        if not run.client.search_registered_models(f"name = '{self.name}'"):
            description = f"Who churns within {self.question.primary} days?"
            run.client.create_registered_model(self.name, description=description)
        description = f"{name}, trained until {trained_until.date()}"
        made = run.client.create_model_version(
            self.name, f"runs:/{run.run_id}/model", run.run_id, tags=facts, description=description
        )
        run.client.set_registered_model_alias(self.name, CHALLENGER, made.version)
        return _version(made)

    def versions(self) -> list[Version]:
        """All versions, oldest first."""
        stored = self.tracking.client.search_model_versions(f"name = '{self.name}'")
        ours = (_version(version) for version in stored if "recipe" in version.tags)
        return sorted(ours, key=lambda version: version.number)

    def champion(self) -> Version | None:
        """The version that the alias champion names; None where nothing was promoted yet."""
        history = self.champion_history()
        return self.version(history[-1]) if history else None

    def version(self, number: int) -> Version:
        """Raises RecurError, which names those there are, where there is no such version."""
        versions = self.versions()
        for candidate in versions:
            if candidate.number == number:
                return candidate
        numbers = ", ".join(str(candidate.number) for candidate in versions) or "none yet: run `recur train` first"
        raise RecurError(f"{self.name} has no version {number}; it has {numbers}")

    def champion_history(self) -> list[int]:
        """The versions that were champion, oldest first; the last is what the alias champion names."""
        models = self.tracking.client.search_registered_models(f"name = '{self.name}'")
        if not models or CHAMPION not in models[0].aliases:
            return []
        present, history = int(models[0].aliases[CHAMPION]), json.loads(models[0].tags.get(HISTORY, "[]"))
        # The alias is the truth, since a person may have moved it in MLflow's own page.
        return history if history and history[-1] == present else [*history, present]

    def set_champion(self, number: int) -> None:
        """Make `number` the champion. The one before it is kept for `roll_back`."""
        self._write_history([*self.champion_history(), number])

    def roll_back(self) -> Version:
        """Make the champion before the present one champion again. Raises RecurError if there is none."""
        history = self.champion_history()
        if len(history) < 2:
            raise RecurError(f"{self.name} has no earlier champion: name a version with `recur promote`")
        self._write_history(history[:-1])
        return self.version(history[-2])

    def load(self, version: Version) -> Model:
        """The fitted model of `version`, from the local copy of its artefact, kept in memory by this process."""
        folder = self.tracking.state.path / "models" / version.run_id
        if not (folder / "recipe.json").exists():
            self._download(version, folder)
        return _load(folder)

    def _write_history(self, numbers: list[int]) -> None:
        mlflow = self.tracking.client
        mlflow.set_registered_model_alias(self.name, CHAMPION, str(numbers[-1]))
        mlflow.set_registered_model_tag(self.name, HISTORY, json.dumps(numbers))
        challenger = mlflow.get_registered_model(self.name).aliases.get(CHALLENGER)
        if challenger is not None and int(challenger) == numbers[-1]:
            mlflow.delete_registered_model_alias(self.name, CHALLENGER)

    def _download(self, version: Version, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        with folder_atomically(folder) as scratch:
            self.tracking.client.download_artifacts(version.run_id, "model", str(scratch))
            for item in (scratch / "model").iterdir():
                item.rename(scratch / item.name)
            (scratch / "model").rmdir()


def open_registry(settings: Settings) -> Registry:
    return Registry(Tracking(settings.mlflow, settings.state), settings.question)


@lru_cache(maxsize=2)
def _load(folder: Path) -> Model:
    recipe = json.loads((folder / "recipe.json").read_text("utf-8"))["recipe"]
    return model_class(recipe).load(folder / "artefact")


def _version(version: "ModelVersion") -> Version:
    tags = version.tags
    assert version.run_id is not None  # `register` names it
    return Version(
        number=int(version.version),
        spec=ModelSpec(tags["recipe"], json.loads(tags["parameters"])),
        run_id=version.run_id,
        trained_until=datetime.fromisoformat(tags["trained_until"]),
        question_digest=tags["question_digest"],
    )
