"""Whether nights are published in time: for an alert with the next night, and for a monitor outside."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import func, select

from pipeline.runtime.errors import RecurError
from pipeline.serving.database import PredictionsStore
from pipeline.serving.tables import night


def not_published_before(predictions: PredictionsStore, score_date: date) -> str | None:
    """What to say where nights were published once, and that before `score_date` was not; else None."""
    before = score_date - timedelta(days=1)
    published = [each for each in predictions.published_nights() if each < score_date]
    if not published or published[-1] == before:
        return None
    return f"the night {before} was not published: the last one that readers have is {published[-1]}"


def require_published_within(predictions: PredictionsStore, hours: float) -> str:
    """When the last night was scored that readers have. Raises RecurError where that is more than `hours` ago, by this
    machine's clock: a dead man's switch for whoever asks from outside.
    """
    with predictions.reading() as connection:
        scored = connection.execute(
            select(night.c.score_date, night.c.scored_at).order_by(night.c.scored_at.desc()).limit(1)
        ).first()
        latest = connection.scalar(select(func.max(night.c.score_date)))
    if scored is None:
        raise RecurError("no night was ever published: run `recur run`")
    age = (datetime.now(UTC) - scored.scored_at).total_seconds() / 3600
    words = f"the last night that readers have is {latest}; one was last scored {age:.1f} hours ago"
    if age > hours:
        raise RecurError(f"{words}, more than {hours:g}: see whether the scheduler runs, and `recur run`")
    return words
