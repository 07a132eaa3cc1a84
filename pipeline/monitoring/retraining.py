"""When to retrain: what a night's reviews and monitoring call for, and whether a training is due."""

from datetime import UTC, datetime

from sqlalchemy import delete, func, insert, select

from models.evaluation.intervals import Interval
from models.evaluation.retraining_policy import Limits, RetrainingDecision, decide
from pipeline.config.sections import Review
from pipeline.config.settings import Settings
from pipeline.monitoring.drift import DRIFT, EXPECTED, reference_metrics
from pipeline.runtime.nights import DAY, Night, midnight
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.serving.tables import monitored, retraining_decision
from pipeline.serving.tables import night as nights
from pipeline.serving.tables import review as reviews
from pipeline.training.registry import Version
from pipeline.training.snapshot import finished_trainings


def decide_retraining(
    predictions: PredictionsStore, champion: Version | None, night: Night, limits: Review, horizon: int
) -> RetrainingDecision:
    """Applies the rule (`models.evaluation.retraining_policy.decide`) to the latest review of the champion's own scores
    at `horizon`, its test reference, and the night's monitoring; writes the decision to `review_decisions`.
    """
    if champion is None:
        return RetrainingDecision("fine", "there is no champion yet")
    of_the_night = select(monitored.c.kind, monitored.c.name, monitored.c.value).where(
        monitored.c.score_date == night.score_date, monitored.c.value.is_not(None)
    )
    with predictions.reading() as connection:
        monitoring = {(kind, name): value for kind, name, value in connection.execute(of_the_night)}
    outcome = decide(
        _realised(predictions, champion, night, horizon),
        reference_metrics(predictions, champion),
        monitoring.get((EXPECTED, "log_loss")),
        {name: value for (kind, name), value in monitoring.items() if kind == DRIFT},
        Limits(limits.max_drift, limits.tolerance),
    )
    with predictions.writing() as connection:
        connection.execute(delete(retraining_decision).where(retraining_decision.c.score_date == night.score_date))
        connection.execute(
            insert(retraining_decision).values(
                score_date=night.score_date,
                decision=outcome.decision,
                why=outcome.why,
                model_name=champion.name,
                model_version=str(champion.number),
                decided_at=datetime.now(UTC),
            )
        )
    return outcome


def training_due(settings: Settings, cutoff: datetime) -> bool:
    """Whether `cutoff` is late enough after the last finished training of this question (by default more than the
    primary horizon, else at least `models.retrain_after` days), or the last review calls for one. True where there was
    none.
    """
    finished = finished_trainings(settings.state, settings.question.digest)
    wait = settings.models.retrain_after or settings.question.primary + 1
    if not finished or cutoff - finished[-1] >= wait * DAY:
        return True
    if cutoff <= finished[-1]:
        return False
    decisions = retraining_decision.c
    latest = select(decisions.score_date, decisions.decision).order_by(decisions.score_date.desc()).limit(1)
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        last = connection.execute(latest).first()
    if last is None or last.decision != "retrain":
        return False
    # What the gate has just refused is not tried again every night.
    return midnight(last.score_date) - finished[-1] >= settings.question.cutoff_every * DAY


def _realised(predictions: PredictionsStore, champion: Version, night: Night, horizon: int) -> dict[str, Interval]:
    """The latest review, up to the night, of what this version scored."""
    of_champion = (
        (nights.c.model_version == str(champion.number))
        & (nights.c.run_id == champion.run_id)
        & (reviews.c.horizon_days == horizon)
        & (reviews.c.score_date <= night.score_date)
    )
    joined = reviews.join(nights, nights.c.score_date == reviews.c.score_date)
    with predictions.reading() as connection:
        day = connection.scalar(select(func.max(reviews.c.score_date)).select_from(joined).where(of_champion))
        rows = connection.execute(
            select(reviews.c.metric, reviews.c.value, reviews.c.low, reviews.c.high).where(
                reviews.c.score_date == day, reviews.c.horizon_days == horizon
            )
        ).all()
    return {metric: Interval(value, low, high) for metric, value, low, high in rows}
