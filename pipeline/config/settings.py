"""`recur.toml`, read into one frozen typed tree. An unknown key or a wrong type is an error that names the key."""

import json
import os
import tomllib
from pathlib import Path
from typing import Any, get_args

from pydantic import Field, ValidationError

from features.question import Question
from pipeline.config.sections import Addresses, Evidence, Models, Paths, Review, Run, Serving, Validation
from pipeline.config.source import Section, Source, SourceFile
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.paths import StateFolder

DEFAULT_FILE = "recur.toml"


class Settings(Section):
    """The whole configuration. `root` is the folder of the file, against which its relative paths are read."""

    source: Source = Source()
    question: Question = Question()
    run: Run = Run()
    validation: Validation = Validation()
    models: Models = Models()
    evidence: Evidence = Evidence()
    serving: Serving = Serving()
    review: Review = Review()
    addresses: Addresses = Addresses()
    paths: Paths = Paths()
    root: Path = Field(default=Path(), exclude=True)
    file: Path | None = Field(default=None, exclude=True)

    @property
    def var(self) -> Path:
        return self._resolve(self.paths.var)

    @property
    def state(self) -> StateFolder:
        return StateFolder(self.var)

    @property
    def source_path(self) -> Path | None:
        """The file or folder that `[source] path` names; None where it names none."""
        return self._resolve(self.source.path) if self.source.path else None

    @property
    def source_address(self) -> str:
        """The SQLAlchemy address of the source's database."""
        address = self._address("source")
        if not address:
            raise ConfigurationError('addresses.source is missing: kind = "sql" needs the address of its database')
        return address

    @property
    def source_files(self) -> list[SourceFile]:
        """The entries of `[[source.files]]`, or `path` as the only one: each with all its columns, and its path read
        against `root` unless it names a protocol.
        """
        files = self.source.files or (SourceFile(path=str(self.source.path)),)
        paths = [file.path if "://" in file.path else str(self._resolve(file.path)) for file in files]
        return [
            file.model_copy(update={"path": path, "columns": columns})
            for file, path, columns in zip(files, paths, self.source.mappings, strict=True)
        ]

    @property
    def events(self) -> Path:
        """The event store's folder. Raises ConfigurationError where `addresses.events` names a protocol."""
        address = self._address("events") or str(self.var / "events")
        if "://" in address:
            scheme = address.partition("://")[0]
            raise ConfigurationError(
                f"addresses.events names {scheme}://, and the event store is a folder of this machine or one that is "
                "mounted here: write its path"
            )
        return self._resolve(address)

    @property
    def published(self) -> Path | None:
        """The folder of the published nights as Parquet; None where none is asked for."""
        return (self.var / self.serving.parquet).resolve() if self.serving.parquet else None

    @property
    def predictions(self) -> str:
        """The SQLAlchemy address of the predictions store."""
        return self._address("predictions") or f"sqlite:///{self.var / 'predictions.db'}"

    @property
    def mlflow(self) -> str:
        """MLflow's tracking address."""
        return self._address("mlflow") or f"sqlite:///{self.var / 'mlflow.db'}"

    @property
    def spark(self) -> str:
        """The master of the Spark cluster."""
        return self._address("spark") or "local[*]"

    @property
    def alerts(self) -> str | None:
        """Where alerts are posted; None where nowhere."""
        return self._address("alerts")

    @property
    def retrain_after(self) -> int:
        return self.models.retrain_after or self.question.primary

    def _address(self, key: str) -> str | None:
        """The address `addresses.KEY`; where it is `$NAME`, that of the environment."""
        address: str | None = getattr(self.addresses, key)
        if address is None or not address.startswith("$"):
            return address
        if value := os.environ.get(address[1:]):
            return value
        raise ConfigurationError(f"addresses.{key} is {address}, but the environment has no {address[1:]}: set it")

    def _resolve(self, path: str) -> Path:
        return (self.root / Path(path).expanduser()).resolve()


def load_settings(file: Path | str | None = None) -> Settings:
    """The configuration in `file`, else in the file that `RECUR_CONFIG` names, else in `recur.toml` of the current
    folder, else the defaults. Raises ConfigurationError, which names the file, the key and the fix.
    """
    chosen = file or os.environ.get("RECUR_CONFIG")
    path = Path(chosen or DEFAULT_FILE).resolve()
    if not path.exists() and not chosen:
        return Settings(root=Path.cwd())
    try:
        content = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(
            f"{path} does not exist: give --config the file that holds your configuration"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from None
    if "treatments" in (review := content.get("review", {})):  # where it stood until December 2026
        content.setdefault("question", {}).setdefault("treatments", review.pop("treatments"))
    for key in {"root", "file"} & set(content):
        raise ConfigurationError(f"{path}: {key}: unknown key; known here: {_known_keys(())}")
    try:
        # Through JSON, where strict means what a reader of TOML expects: lists and dates are taken, "28" for 28 is not.
        settings = Settings.model_validate_json(json.dumps(content, default=str), strict=True)
        return settings.model_copy(update={"root": path.parent, "file": path})
    except ValidationError as error:
        raise ConfigurationError(f"{path}: {_in_words(error)}") from None


def _in_words(error: ValidationError) -> str:
    """The first fault of a validation, as one line that names the key."""
    fault = error.errors()[0]
    location = tuple(name for name in fault["loc"] if isinstance(name, str))
    key = ".".join(location)
    if fault["type"] == "extra_forbidden":
        return f"{key}: unknown key; known here: {_known_keys(location[:-1])}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" + ("" if fault["type"] == "value_error" else f", got {fault['input']!r}")


def _known_keys(location: tuple[str, ...]) -> str:
    section: Any = Settings
    for name in location:
        section = section.model_fields[name].annotation
        section = get_args(section)[0] if get_args(section) else section
    return ", ".join(name for name in section.model_fields if name not in {"root", "file"})
