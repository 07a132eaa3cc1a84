"""The model registry: versions of the one registered model, the aliases champion and challenger, and a local copy of
each version that served.

A version is a run's folder `model/`, the artefact of `artefact.py`. What a version is and what it knew is read there;
MLflow's tags say the same to a person who looks at its page, and nothing here believes them.
"""

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from features.question import Question
from models.base import Model
from models.spec import ModelSpec
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import folder_atomically
from pipeline.training.artefact import RECIPE, RUN_ID, digest_of, faults, load_model, read_facts, write_artefact
from pipeline.training.pyfunc.flavour import write_flavour
from pipeline.training.snapshot import Snapshot
from pipeline.training.tracking import Run, Tracking

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST = "recipe_digest"  # tag of a version: that of its recipe, by which a damaged one is noticed
HISTORY = "reigns"  # tag of the registered model: the versions that were champion, oldest first, the present one last
_FIX = "restore it from a backup, or go back with `recur rollback`"


@dataclass(frozen=True)
class Version:
    """A registered version. `trained_until` is the moment as of which its examples were labelled: it knows no later."""

    number: int
    spec: ModelSpec
    run_id: str
    trained_until: datetime
    question_digest: str
    recipe_digest: str = ""

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

    def register(self, run: Run, model: Model, name: str, snapshot: Snapshot) -> Version:
        """Store the `model`, fitted on `snapshot`, as an artifact of `run`, and make it a version with the alias
        challenger.
        """
        trained_until = snapshot.cutoff
        facts = {
            "recipe": name,
            "family": model.family,
            "trained_until": trained_until.isoformat(),
            "question_digest": self.question.digest,
            "parameters": json.dumps(model.parameters, sort_keys=True),
        }
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            write_flavour(folder, model, self.question, snapshot.data, run.run_id)
            recipe_digest = write_artefact(folder, model, facts)
            run.folder(folder, "model")
        if not run.client.search_registered_models(f"name = '{self.name}'"):
            description = f"Who churns within {self.question.primary} days?"
            run.client.create_registered_model(self.name, description=description)
        description = self._description(run, name, model.family, trained_until)
        made = run.client.create_model_version(
            self.name,
            f"runs:/{run.run_id}/model",
            run.run_id,
            tags={**facts, DIGEST: recipe_digest},
            description=description,
        )
        run.client.set_registered_model_alias(self.name, CHALLENGER, made.version)
        return _version(int(made.version), run.run_id, facts, recipe_digest)

    def _description(self, run: Run, name: str, family: str, trained_until: datetime) -> str:
        """What a version is, in Markdown, for a person who opens its page."""
        horizons = " and ".join(f"{each} days" for each in self.question.horizons)
        measured = run.client.get_run(run.run_id).data.metrics
        examples = f" on {measured['examples']:,.0f} examples" if "examples" in measured else ""
        return (
            f"**{name}** ({family}), trained{examples} with what was known at {trained_until.date()}.\n\n"
            f"It predicts, for each customer who is eligible, the probability of churn within {horizons}; versions are "
            f"compared on {self.question.primary} days. How it did beside the others stands in the report of its "
            "parent run.\n\n"
            "`recur score` and the nightly job score with the version that has the alias `champion`; "
            f"`recur promote {name}` and `recur rollback` move it."
        )

    def numbers(self) -> list[int]:
        """The versions that this pipeline registered, ascending."""
        return sorted(self._registered())

    def champion(self) -> Version | None:
        """The version that the alias champion names; None where nothing was promoted yet."""
        history = self.champion_history()
        return self.version(history[-1]) if history else None

    def version(self, number: int) -> Version:
        """As its artefact describes it. Raises RecurError where there is no such version, naming those there are, and
        where its artefact is not the one that was registered.
        """
        registered = self._registered()
        if number not in registered:
            numbers = ", ".join(map(str, sorted(registered))) or "none yet: run `recur train` first"
            raise RecurError(f"{self.name} has no version {number}; it has {numbers}")
        run_id, expected = registered[number].run_id or "", registered[number].tags.get(DIGEST, "")
        self._require_run_id(number, run_id)
        local, what = self._folder(run_id), f"version {number} of {self.name}"
        if (present := digest_of(local)) and present == (expected or present):
            return _version(number, run_id, read_facts(local, what), present)
        with tempfile.TemporaryDirectory() as scratch:
            folder = self._fetch(what, run_id, f"model/{RECIPE}", Path(scratch)).parent
            if expected not in ("", digest_of(folder)):
                raise RecurError(f"{what}: the {RECIPE} of its run {run_id} is not the one that was registered: {_FIX}")
            return _version(number, run_id, read_facts(folder, what), digest_of(folder))

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
        earlier = self.version(history[-2])
        self._write_history(history[:-1])
        return earlier

    def load(self, version: Version) -> Model:
        """The fitted model of `version`, from the local copy of its artefact, kept in memory by this process. A copy
        that is absent or damaged is fetched again. Raises RecurError where what is fetched is not what was registered.
        """
        self._require_run_id(version.number, version.run_id)
        folder = self._folder(version.run_id)
        if not _is_whole(folder, version):
            self._download(version, folder)
        return load_model(folder, version.recipe_digest)

    def verify(self, version: Version) -> None:
        """Fetches the whole artefact of `version`. Raises RecurError where it is not what was registered."""
        with tempfile.TemporaryDirectory() as scratch:
            self._fetch_whole(version, Path(scratch))

    def damaged_copy(self, version: Version) -> Path | None:
        """The local copy of the artefact of `version` where it is there and not what was registered."""
        folder = self._folder(version.run_id)
        return folder if folder.exists() and not _is_whole(folder, version) else None

    def _folder(self, run_id: str) -> Path:
        return self.tracking.state.path / "models" / run_id

    def _registered(self) -> "dict[int, ModelVersion]":
        stored = self.tracking.client.search_model_versions(f"name = '{self.name}'")
        return {int(version.version): version for version in stored if "recipe" in version.tags}

    def _require_run_id(self, number: int, run_id: str) -> None:
        """Raises RecurError where `run_id`, which becomes a folder's name, is none that MLflow gives."""
        if not RUN_ID.fullmatch(run_id):
            raise RecurError(
                f"version {number} of {self.name} names the run {run_id[:80]!r}, which is no run's id: somebody else "
                "registered it; delete it in MLflow, or promote another version with `recur promote VERSION`"
            )

    def _fetch(self, what: str, run_id: str, name: str, scratch: Path) -> Path:
        """Downloads `name` of the run's artifacts below `scratch`; gives where it is."""
        from mlflow.exceptions import MlflowException

        try:
            return Path(self.tracking.client.download_artifacts(run_id, name, str(scratch)))
        except (OSError, MlflowException) as error:
            reason = " ".join(str(error).split())[:200]
            raise RecurError(f"{what}: the artifacts of its run {run_id} cannot be read ({reason}): {_FIX}") from None

    def _write_history(self, numbers: list[int]) -> None:
        mlflow = self.tracking.client
        mlflow.set_registered_model_alias(self.name, CHAMPION, str(numbers[-1]))
        mlflow.set_registered_model_tag(self.name, HISTORY, json.dumps(numbers))
        challenger = mlflow.get_registered_model(self.name).aliases.get(CHALLENGER)
        if challenger is not None and int(challenger) == numbers[-1]:
            mlflow.delete_registered_model_alias(self.name, CHALLENGER)

    def _fetch_whole(self, version: Version, scratch: Path) -> Path:
        """Raises RecurError where what is fetched is not what was registered."""
        fetched = self._fetch(version.label, version.run_id, "model", scratch)
        if not _is_whole(fetched, version):
            wrong = ", ".join(faults(fetched)[:3]) if digest_of(fetched) == version.recipe_digest else RECIPE
            raise RecurError(f"{version.label}: {wrong} of its run {version.run_id} is not what was registered: {_FIX}")
        return fetched

    def _download(self, version: Version, folder: Path) -> None:
        """Puts the verified artefact in the place of `folder`, which stays until then."""
        with folder_atomically(folder) as scratch:
            fetched = self._fetch_whole(version, scratch)
            for item in fetched.iterdir():
                item.rename(scratch / item.name)
            fetched.rmdir()
            if not _is_whole(folder, version):
                shutil.rmtree(folder, ignore_errors=True)


def open_registry(settings: Settings) -> Registry:
    return Registry(Tracking(settings.mlflow, settings.state), settings.question)


def _is_whole(folder: Path, version: Version) -> bool:
    return bool(digest_of(folder)) and digest_of(folder) == version.recipe_digest and not faults(folder)


def _version(number: int, run_id: str, facts: Mapping[str, str], recipe_digest: str) -> Version:
    return Version(
        number=number,
        spec=ModelSpec(facts["recipe"], json.loads(facts["parameters"])),
        run_id=run_id,
        trained_until=datetime.fromisoformat(facts["trained_until"]),
        question_digest=facts["question_digest"],
        recipe_digest=recipe_digest,
    )
