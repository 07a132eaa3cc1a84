"""`recur quarantine replay`: another try at the rows that validation set aside, after a fix."""

from typing import NamedTuple

from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import midnight
from pipeline.scoring.champion import champion_or_none, guarded_champion
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.predict import predict_eligible
from pipeline.serving.database import open_predictions
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.validate import validate
from pipeline.training.registry import open_registry
from pipeline.validation.quarantine import quarantined


class Change(NamedTuple):
    """A customer's churn probability at the primary horizon as of the last loaded night; None where not eligible."""

    customer_id: str
    before: float | None
    after: float | None


def replay(settings: Settings) -> tuple[dict[str, int], list[Change] | None]:
    """Extracts, validates and loads every loaded night that has rows in quarantine again, with the source and its
    mapping as they are today. What now passes counts as known since its own night. Refused nights are not loaded by
    this: they are due with the next run.

    Returns how many rows each night's quarantine lost, and whose scores changed with that as of the last loaded night
    (None: no champion may score it); nothing is published. Raises RecurError, before it loads anything, where the
    champion is lost.
    """
    loaded = {night.isoformat(): night for night in loaded_nights(settings.events)}
    rows: dict[str, int] = {}
    for group in quarantined(settings):
        rows[group.night] = rows.get(group.night, 0) + group.rows
    due = sorted(rows.keys() & loaded.keys())
    if not due:
        return {}, []
    before, brought_back = _scores(settings), {}
    for name in due:
        night = night_ending_at(settings.events, midnight(loaded[name]))
        extract(settings, night, afresh=True)
        validate(settings, night)
        brought_back[name] = rows[name] - load(settings, night)["rows_quarantined"]
    if before is None:
        return brought_back, None
    after = (_scores(settings) or {}) if any(brought_back.values()) else before
    customers = sorted(before.keys() | after.keys())
    changes = [Change(customer, before.get(customer), after.get(customer)) for customer in customers]
    return brought_back, [change for change in changes if change.before != change.after]


def _scores(settings: Settings) -> dict[str, float] | None:
    """By customer, the last loaded night's primary churn probability; None where no champion may score it."""
    cutoff, question = midnight(loaded_nights(settings.events)[-1]), settings.question
    registry, predictions = open_registry(settings), open_predictions(settings.predictions, settings.root)
    champion_or_none(registry, predictions)  # a lost one is told
    try:
        champion = guarded_champion(registry, predictions, cutoff)
    except RecurError:  # there is none yet, or it may not
        return None
    model = registry.load(champion)
    scored = predict_eligible(ScoringInputs.open(settings), champion, model, cutoff)
    churn = scored.predictions.churn_probability[:, question.primary_index]
    return dict(zip(scored.customers.to_pylist(), churn.tolist(), strict=True))
