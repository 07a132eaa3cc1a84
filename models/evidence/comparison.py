"""The comparison: every model scored by the same function on the same examples, and the verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models.evidence.intervals import Interval, customer_weights, score
from models.evidence.result import Result
from models.evidence.verdict import Verdict, verdict

__all__ = ["Comparison", "Result", "Scored", "compare"]


@dataclass(frozen=True)
class Scored:
    """One model's result and its metrics on the test examples."""

    result: Result
    metrics: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.result.name,
            "family": self.result.family,
            "run_id": self.result.run_id,
            "metrics": {name: interval.to_json() for name, interval in self.metrics.items()},
            "fit_seconds": float(self.result.fit_seconds),
            "predict_customers_per_second": float(self.result.predict_customers_per_second),
        }


@dataclass(frozen=True)
class Comparison:
    """`models` are in the order in which their results were given."""

    question_digest: str
    test_digest: str
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
) -> Comparison:
    """Score `results` on the test examples, whose churn at the primary horizon is `labels [examples]`.

    `windows` are the test's forward windows, each `start`, `end` (datetimes, dates or text) and `examples`, a number.

    Raises ValueError where the evidence would not be comparable: a run on other test examples, a row too many or too
    few, a probability that is none, a label that is not observed, a name given twice, windows that do not add up.
    """
    truth, customers = np.asarray(labels, dtype=np.float64), np.asarray(customer_id, dtype=object)
    _refuse_unequal(results, truth, customers, test_digest)
    if (listed := sum(int(window["examples"]) for window in windows)) != len(truth):
        raise ValueError(f"the windows hold {listed} examples and the test {len(truth)}")
    weights = customer_weights(customers, replicates, seed)
    scored = []
    for result in results:
        try:
            scored.append(Scored(result, score(truth, result.test_probability, weights)))
        except ValueError as error:
            raise ValueError(f"{result.name} (run {result.run_id}) cannot be scored: {error}") from error
    return Comparison(
        question_digest=question_digest,
        test_digest=test_digest,
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
        if result.test_digest != test_digest:
            raise ValueError(f"{run} was tested on {result.test_digest}, not on {test_digest}: train it again")
        if np.shape(result.test_probability) != labels.shape:
            raise ValueError(f"{run} has predictions {np.shape(result.test_probability)} for examples {labels.shape}")


def _window(window: Mapping[str, Any]) -> dict[str, Any]:
    def text(moment: Any) -> str:
        return moment.isoformat() if isinstance(moment, (date, datetime)) else str(moment)

    return {"start": text(window["start"]), "end": text(window["end"]), "examples": int(window["examples"])}
