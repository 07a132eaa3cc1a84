"""Small CSV sources, and the first three steps run over their nights."""

from collections.abc import Iterable
from datetime import date, datetime
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.nights import Night, midnight
from pipeline.sources.factory import open_source
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate

COLUMNS = {"customer_id": "who", "event_time": "when", "amount": "eur"}


def configure(folder: Path, rows: Iterable[str], header: str = "who,when,eur", **source: Any) -> Settings:
    """The settings of a CSV of `rows`, with all state under `folder`."""
    write_csv(folder, rows, header)
    columns = source.pop("columns", COLUMNS)
    lines = ["[source]", 'kind = "csv"', 'path = "events.csv"']
    lines += [f"{key} = {list(value) if isinstance(value, tuple) else repr(value)}" for key, value in source.items()]
    lines += ["[source.columns]", *(f'{name} = "{column}"' for name, column in columns.items())]
    file = folder / "recur.toml"
    file.write_text("\n".join(lines) + "\n", "utf-8")
    return load_settings(file)


def write_csv(folder: Path, rows: Iterable[str], header: str = "who,when,eur") -> None:
    (folder / "events.csv").write_text("\n".join([header, *rows]) + "\n", "utf-8")


def day(text: str) -> datetime:
    return midnight(date.fromisoformat(text))


def ingest(settings: Settings, cutoff: str) -> dict[str, int]:
    """Extracts, validates and loads the night that ends at `cutoff`; gives the counts of the load."""
    night = night_of(settings, cutoff)
    extract(settings, night)
    validate(settings, night)
    return load(settings, night)


def night_of(settings: Settings, cutoff: str) -> Night:
    return night_ending_at(settings.events, day(cutoff))


def last_closed(settings: Settings) -> datetime:
    """The end of the source's last closed day."""
    return open_source(settings).span().closed
