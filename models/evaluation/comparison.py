"""The comparison: every model scored by the same function on the same examples, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.details import details
from models.evaluation.intervals import CustomerWeights, Interval, customer_weights, score
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result
from models.evaluation.values import score_values
from models.evaluation.verdict import Verdict, verdict

__all__ = ["Comparison", "Result", "Scored", "compare"]

DETAIL_REPLICATES = 300  # of the figures beside the metrics that decide


@dataclass(frozen=True)
class Scored:
    """One model's result and its metrics on the test examples."""

    result: Result
    metrics: dict[str, Interval]
    details: dict[str, Interval]
    values: dict[str, dict[str, Interval]]  # purchases and spend, where the model expects such
    seeds: tuple[float, ...]  # the log loss of each seed

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.result.name,
            "family": self.result.family,
            "run_id": self.result.run_id,
            "metrics": _json(self.metrics),
            "fit_seconds": float(self.result.fit_seconds),
            "predict_customers_per_second": float(self.result.predict_customers_per_second),
            "details": _json(self.details),
            "values": {outcome: _json(metrics) for outcome, metrics in self.values.items()},
            "log_loss_by_seed": list(self.seeds),
        }


@dataclass(frozen=True)
class Comparison:
    """`models` are in the order in which their results were given."""

    question_digest: str
    test_digest: str
    budget: str
    windows: tuple[dict[str, Any], ...]
    models: tuple[Scored, ...]
    verdict: Verdict

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `recur compare --format json` prints; undefined figures are None, never NaN."""
        return {
            "question_digest": self.question_digest,
            "test_digest": self.test_digest,
            "windows": [dict(window) for window in self.windows],
            "models": [model.to_json() for model in self.models],
            "verdict": self.verdict.to_json(),
            "budget": self.budget,
        }


def compare(
    results: Sequence[Result],
    labels: ArrayLike,
    customer_id: ArrayLike,
    *,
    question_digest: str,
    test_digest: str,
    windows: Sequence[Mapping[str, Any]],
    margin: float,
    seed: int,
    replicates: int = 1000,
    seeds: ArrayLike | None = None,
    values: Mapping[str, ArrayLike] | None = None,
    contact_cost: float = 0.1,
) -> Comparison:
    """Score `results` on the test examples, whose churn at the primary horizon is `labels [rows]`: a row is an example,
    or with several fits of every recipe an example and a seed, told by `seeds [rows]`. Figures are over all rows, so a
    log loss is the mean over the seeds; whole customers are resampled, with the rows of every seed. `values` are the
    purchases and spend that came.

    `windows` are the test's forward windows, each `start`, `end` (datetimes, dates or text) and `examples`, a number.

    Raises ValueError where the evidence would not be comparable: a run on other test examples, with other information
    or another budget, a row too many or too
    few, a probability that is none, a label that is not observed, a name given twice, windows that do not add up.
    """
    truth, customers = np.asarray(labels, dtype=np.float64), np.asarray(customer_id, dtype=object)
    _refuse_unequal(results, truth, customers, test_digest)
    of_seed = np.zeros(len(truth), np.int64) if seeds is None else np.asarray(seeds)
    examples = int((of_seed == 0).sum())
    if (listed := sum(int(window["examples"]) for window in windows)) != examples:
        raise ValueError(f"the windows hold {listed} examples and the test {examples}")
    weights = customer_weights(customers, replicates, seed)
    fewer = customer_weights(customers, min(replicates, DETAIL_REPLICATES), seed)
    scored = []
    for result in results:
        try:
            losses = example_log_loss(truth, result.test_probability)
            scored.append(
                Scored(
                    result,
                    score(truth, result.test_probability, weights),
                    details(truth, result.test_probability, fewer, contact_cost),
                    _values(result, values or {}, fewer),
                    tuple(float(losses[of_seed == number].mean()) for number in np.unique(of_seed)),
                )
            )
        except ValueError as error:
            raise ValueError(f"{result.name} (run {result.run_id}) cannot be scored: {error}") from error
    return Comparison(
        question_digest=question_digest,
        test_digest=test_digest,
        budget=results[0].budget,
        windows=tuple(_window(window) for window in windows),
        models=tuple(scored),
        verdict=verdict(results, truth, weights, margin),
    )


def _refuse_unequal(results: Sequence[Result], labels: np.ndarray, customers: np.ndarray, test_digest: str) -> None:
    if not results:
        raise ValueError("there is no model to compare")
    if labels.shape != customers.shape:
        raise ValueError(f"labels {labels.shape} and customer_id {customers.shape} must be of one shape, [examples]")
    names = [result.name for result in results]
    for result in results:
        run = f"{result.name} (run {result.run_id})"
        if names.count(result.name) > 1:
            raise ValueError(f"{result.name} is there {names.count(result.name)} times: give one run a model")
        if result.information != results[0].information:
            raise ValueError(f"{run} knew other examples than {results[0].name}: train both again")
        if result.budget != results[0].budget:
            raise ValueError(f"{run} had {result.budget}, and {results[0].name} {results[0].budget}: train both again")
        if result.test_digest != test_digest:
            raise ValueError(f"{run} was tested on {result.test_digest}, not on {test_digest}: train it again")
        if np.shape(result.test_probability) != labels.shape:
            raise ValueError(f"{run} has predictions {np.shape(result.test_probability)} for examples {labels.shape}")


def _values(result: Result, came: Mapping[str, ArrayLike], weights: CustomerWeights) -> dict[str, dict[str, Interval]]:
    said = {"purchases": result.test_purchases, "spend": result.test_spend}
    return {
        outcome: score_values(actual, expected, weights)
        for outcome, actual in came.items()
        if (expected := said[outcome]) is not None and np.isfinite(np.asarray(actual)).all()
    }


def _json(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: interval.to_json() for name, interval in intervals.items()}


def _window(window: Mapping[str, Any]) -> dict[str, Any]:
    def text(moment: Any) -> str:
        return moment.isoformat() if isinstance(moment, (date, datetime)) else str(moment)

    return {"start": text(window["start"]), "end": text(window["end"]), "examples": int(window["examples"])}
