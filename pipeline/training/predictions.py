"""The files `predictions/MODEL.parquet`: what a model predicted of every later part, beside what happened."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.dataset import Dataset
from models.base import Predictions
from models.labels import VALUES


def prediction_rows(seed: int, window: int, part: str, data: Dataset, predictions: Predictions) -> pa.Table:
    """One row an example and horizon, in the examples' order."""
    assert data.labels is not None
    tables = []
    for horizon, days in enumerate(data.horizons):
        columns = {
            "seed": pa.array(np.full(len(data), seed, np.int64)),
            "window": pa.array(np.full(len(data), window, np.int64)),
            "slice": pa.array([part] * len(data), pa.string()),
            "customer_id": pa.array(data.customer_id.tolist(), pa.string()),
            "cutoff": pa.array(data.cutoff, pa.int64()).cast(pa.timestamp("us", "UTC")),
            "horizon_days": pa.array(np.full(len(data), days, np.int64)),
            "churn": pa.array(data.labels.churn[:, horizon]),
            "churn_probability": pa.array(predictions.churn_probability[:, horizon]),
        }
        for outcome in VALUES:
            values = getattr(predictions, f"expected_{outcome}")
            columns[outcome] = pa.array(getattr(data.labels, outcome)[:, horizon])
            columns[f"expected_{outcome}"] = (
                pa.nulls(len(data), pa.float64()) if values is None else pa.array(values[:, horizon])
            )
        tables.append(pa.table(columns))
    return pa.concat_tables(tables)


def repeated_for(seeds: Sequence[int], first: pa.Table) -> pa.Table:
    """The rows of the first seed as those of each of `seeds`."""
    position = first.column_names.index("seed")
    columns = [pa.array(np.full(len(first), seed, np.int64)) for seed in seeds]
    return pa.concat_tables([first.set_column(position, "seed", column) for column in columns])


def part_rows(table: pa.Table, part: str, horizon_days: int) -> pa.Table:
    """The rows of one part at one horizon. Those of the `test`, and of it `before` the refit, are in the order of a
    `TestSet`.
    """
    return table.filter(pc.and_(pc.equal(table["slice"], part), pc.equal(table["horizon_days"], horizon_days)))


def mean_churn(table: pa.Table) -> tuple[dict[int, float], dict[int, float]]:
    """Horizon -> the mean churn that was observed on the test, and the mean that was predicted of the same examples."""
    observed = table.filter(pc.and_(pc.equal(table["slice"], "test"), pc.invert(pc.is_nan(table["churn"]))))
    means = observed.group_by("horizon_days").aggregate([("churn", "mean"), ("churn_probability", "mean")])
    days, churn, predicted = (
        means[name].to_pylist() for name in ("horizon_days", "churn_mean", "churn_probability_mean")
    )
    return dict(zip(days, churn, strict=True)), dict(zip(days, predicted, strict=True))
