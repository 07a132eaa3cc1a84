"""The steps without Airflow: the very functions that the tasks call, one command's worth at a time."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import ROWS
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import DAY, Night, midnight

if TYPE_CHECKING:
    from rich.console import Console


def ingest(settings: Settings, screen: "Console", until: datetime | None) -> None:
    """Extracts, validates and loads every night not yet loaded, up to the source's last closed day or `until`."""
    from pipeline.event_store.store import night_ending_at, open_store
    from pipeline.sources.factory import first_night, open_source
    from pipeline.steps.extract import extract
    from pipeline.steps.load import load
    from pipeline.steps.validate import validate

    span = open_source(settings).span()
    end = min(span.closed, until) if until else span.closed
    loaded = open_store(settings).nights()
    cutoff = midnight(max(loaded)) + DAY if loaded else first_night(span, settings.run, settings.question)
    if cutoff > end:
        raise NothingToDo(
            f"every night up to {end:%Y-%m-%d} is loaded; the source's last day ends {span.closed:%Y-%m-%d}"
        )
    while cutoff <= end:
        night = night_ending_at(settings.events, cutoff)
        figures: dict[str, Any] = {}
        for name, step in (("extract", extract), ("validate", validate), ("load", load)):
            figures |= _step(screen, f"{name} {night.name}", step, settings, night)
        screen.print(f"{night.name}: {_rows_in_words(figures)}")
        cutoff += DAY


def train(settings: Settings, screen: "Console", cutoff: datetime | None) -> None:
    """Snapshot, every model, comparison and promotion as of `cutoff`, by default the last loaded night."""
    from pipeline.cli.closing_report import print_comparison
    from pipeline.steps.compare import compare
    from pipeline.steps.promote import promote
    from pipeline.steps.snapshot import snapshot
    from pipeline.steps.train import train as train_one

    cutoff = cutoff or _last_loaded(settings)
    name = f"{cutoff:%Y-%m-%d}"
    _step(screen, f"examples as of {name}", snapshot, settings, cutoff)
    for place, model in enumerate(settings.models.names, 1):
        what = f"train {model} ({place} of {len(settings.models.names)})"
        _step(screen, what, train_one, settings, cutoff, model)
    _step(screen, "compare", compare, settings, cutoff)
    outcome = _step(screen, "promote", promote, settings, cutoff)
    print_comparison(settings, screen)
    verb = "is now the champion" if outcome["promoted"] else "was not promoted"
    screen.print(f"Version {outcome['version']} ({outcome['recipe']}) {verb}: {'; '.join(outcome['reasons'])}")


def score(settings: Settings, screen: "Console", cutoff: datetime | None) -> None:
    """Scores and publishes the night that ends at `cutoff`, by default the last loaded one."""
    from pipeline.event_store.store import night_ending_at
    from pipeline.steps.publish import publish
    from pipeline.steps.score import score as score_night

    night = night_ending_at(settings.events, cutoff or _last_loaded(settings))
    scored = _step(screen, f"score {night.name}", score_night, settings, night)
    published = _step(screen, f"publish {night.name}", publish, settings, night)
    screen.print(
        f"{night.name}: {scored['rows_scored']:,} customers scored by {scored['model_name']} version "
        f"{scored['model_version']}, {published['rows_published']:,} predictions published"
    )


def review(settings: Settings, screen: "Console", cutoff: datetime | None) -> None:
    """Reviews every horizon closed by `cutoff`, by default the last loaded night, and shows the latest review."""
    from pipeline.cli.closing_report import print_review
    from pipeline.steps.review import review as review_night

    night = Night(None, cutoff or _last_loaded(settings))
    try:
        _step(screen, f"review as of {night.name}", review_night, settings, night)
    except NothingToDo as reason:
        screen.print(str(reason))
    print_review(settings, screen)


def _rows_in_words(figures: Mapping[str, Any]) -> str:
    counts = {name: value for name, value in figures.items() if name in ROWS}
    return ", ".join(f"{value:,} {name.removeprefix('rows_').replace('_', ' ')}" for name, value in counts.items())


def _last_loaded(settings: Settings) -> datetime:
    from pipeline.event_store.store import open_store

    nights = open_store(settings).nights()
    if not nights:
        raise RecurError(f"no events are loaded in {settings.events}: run `recur ingest` first")
    return midnight(max(nights))


def _step(screen: "Console", what: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """What `step` gives, shown while it works."""
    from pipeline.cli.console import working

    with working(screen, what):
        return step(*arguments)
