"""What held-out parts are for: validation stops a fit, calibration fits a map, and models are chosen by both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Model, Predictions
from models.calibration import Calibration, Kind
from models.evaluation.metrics import example_log_loss

CalibrationChoice = Kind | Literal["chosen"]


@dataclass(frozen=True)
class Parts:
    """The examples of one split, as `features.splits.Split` has their cutoffs."""

    train: Dataset
    valid: Dataset
    calibrate: Dataset
    test: Dataset

    @property
    def held_out(self) -> dict[str, Dataset]:
        """Validation and calibration, where they hold examples, none of them twice: calibration may be the latest part
        of validation, and all of it where validation has one cutoff.
        """
        earlier = self.valid.select(~np.isin(self.valid.cutoff, self.calibrate.cutoff))
        return {part: data for part, data in (("valid", earlier), ("calibrate", self.calibrate)) if len(data)}


def calibrate(model: Model, kind: CalibrationChoice, parts: Parts) -> None:
    """Fit the calibration of a fitted model where its part holds a label. What validation has before it decides the
    kind where that is to be chosen.
    """
    data = parts.calibrate
    if kind == "none" or data.labels is None or not np.isfinite(data.labels.churn).any():
        return
    before = parts.valid.select(parts.valid.cutoff < data.cutoff.min())
    labelled = before.labels is not None and bool(np.isfinite(before.labels.churn).any())
    model.calibrate(None if kind == "chosen" else kind, data, before if labelled else None)


def cross_calibrated(
    calibration: Calibration | None, held_out: Mapping[str, Dataset], uncalibrated: Mapping[str, Predictions]
) -> dict[str, Predictions]:
    """The predictions of each held-out part under a map of the model's kind that was fitted on the other part. So all
    that is known before the test has a part in the choice, and what is chosen by is what is compared: a model that a
    map improves is not passed over for it.
    """
    crossed = dict(uncalibrated)
    if calibration is None or len(held_out) < 2:
        return crossed
    for part, other in (("valid", "calibrate"), ("calibrate", "valid")):
        labels = held_out[other].labels
        assert labels is not None
        fitted = Calibration.fit(calibration.kind, labels.churn, uncalibrated[other].churn_probability, {})
        churn = fitted.churn(uncalibrated[part].churn_probability)
        crossed[part] = replace(uncalibrated[part], churn_probability=churn)
    return crossed


def observed_log_losses(data: Dataset, predictions: Predictions, horizon_index: int) -> Floats:
    """The log loss of each example whose label was observed, in nats."""
    assert data.labels is not None
    churn = data.labels.churn[:, horizon_index]
    observed = ~np.isnan(churn)
    return example_log_loss(churn[observed], predictions.churn_probability[observed, horizon_index])
