"""What held-out parts are for: validation stops a fit, calibration fits a map, and models are chosen by both."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Model, Predictions
from models.calibration import Calibration, Kind, factor_helps
from models.labels import VALUES
from models.numerics import intercept_adjusted, log_losses, logit, sigmoid

CalibrationChoice = Kind | Literal["chosen"]


@dataclass(frozen=True)
class Parts:
    """The examples of one split, as `features.splits.Split` has their cutoffs, each with the labels that were known
    when the next part begins. `known` are those of every cutoff before the test, with the labels that were known when
    the test begins: more than the three parts before it, which lie a horizon apart.
    """

    train: Dataset
    valid: Dataset
    calibrate: Dataset
    known: Dataset
    test: Dataset

    @property
    def held_out(self) -> dict[str, Dataset]:
        """Validation and calibration, where they hold examples, none of them twice: calibration may be the latest part
        of validation, and all of it where validation has one cutoff.
        """
        earlier = self.valid.select(~np.isin(self.valid.cutoff, self.calibrate.cutoff))
        return {part: data for part, data in (("valid", earlier), ("calibrate", self.calibrate)) if len(data)}


def calibrate(model: Model, choice: CalibrationChoice, parts: Parts) -> None:
    """Fit the calibration of a fitted model that has none."""
    raw = {part: model.predict(data) for part, data in parts.held_out.items()}
    model.calibration = fit_calibration(choice, parts, raw)


def fit_calibration(
    choice: CalibrationChoice, parts: Parts, raw: Mapping[str, Predictions], like: Kind | None = None
) -> Calibration | None:
    """The map that the calibration part teaches, from the uncalibrated predictions of `parts.held_out`; None where the
    part holds no label. To be `chosen` is the kind that, fitted on what validation has before it, would have helped
    most, or the kind `like`, where another model's choice counts; likewise the factors of purchases and spend are only
    taken where one fitted before would have helped.
    """
    held_out = parts.held_out
    if choice == "none" or not _is_labelled(held_out.get("calibrate")):
        return None
    churn, values = _labelled(held_out["calibrate"], raw["calibrate"])
    if choice != "chosen":
        return Calibration.fit(choice, *churn, values)
    kind: Kind = "platt"
    if _is_labelled(held_out.get("valid")):
        before, values_before = _labelled(held_out["valid"], raw["valid"])
        kind = like or Calibration.choose(before, churn, held_out["calibrate"].customer_id)
        values = {name: pair for name, pair in values.items() if factor_helps(values_before[name], pair)}
    return Calibration.fit(kind, *churn, values)


def cross_calibrated(
    calibration: Calibration | None, held_out: Mapping[str, Dataset], raw: Mapping[str, Predictions]
) -> dict[str, Predictions]:
    """The predictions of each held-out part under a map of the model's kind that was fitted on the other part. So all
    that is known before the test has a part in the choice, and what is chosen by is what is compared: a model that a
    map improves is not passed over for it.
    """
    crossed = dict(raw)
    if calibration is None or len(held_out) < 2:
        return crossed
    for part, other in (("valid", "calibrate"), ("calibrate", "valid")):
        labels = held_out[other].labels
        assert labels is not None
        fitted = Calibration.fit(calibration.kind, labels.churn, raw[other].churn_probability, {})
        churn = fitted.churn(raw[part].churn_probability)
        crossed[part] = replace(raw[part], churn_probability=churn)
    return crossed


def adjusted_losses(data: Dataset, predictions: Predictions, horizon_index: int) -> Floats:
    """The intercept-adjusted log loss of each example whose label was observed, in nats: what models are chosen by."""
    assert data.labels is not None
    column = [horizon_index]
    churn = data.labels.churn[:, column]
    return log_losses(churn, sigmoid(intercept_adjusted(churn, logit(predictions.churn_probability[:, column]))))


def _is_labelled(data: Dataset | None) -> bool:
    return data is not None and data.labels is not None and bool(np.isfinite(data.labels.churn).any())


def _labelled(data: Dataset, raw: Predictions) -> tuple[tuple[Floats, Floats], dict[str, tuple[Floats, Floats]]]:
    """Labels and probabilities of churn, and by outcome the actual and the expected values."""
    assert data.labels is not None
    expected = {name: getattr(raw, f"expected_{name}") for name in VALUES}
    values = {name: (getattr(data.labels, name), value) for name, value in expected.items() if value is not None}
    return (data.labels.churn, raw.churn_probability), values
