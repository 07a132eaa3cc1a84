"""The steps without Airflow: the very functions that the tasks call, one command's worth at a time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.cli.closing_report import print_comparison, print_review
from pipeline.cli.console import working
from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.event_store.store import night_ending_at
from pipeline.monitoring.step_record import ROWS
from pipeline.runtime.errors import ConfigurationError, NothingToDo, RecurError
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.serving.database import open_predictions
from pipeline.sources.factory import first_night, open_source
from pipeline.steps import NIGHTLY, step
from pipeline.steps.compare import compare, last_comparison
from pipeline.steps.promote import promote
from pipeline.steps.publish import publish
from pipeline.steps.review import review as review_night
from pipeline.steps.score import score as score_night
from pipeline.steps.snapshot import snapshot
from pipeline.steps.train import train as train_one


def ingest(settings: Settings, console: Console, until: datetime | None) -> None:
    """Extracts, validates and loads every night not yet loaded, up to the source's last closed day or `until`."""
    span = open_source(settings).span()
    end = min(span.closed, until) if until else span.closed
    loaded = loaded_nights(settings.events)
    cutoff = midnight(max(loaded)) + DAY if loaded else first_night(span, settings.run, settings.question)
    if not loaded and until and until < cutoff:
        raise ConfigurationError(
            f"--until {until:%Y-%m-%d} lies before the first night: choose {cutoff:%Y-%m-%d} or later"
        )
    if cutoff > end:
        raise NothingToDo(
            f"every night up to {end:%Y-%m-%d} is loaded; the source's last day ends {span.closed:%Y-%m-%d}"
        )
    while cutoff <= end:
        night = night_ending_at(settings.events, cutoff)
        figures: dict[str, Any] = {}
        for name in NIGHTLY[: NIGHTLY.index("load") + 1]:
            figures |= _run(console, f"{name} {night.name}", step(name), settings, night)
        console.print(f"{night.name}: {_rows_in_words(figures)}")
        if "message" in figures:
            console.print(f"{night.name}: {figures['message']}")
        cutoff += DAY


def train(settings: Settings, console: Console, cutoff: datetime | None) -> None:
    """Snapshot, every model, comparison and promotion as of `cutoff`, by default the last loaded night."""
    cutoff = cutoff or _last_loaded(settings.events)
    _run(console, f"examples as of {cutoff:%Y-%m-%d}", snapshot, settings, cutoff)
    names = settings.models.in_order
    for number, name in enumerate(names, 1):
        _run(console, f"train {name} ({number} of {len(names)})", train_one, settings, cutoff, name)
    _run(console, "compare", compare, settings, cutoff)
    outcome = _run(console, "promote", promote, settings, cutoff)
    print_comparison(last_comparison(settings.state), console)
    verb = "is now the champion" if outcome["promoted"] else "was not promoted"
    console.print(f"Version {outcome['version']} ({outcome['recipe']}) {verb}: {'; '.join(outcome['reasons'])}")


def score(settings: Settings, console: Console, cutoff: datetime | None) -> None:
    """Scores and publishes the night that ends at `cutoff`, by default the last loaded one. Raises RecurError where a
    later one was published already, unless `cutoff` is named.
    """
    night = night_ending_at(settings.events, cutoff or _last_loaded(settings.events))
    published = open_predictions(settings.predictions, settings.root).published_nights()
    if cutoff is None and published and published[-1] > night.score_date:
        raise RecurError(
            f"the event store {settings.events} ends with the night {night.name}, but nights up to {published[-1]} "
            "were published from it: it is an older copy: put the present one back, or load the nights since again by "
            "`recur ingest`"
        )
    scored = _run(console, f"score {night.name}", score_night, settings, night)
    published = _run(console, f"publish {night.name}", publish, settings, night)
    console.print(
        f"{night.name}: {scored['rows_scored']:,} customers scored by {scored['model_name']} version "
        f"{scored['model_version']}, {published['rows_published']:,} predictions published"
    )


def review(settings: Settings, console: Console, cutoff: datetime | None) -> None:
    """Reviews every horizon closed by `cutoff`, by default the last loaded night, and shows the latest review."""
    night = Night(None, cutoff or _last_loaded(settings.events))
    try:
        _run(console, f"review as of {night.name}", review_night, settings, night)
    except NothingToDo as reason:
        console.print(str(reason))
    print_review(open_predictions(settings.predictions, settings.root), console)


def _rows_in_words(figures: Mapping[str, Any]) -> str:
    counts = {name: value for name, value in figures.items() if name in ROWS}
    return ", ".join(f"{value:,} {name.removeprefix('rows_').replace('_', ' ')}" for name, value in counts.items())


def _last_loaded(event_store: Path) -> datetime:
    nights = loaded_nights(event_store)
    if not nights:
        raise RecurError(f"no events are loaded in {event_store}: run `recur ingest` first")
    return midnight(max(nights))


def _run(console: Console, what: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """Runs `step`, and shows `what` while it works."""
    with working(console, what):
        return step(*arguments)
