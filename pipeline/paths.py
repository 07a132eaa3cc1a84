"""Where local state lies under `paths.var`: one name for each file, used by the steps that write it and read it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pipeline.nights import Night
from pipeline.settings import Settings


def staged(settings: Settings, night: Night) -> Path:
    """What a source gave for one night, as text and numbers, before validation."""
    return settings.var / "staged" / f"{night.name}.parquet"


def accepted(settings: Settings, night: Night) -> Path:
    """The events of one night that validation accepted, before they are loaded."""
    return settings.var / "accepted" / f"{night.name}.parquet"


def quarantine(settings: Settings, night: Night) -> Path:
    """The rows of one night that were set aside, each with its reason."""
    return settings.var / "quarantine" / f"{night.name}.parquet"


def data_docs(settings: Settings) -> Path:
    """The Great Expectations project, whose Data Docs begin at `uncommitted/data_docs/local_site/index.html`."""
    return settings.var / "great_expectations"


def snapshot(settings: Settings, cutoff: datetime) -> Path:
    """The folder of one training: examples, both views, splits, and every model's predictions on them."""
    return settings.var / "snapshots" / cutoff.date().isoformat()


def scored(settings: Settings, night: Night) -> Path:
    """The scores of one night, before they are published."""
    return settings.var / "scored" / f"{night.name}.parquet"


@contextmanager
def atomically(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place, durably, when the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)
