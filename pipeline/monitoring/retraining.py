"""What a night's reviews and monitoring ask for: a training, a look, or nothing. and whether a training is due."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select

from pipeline.config.settings import Settings
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.serving.database import open_predictions
from pipeline.serving.tables import night as nights
from pipeline.serving.tables import review as reviews
from pipeline.serving.tables import upkeep as decisions
from pipeline.serving.tables import watched
from pipeline.training import registry
from pipeline.training.snapshot import finished_trainings

if TYPE_CHECKING:
    from models.evaluation.intervals import Interval
    from models.evaluation.retraining_policy import Upkeep


def decide_upkeep(settings: Settings, night: Night) -> "Upkeep":
    """Decides by the rule (`models.evaluation.retraining_policy.decide`) from the latest review of the "
    "champion's own scores at the
    primary horizon, what its test promised, and what was watched of the night; writes it to `review_decisions`.
    """
    from models.evaluation.intervals import Interval
    from models.evaluation.retraining_policy import Upkeep, decide
    from pipeline.monitoring.drift import DRIFT, EXPECTED, promised_intervals

    champion = registry.champion(settings)
    if champion is None:
        return Upkeep("fine", "no champion reigns yet")
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        seen = connection.execute(
            select(watched.c.kind, watched.c.name, watched.c.value).where(watched.c.score_date == night.score_date)
        ).all()
    told = {(kind, name): value for kind, name, value in seen if value is not None}
    found = decide(
        _realised(settings, champion, night),
        {name: Interval(*ends) for name, ends in promised_intervals(settings, champion).items()},
        told.get((EXPECTED, "log_loss")),
        {name: value for (kind, name), value in told.items() if kind == DRIFT},
        settings.review.max_drift,
        settings.review.tolerance,
    )
    with open_predictions(settings.predictions, settings.root).writing() as connection:
        connection.execute(delete(decisions).where(decisions.c.score_date == night.score_date))
        connection.execute(
            insert(decisions).values(
                score_date=night.score_date,
                decision=found.decision,
                why=found.why,
                model_name=champion.recipe,
                model_version=str(champion.number),
                decided_at=datetime.now(UTC),
            )
        )
    return found


def training_due(settings: Settings, cutoff: datetime) -> bool:
    """Whether `cutoff` is late enough after the last finished training of this question (by default more than the
    primary horizon, else at least `models.retrain_after` days), or the last review asked for one. True where there was
    none.
    """
    finished = finished_trainings(settings.state, settings.question.digest)
    wait = settings.models.retrain_after or settings.question.primary + 1
    if not finished or cutoff - finished[-1] >= wait * DAY:
        return True
    return cutoff > finished[-1] and retraining_asked(settings, finished[-1])


def retraining_asked(settings: Settings, since: datetime) -> bool:
    """Whether the last decision asks for a training, and was made at least `question.cutoff_every` days after the one
    that ended at `since`: what a gate has just refused is not tried again every night.
    """
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        last = connection.execute(
            select(decisions.c.score_date, decisions.c.decision).order_by(decisions.c.score_date.desc()).limit(1)
        ).first()
    if last is None or last.decision != "retrain":
        return False
    return (midnight(last.score_date) - since).days >= settings.question.cutoff_every


def _realised(settings: Settings, champion: registry.Version, night: Night) -> "dict[str, Interval]":
    """The latest review, up to the night, of what this version scored."""
    from models.evaluation.intervals import Interval

    own = (
        (nights.c.model_version == str(champion.number))
        & (nights.c.run_id == champion.run_id)
        & (reviews.c.horizon_days == settings.question.primary)
        & (reviews.c.score_date <= night.score_date)
    )
    joined = reviews.join(nights, nights.c.score_date == reviews.c.score_date)
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        day = connection.scalar(select(func.max(reviews.c.score_date)).select_from(joined).where(own))
        rows = connection.execute(
            select(reviews.c.metric, reviews.c.value, reviews.c.low, reviews.c.high).where(
                reviews.c.score_date == day, reviews.c.horizon_days == settings.question.primary
            )
        ).all()
    return {metric: Interval(value, low, high) for metric, value, low, high in rows}
