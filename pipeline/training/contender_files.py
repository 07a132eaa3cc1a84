"""The files `contenders/MODEL/WINDOW-SEED.*` of a snapshot: what one fit and its refit predicted, before calibration.

Pools are made of them without a fit, and a training that was stopped goes on from them.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Predictions
from models.contender import Raw, latest_known
from models.held_out import Parts
from pipeline.runtime.described import described, whole
from pipeline.runtime.sealed import DamagedError
from pipeline.training.predictions import prediction_rows

log = logging.getLogger("recur.train")
BEFORE, TEST, LATEST = "before", "test", "latest"


@dataclass(frozen=True, eq=False)
class StoredFit:
    """`parameters` are those that the fit ended with. `spent` is what it and the refit took: epochs, networks, trees.
    `made_of` says of what and how it was made: another one is another fit.
    """

    raw: Raw
    made_of: str
    parameters: dict[str, Any]
    curves: dict[str, list[float]]
    fit_seconds: float
    predict_customers_per_second: float
    spent: dict[str, int]
    ablations: pa.Table


@dataclass(frozen=True)
class ContenderFiles:
    """Of one model, window and seed. `parts` are the window's, whose order the predictions have."""

    folder: Path
    parts: Parts
    window: int
    seed: int

    def write(self, fit: StoredFit) -> None:
        """The JSON comes last: a fit is complete when it is there."""
        raw, data = fit.raw, self._data()
        predictions: dict[str, Predictions] = {**raw.held_out, BEFORE: raw.before, TEST: raw.test}
        if raw.latest is not None:
            predictions[LATEST] = raw.latest
        tables = [prediction_rows(self.seed, self.window, part, data[part], rows) for part, rows in predictions.items()]
        with described(self._root, self._name("parquet")) as file:
            pq.write_table(pa.concat_tables(tables), file)
        with described(self._root, self._name("altered.parquet")) as file:
            pq.write_table(fit.ablations, file)
        content = {
            key: getattr(fit, key)
            for key in ("made_of", "parameters", "curves", "fit_seconds", "predict_customers_per_second", "spent")
        }
        with described(self._root, self._name("json")) as file:
            file.write_text(json.dumps(content), "utf-8")

    def read(self, made_of: str | None = None) -> StoredFit | None:
        """None where there is no complete fit, none that was made of this, or a damaged one."""
        try:
            for kind in ("json", "parquet", "altered.parquet"):
                whole(self._root, self._name(kind), "it is fitted again")
        except DamagedError as error:
            log.warning("%s", error)
            return None
        file = self._root / self._name("json")
        content: dict[str, Any] | None = json.loads(file.read_text("utf-8")) if file.exists() else None
        if content is None or (made_of is not None and content["made_of"] != made_of):
            return None
        table = pq.read_table(self._root / self._name("parquet"))
        parts = table["slice"].unique().to_pylist()
        predictions = {part: _predictions(table.filter(pc.equal(table["slice"], part))) for part in parts}
        before, test, latest = (predictions.pop(part, None) for part in (BEFORE, TEST, LATEST))
        assert before is not None
        assert test is not None
        return StoredFit(
            Raw(predictions, before, test, latest),
            ablations=pq.read_table(self._root / self._name("altered.parquet")),
            **content,
        )

    def _data(self) -> Mapping[str, Dataset]:
        parts = self.parts
        return {**parts.held_out, BEFORE: parts.test, TEST: parts.test, LATEST: latest_known(parts)}

    @property
    def _root(self) -> Path:
        """The snapshot's folder, whose manifest describes the files."""
        return self.folder.parents[1]

    def _name(self, kind: str) -> str:
        return f"{self.folder.relative_to(self._root).as_posix()}/{self.window}-{self.seed}.{kind}"


def _predictions(rows: pa.Table) -> Predictions:
    """From `prediction_rows`, one horizon after the other."""
    horizons = len(rows["horizon_days"].unique())

    def column(name: str) -> Floats | None:
        values = rows[name]
        return None if values.null_count else values.to_numpy().reshape(horizons, -1).T

    churn = column("churn_probability")
    assert churn is not None
    return Predictions(np.ascontiguousarray(churn), column("expected_purchases"), column("expected_spend"))
