"""What can be said of a night's scores before their horizon closes: how far its inputs and scores have drifted from
those of training, and what its probabilities promise of its performance.

Training is the test slice of its snapshot, the latest that it holds. What only grows as a history does (the time since
the first event, totals over a lifetime) is not watched: it moves by itself.

The inputs are those of a sample of its customers, built as training built them, so that a champion that reads no
aggregates is watched too, and at a cost that does not grow with the customers.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from sqlalchemy import delete, insert, select

from pipeline.config.settings import Settings
from pipeline.runtime.nights import Night
from pipeline.serving.database import open_predictions
from pipeline.serving.tables import prediction as predictions
from pipeline.serving.tables import watched
from pipeline.training import registry
from pipeline.training.dataset_files import AGGREGATES, EXAMPLES
from pipeline.training.snapshot import read_meta, windows_of

SAMPLE, OF_TRAINING = 1_000, 20_000
GROWS_BY_ITSELF = re.compile(r"days_since_first_event|\w+_total|\w+_max")
DRIFT, EXPECTED, SCORE = "drift", "expected", "score"


def watch(settings: Settings, night: Night) -> None:
    """Writes the night's rows of `monitoring`, in the place of earlier ones; none where the night is not published or
    no champion reigns whose training is still there.
    """
    from models.evaluation.drift import expected_performance

    of_the_night = (predictions.c.score_date == night.score_date) & (
        predictions.c.horizon_days == settings.question.primary
    )
    columns = (predictions.c.customer_id, predictions.c.churn_probability)
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        scored = connection.execute(select(*columns).where(of_the_night).order_by(columns[0])).tuples().all()
    champion = registry.champion(settings) if scored else None
    if champion is None:
        return
    probability = np.array([value for _, value in scored])
    promised = promises(settings, champion)
    rows: list[dict[str, Any]] = [
        {"kind": EXPECTED, "name": name, "value": _known(value), "reference": promised.get(name)}
        for name, value in expected_performance(probability).items()
    ]
    size = min(SAMPLE, len(scored))
    customers = [scored[place * len(scored) // size][0] for place in range(size)]  # evenly spread
    rows += [
        {"kind": DRIFT, "name": name, "value": _known(value), "reference": settings.review.max_drift}
        for name, value in _drift(settings, night, champion, probability, customers).items()
    ]
    with open_predictions(settings.predictions, settings.root).writing() as connection:
        connection.execute(delete(watched).where(watched.c.score_date == night.score_date))
        connection.execute(insert(watched), [{"score_date": night.score_date, **row} for row in rows])


def promises(settings: Settings, champion: registry.Version) -> dict[str, float]:
    """What the champion's recipe reached on the test of its training, by metric; empty where that is not known."""
    return {name: value for name, (value, _, _) in promised_intervals(settings, champion).items() if value is not None}


def promised_intervals(
    settings: Settings, champion: registry.Version
) -> dict[str, tuple[float | None, float | None, float | None]]:
    """The same, as (value, low, high)."""
    from pipeline.serving.tables import comparison_metric as metrics

    of_it = (metrics.c.cutoff == champion.trained_until.date()) & (metrics.c.model_name == champion.recipe)
    with open_predictions(settings.predictions, settings.root).reading() as connection:
        rows = connection.execute(select(metrics.c.metric, metrics.c.value, metrics.c.low, metrics.c.high).where(of_it))
        return {metric: (value, low, high) for metric, value, low, high in rows}


def _drift(
    settings: Settings, night: Night, champion: registry.Version, probability: np.ndarray, customers: list[str]
) -> dict[str, float]:
    from models.evaluation.drift import stability_index

    folder = settings.state.snapshot(champion.trained_until)
    found: dict[str, float] = {}
    said = folder / "predictions" / f"{champion.recipe}.parquet"
    if said.exists():
        table = pq.read_table(said, columns=["slice", "horizon_days", "churn_probability"])
        test = pc.and_(pc.equal(table["slice"], "test"), pc.equal(table["horizon_days"], settings.question.primary))
        found[SCORE] = stability_index(table.filter(test)["churn_probability"].to_numpy(), probability)
    if (then := _of_training(folder)) is not None:
        now = _aggregates(settings, night, champion, customers)
        for name in now:
            if name in then.column_names and not GROWS_BY_ITSELF.fullmatch(name):
                found[name] = stability_index(then[name].to_numpy(), now[name].to_numpy())
    return found


def _of_training(folder: Path) -> pa.Table | None:
    """The aggregates of the test slice, at most `OF_TRAINING` rows of them; None where the snapshot is gone."""
    if (content := read_meta(folder)) is None:
        return None
    test = windows_of(content)[-1].test
    cutoff = pq.read_table(folder / EXAMPLES, columns=["cutoff"])["cutoff"]
    rows = np.flatnonzero(pc.is_in(cutoff, pa.array(test, cutoff.type)).to_numpy())
    size = min(OF_TRAINING, len(rows))
    return pq.read_table(folder / AGGREGATES).take(rows[np.arange(size) * len(rows) // max(size, 1)])


def _aggregates(settings: Settings, night: Night, champion: registry.Version, customers: list[str]) -> pd.DataFrame:
    """The aggregates of `customers` as of the night, as training builds them: from the sums that the champion carries,
    or where it carries none, from their events.
    """
    from pipeline.scoring.query import aggregates_of
    from pipeline.steps.score import asked

    own = pa.array(customers, pa.string())
    carried = aggregates_of(settings, champion, night.cutoff, own)
    return asked(settings, night.cutoff, own).aggregates if carried is None else carried


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
