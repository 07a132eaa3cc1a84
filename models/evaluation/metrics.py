"""Six metrics of churn probabilities on labelled examples, by one scoring function for every model.

A `Scorer` sorts a model's examples once and then gives every metric for any number of weightings of the customers,
which is what makes a bootstrap over customers affordable.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

METRICS: dict[str, str] = {
    "roc_auc": "the chance that a churner is ranked above a customer who stays, ties counted as half",
    "average_precision": "precision averaged over the churners, from the highest probability down",
    "log_loss": "mean of -log of the probability given to what happened, clipped to [1e-7, 1 - 1e-7]",
    "brier": "mean squared difference between the probability and what happened",
    "calibration_error": "mean absolute difference between predicted and observed churn over ten bins of equal size",
    "lift_at_10_percent": "churn among the tenth most at risk, divided by churn among all",
}
HIGHER_IS_BETTER = frozenset({"roc_auc", "average_precision", "lift_at_10_percent"})

CLIP = 1e-7
BINS = 10
LIFT_SHARE = 0.1


def clip_probabilities(probabilities: ArrayLike) -> Floats:
    """Probabilities in [1e-7, 1 - 1e-7], as every metric here reads them: one certain mistake costs a log loss of 16.1
    and not infinity. Published test predictions are clipped too, so that the metrics can be recomputed from them.
    """
    return np.clip(np.asarray(probabilities, dtype=np.float64), CLIP, 1 - CLIP)


def checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[Floats, Floats]:
    """Both as float64 of one shape `[examples]`, the probabilities clipped.

    Raises ValueError for a label that is neither 0 nor 1 (an unobserved horizon's NaN above all) and for a probability
    outside [0, 1]: neither may reach a metric.
    """
    truth = np.asarray(labels, dtype=np.float64)
    raw = np.asarray(probabilities, dtype=np.float64)
    if truth.ndim != 1 or truth.shape != raw.shape:
        raise ValueError(f"labels {truth.shape} and probabilities {raw.shape} must be of one shape, [examples]")
    if wrong := int(np.sum((truth != 0) & (truth != 1))):
        raise ValueError(f"{wrong} of {len(truth)} labels are neither 0 nor 1: leave out unobserved horizons first")
    if wrong := int(np.sum(~((raw >= 0) & (raw <= 1)))):
        raise ValueError(f"{wrong} of {len(raw)} probabilities are not within [0, 1]")
    return truth, clip_probabilities(raw)


def example_log_loss(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """The log loss of each example, `[examples]`, in nats. Raises what `checked` raises."""
    truth, probability = checked(labels, probabilities)
    return -np.log(np.where(truth == 1, probability, 1 - probability))


def example_squared_error(labels: ArrayLike, probabilities: ArrayLike) -> Floats:
    """The squared difference of each example, `[examples]`. Raises what `checked` raises."""
    truth, probability = checked(labels, probabilities)
    return (truth - probability) ** 2


def calibration_bins(probabilities: Floats) -> NDArray[np.int64]:
    """The bin of each example, `[examples]`, 0 to 9: deciles of the probabilities, drawn as scikit-learn's
    `calibration_curve(strategy="quantile")` draws them. Equal probabilities share a bin: a constant prediction has one.
    """
    edges = np.percentile(probabilities, np.linspace(0, 100, BINS + 1))
    return np.searchsorted(edges[1:-1], probabilities)


class Ties:
    """Examples in order of `by`, from the least up, those with the same taken together."""

    def __init__(self, by: Floats, values: Floats, unit: NDArray[np.int64]) -> None:
        order = np.argsort(by, kind="stable")
        self.values, self.unit, ordered = values[order], unit[order], by[order]
        self.starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])

    def __call__(self, counts: Floats) -> tuple[Floats, Floats]:
        """Weights and weighted sums of the values, both [weightings, ties], of `counts` [weightings, units]."""
        weight = counts[:, self.unit]
        sums = np.add.reduceat(weight * self.values, self.starts, axis=1)
        return np.add.reduceat(weight, self.starts, axis=1), sums


class Scorer:
    """The metrics of one model on one set of examples.

    Called with `counts [weightings, units]`, it gives each metric as `[weightings]`: example `i` weighs
    `counts[:, unit[i]]`, and a unit is a customer. A metric that a weighting
    leaves undefined is NaN: all of them without examples, `roc_auc` where one class is missing, `average_precision` and
    `lift_at_10_percent` where nobody churned. Calibration bins are those of the unweighted examples throughout.
    """

    def __init__(self, labels: ArrayLike, probabilities: ArrayLike, unit: NDArray[np.int64]) -> None:
        truth, probability = checked(labels, probabilities)
        self.examples = len(truth)
        if not self.examples:
            return
        self._totals = _unit_totals(truth, probability, unit)
        order = np.argsort(-probability, kind="stable")
        descending = probability[order]
        starts = np.flatnonzero(np.r_[True, descending[1:] != descending[:-1]])
        group = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, self.examples]))
        churners = np.flatnonzero(truth[order] == 1)
        self._unit = unit[order]
        self._starts = starts  # of the groups of equal probability, from the highest down
        self._churner_unit = self._unit[churners]
        self._churner_group, self._churner_starts = np.unique(group[churners], return_index=True)

    def __call__(self, counts: Floats) -> dict[str, Floats]:
        if not self.examples:
            return {name: np.full(len(counts), np.nan) for name in METRICS}
        with np.errstate(divide="ignore", invalid="ignore"):
            totals = counts @ self._totals
            means = totals / totals[:, :1]
            values = self._ranking(counts)
        values |= {"log_loss": means[:, 1], "brier": means[:, 2], "calibration_error": np.abs(means[:, 3:]).sum(axis=1)}
        return {name: values[name] for name in METRICS}

    def calibration_noise(self, counts: Floats) -> Floats:
        """`[weightings]`: by how much each weighting moves the bins, summed as the calibration error sums them. However
        the truth lies, the calibration error differs from it by no more than the like sum of the sample's own noise.
        """
        if not self.examples:
            return np.full(len(counts), np.nan)
        totals = counts @ self._totals
        everyone = self._totals.sum(axis=0)
        noise: Floats = np.abs(totals[:, 3:] / totals[:, :1] - everyone[3:] / everyone[0]).sum(axis=1)
        return noise

    def _ranking(self, counts: Floats) -> dict[str, Floats]:
        """The metrics of order alone. Only groups of equal probability that hold a churner are looked at."""
        if not len(self._churner_group):
            return dict.fromkeys(("roc_auc", "average_precision", "lift_at_10_percent"), np.full(len(counts), np.nan))
        weight = np.take(counts, self._unit, axis=1)
        if len(self._starts) < self.examples:
            weight = np.add.reduceat(weight, self._starts, axis=1)
        cumulative = np.cumsum(weight, axis=1)
        every = cumulative[:, -1:]
        here, down_to_here = weight[:, self._churner_group], cumulative[:, self._churner_group]
        churners_here = np.add.reduceat(np.take(counts, self._churner_unit, axis=1), self._churner_starts, axis=1)
        churners_down_to_here = np.cumsum(churners_here, axis=1)
        churners = churners_down_to_here[:, -1:]
        stayers = every - churners
        stayers_below = stayers - (down_to_here - churners_down_to_here)
        stayers_tied = here - churners_here
        precision = np.where(down_to_here > 0, churners_down_to_here / down_to_here, 0)
        # A group that the boundary of the top tenth cuts counts in proportion: the mean over all orders of its ties.
        included = np.where(here > 0, np.clip((LIFT_SHARE * every - (down_to_here - here)) / here, 0, 1), 0)
        return {
            "roc_auc": _row_sums(churners_here, stayers_below + stayers_tied / 2) / (churners * stayers)[:, 0],
            "average_precision": _row_sums(churners_here, precision) / churners[:, 0],
            "lift_at_10_percent": _row_sums(churners_here, included) / (LIFT_SHARE * churners[:, 0]),
        }


def _unit_totals(truth: Floats, probability: Floats, unit: NDArray[np.int64]) -> Floats:
    """`[units, 3 + bins]`: each unit's examples, log loss, squared error, and observed minus predicted churn by bin."""
    units, excess = int(unit.max()) + 1, truth - probability
    bins = calibration_bins(probability)
    columns = [np.ones_like(truth), example_log_loss(truth, probability), excess**2]
    columns += [np.where(bins == number, excess, 0) for number in range(BINS)]
    return np.column_stack([np.bincount(unit, weights=column, minlength=units) for column in columns])


def _row_sums(left: Floats, right: Floats) -> Floats:
    sums: Floats = np.einsum("ij,ij->i", left, right)
    return sums
