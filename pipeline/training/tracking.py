"""Experiment tracking. One parent run a comparison, one child run a model.

Everything goes through an `MlflowClient` for the configured address, never through mlflow's global state, so that two
configurations can live in one process.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from pipeline.runtime.errors import RecurError, way_out
from pipeline.runtime.paths import StateFolder

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from mlflow import MlflowClient

EXPERIMENT = "recur"
KIND = {"mlflow.experimentKind": "custom_model_development"}
"""Makes MLflow's page open on runs and not on traces of language models."""
ANYWHERE = "recur-var"
"""What stands in a copy that belongs to no folder yet, in place of the state folder's path."""
SQLITE = b"SQLite format 3\0"
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # the default tries for minutes before it says that nobody answers
    "GIT_PYTHON_REFRESH": "quiet",  # git may be absent
}


@dataclass(frozen=True)
class Run:
    """An open run, and what can be written to it."""

    client: "MlflowClient"
    run_id: str

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Each value as text; what is no text or number, as JSON."""
        from mlflow.entities import Param

        def text(value: Any) -> str:
            return (value if isinstance(value, str) else json.dumps(value, default=str))[:6000]

        self.client.log_batch(self.run_id, params=[Param(key, text(value)) for key, value in values.items()])

    def metrics(self, values: Mapping[str, float | None]) -> None:
        """One value each; those that are absent or not finite are left out."""
        self.curves({key: [value] for key, value in values.items() if value is not None})

    def curves(self, values: Mapping[str, list[float]]) -> None:
        """A value a step (an epoch or a round) for each measure."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        points = [
            Metric(key, float(value), now, step)
            for key, curve in values.items()
            for step, value in enumerate(curve)
            if isfinite(value)
        ]
        for first in range(0, len(points), 1000):  # the most that mlflow takes at once
            self.client.log_batch(self.run_id, metrics=points[first : first + 1000])

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in values.items()])

    def dataset(self, context: str, digest: str, rows: int, folder: Path) -> None:
        """The examples that the run saw as `context` (train, valid or test), by their digest."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        entity = Dataset(
            name=f"{folder.name} {context}",
            digest=digest,
            source_type="local",
            source=json.dumps({"uri": folder.as_uri()}),
            profile=json.dumps({"examples": rows}),
        )
        self.client.log_inputs(self.run_id, [DatasetInput(entity, [InputTag("mlflow.data.context", context)])])

    def text(self, content: str, name: str) -> None:
        self.client.log_text(self.run_id, content, name)

    def figure(self, figure: "Figure", name: str) -> None:
        self.client.log_figure(self.run_id, figure, name)

    def folder(self, folder: Path, name: str) -> None:
        """The files of `folder` as artifacts under `name`."""
        self.client.log_artifacts(self.run_id, str(folder), name)

    def finish(self, status: str = "FINISHED") -> None:
        self.client.set_terminated(self.run_id, status)


@dataclass(frozen=True)
class Tracking:
    """The experiment at one address. Where no server keeps them, artifacts lie in the state folder."""

    address: str
    state: StateFolder

    @property
    def client(self) -> "MlflowClient":
        """Database and experiment exist on return. Raises RecurError, naming the address without its password."""
        with self.state.alone("mlflow"):  # two that make its database at once would both fail
            return _client(self.address, self.state.path)

    def open_run(self, name: str, parent: str | None = None, tags: Mapping[str, str] | None = None) -> Run:
        """A new run, a child of the run `parent` where one is given. It stays open until `Run.finish`."""
        mlflow = self.client
        lineage = {"mlflow.parentRunId": parent} if parent else {}
        run = mlflow.create_run(_experiment(mlflow), run_name=name, tags={**lineage, **(tags or {})})
        return Run(mlflow, run.info.run_id)

    def existing_run(self, run_id: str) -> Run:
        return Run(self.client, run_id)

    @contextmanager
    def child_run(self, name: str, parent: str, tags: Mapping[str, str] | None = None) -> Iterator[Run]:
        """A child run for the length of a block, failed if the block fails. It takes the place of an earlier child of
        the same parent and name, which a task that is tried again leaves behind.
        """
        mlflow = self.client
        quoted = name.replace("'", "")
        same = f"tags.`mlflow.parentRunId` = '{parent}' and attributes.run_name = '{quoted}'"
        for earlier in mlflow.search_runs([_experiment(mlflow)], same):
            mlflow.delete_run(earlier.info.run_id)
        run = self.open_run(name, parent, tags)
        try:
            yield run
        except BaseException:
            run.finish("FAILED")
            raise
        run.finish()

    def discard(self, run_id: str) -> None:
        """Delete a parent run and its children, if they exist, as MLflow does: out of sight until `mlflow gc`."""
        mlflow = self.client
        for run in mlflow.search_runs([_experiment(mlflow)], f"tags.`mlflow.parentRunId` = '{run_id}'"):
            mlflow.delete_run(run.info.run_id)
        for run in mlflow.search_runs([_experiment(mlflow)], f"attributes.run_id = '{run_id}'"):
            mlflow.delete_run(run.info.run_id)


def without_password(address: str, text: str | None = None) -> str:
    """`text` (by default the address itself) with the password of `address` hidden wherever it stands."""
    text = address if text is None else text
    try:
        password = make_url(address).password
    except ArgumentError:
        return text
    for form in {str(password), quote(str(password), safe="")} if password else ():
        text = text.replace(form, "***")
    return text


def _experiment(mlflow: "MlflowClient") -> str:
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    assert experiment is not None  # made with the client
    return str(experiment.experiment_id)


def is_sqlite(file: Path) -> bool:
    """Whether a file is a database of SQLite, by its first bytes."""
    with file.open("rb") as opened:
        return opened.read(len(SQLITE)) == SQLITE


@lru_cache(maxsize=4)
def _client(address: str, var: Path) -> "MlflowClient":
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    from mlflow import MlflowClient

    for chatty in ("mlflow.store.db.utils", "alembic"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    served = address.startswith(("http://", "https://"))
    try:
        if address.startswith("sqlite:///"):
            file = Path(address.removeprefix("sqlite:///"))
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_file() and file.stat().st_size and not is_sqlite(file):  # MLflow would try it for minutes
                raise ValueError("file is not a database")
        mlflow = MlflowClient(address, registry_uri=address)
        if mlflow.get_experiment_by_name(EXPERIMENT) is None:
            # A server keeps artifacts where it was told to; without one they lie beside the other state.
            location = None if served else (var / "mlartifacts").as_uri()
            mlflow.create_experiment(EXPERIMENT, location, KIND)
        experiment = mlflow.get_experiment_by_name(EXPERIMENT)
        for key, value in KIND.items():  # an earlier recur made the experiment without it, or MLflow's page guessed
            if experiment is not None and experiment.tags.get(key) != value:
                mlflow.set_experiment_tag(experiment.experiment_id, key, value)
    except Exception as error:  # whatever the driver raises: mlflow wraps some of it and passes the rest on
        reason = without_password(address, str(error).splitlines()[0] if str(error) else type(error).__name__)
        fix = way_out(reason, "start it, or correct addresses.mlflow")
        raise RecurError(f"MLflow at {without_password(address)} cannot be reached ({reason}): {fix}") from None
    assert experiment is not None
    database, kept = Path(address.removeprefix("sqlite:///")), urlsplit(str(experiment.artifact_location))
    if kept.scheme.startswith(f"{ANYWHERE}-"):
        raise RecurError(f"{database} was taken out of a backup, where it names no folder: run `recur check --repair`")
    if database.is_relative_to(var) and kept.scheme in ("", "file"):
        folder = Path(unquote(kept.path))
        if not folder.is_relative_to(var):
            raise RecurError(
                f"{database} keeps its artefacts in {folder}, outside {var}, where this state lay before it was moved "
                "or copied: run `recur check --repair`"
            )
    return mlflow
