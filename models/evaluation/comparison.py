"""The comparison: every model scored by the same function on the same examples, and the three statements."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from models.evaluation.details import details
from models.evaluation.intervals import CustomerWeights, Interval, mean
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result, TestSet
from models.evaluation.scoring import score
from models.evaluation.statements.apart import APART, apart
from models.evaluation.statements.contribution import Contribution, contribution
from models.evaluation.statements.differences import Difference, only_outcome
from models.evaluation.statements.verdict import Verdict, verdict
from models.evaluation.values import score_values

DETAIL_REPLICATES = 1000  # of the figures beside the metrics


@dataclass(frozen=True)
class Scored:
    """One model's result and its metrics on the test examples."""

    result: Result
    metrics: dict[str, Interval]
    details: dict[str, Interval]
    values: dict[str, dict[str, Interval]]  # purchases and spend, where the model expects such
    seeds: tuple[float, ...]  # the log loss of each seed
    before: Interval | None  # the log loss before the refit

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
            "log_loss_before_refit": asdict(self.before) if self.before else None,
            "spent": dict(self.result.spent),
            "member": self.result.member,
            "members": list(self.result.members),
            "contender": self.result.chosen,
        }


@dataclass(frozen=True)
class Comparison:
    """`models` are in the order of the results; `apart` is of the verdict's models, and of the contribution's pools."""

    test: TestSet
    budget: str
    models: tuple[Scored, ...]
    verdict: Verdict
    contribution: Contribution
    apart: dict[str, dict[str, Difference]]

    def to_json(self) -> dict[str, Any]:
        """The JSON object that `recur compare --format json` prints; undefined figures are None, never NaN."""
        return {
            "question_digest": self.test.question_digest,
            "test_digest": self.test.digest,
            "windows": self.test.windows_json(),
            "models": [model.to_json() for model in self.models],
            "verdict": self.verdict.to_json(),
            "contribution": self.contribution.to_json(),
            "apart": {
                statement: {metric: asdict(difference) for metric, difference in figures.items()}
                for statement, figures in self.apart.items()
            },
            "budget": self.budget,
        }


def compare(
    results: Sequence[Result], test: TestSet, weights: CustomerWeights, margin: float, contact_cost: float = 0.1
) -> Comparison:
    """Score `results` on `test`, whose customers and seeds `weights` resamples (`TestSet.weights`). Figures are means
    over the seeds. `margin` is in log loss.

    Raises ValueError where the evidence would not be comparable: a run on other test examples, with other information
    or another budget, rows too many or too few, a probability that is none, an unobserved label, a name twice.
    """
    _refuse_unequal(results, test)
    scored = []
    for result in results:
        try:
            scored.append(_scored(result, test, weights, contact_cost))
        except ValueError as error:
            raise ValueError(f"{result.name} (run {result.run_id}) cannot be scored: {error}") from error
    decided, added = verdict(results, test.labels, weights, margin), contribution(results, test.labels, weights)
    by_name = {result.name: result for result in results}
    pairs = {
        "verdict": (decided.best_recurrent, decided.best_conventional),
        "contribution": (added.with_member, added.without_member),
    }
    apart_by_statement = {
        statement: apart(by_name[one], by_name[other], test.labels, weights)
        if one and other and not only_outcome(test.labels)
        else dict.fromkeys(APART, Difference())
        for statement, (one, other) in pairs.items()
    }
    return Comparison(test, results[0].budget, tuple(scored), decided, added, apart_by_statement)


def _scored(result: Result, test: TestSet, weights: CustomerWeights, contact_cost: float) -> Scored:
    few = weights.fewer(DETAIL_REPLICATES)
    losses = example_log_loss(test.labels, result.test_probability)
    before = result.test_probability_before
    return Scored(
        result,
        score(test.labels, result.test_probability, weights),
        details(test.labels, result.test_probability, few, contact_cost),
        _values(result, test.values, few),
        tuple(float(losses[test.seed == seed].mean()) for seed in np.unique(test.seed)),
        None if before is None else mean(example_log_loss(test.labels, before), weights),
    )


def _refuse_unequal(results: Sequence[Result], test: TestSet) -> None:
    if not results:
        raise ValueError("there is no model to compare")
    names = [result.name for result in results]
    for result in results:
        run = f"{result.name} (run {result.run_id})"
        if names.count(result.name) > 1:
            raise ValueError(f"{result.name} is there {names.count(result.name)} times: give one run a model")
        if result.information != results[0].information:
            raise ValueError(f"{run} knew other examples than {results[0].name}: train both again")
        if result.budget != results[0].budget:
            raise ValueError(f"{run} had {result.budget}, and {results[0].name} {results[0].budget}: train both again")
        if result.test_digest != test.digest:
            raise ValueError(f"{run} was tested on {result.test_digest}, not on {test.digest}: train it again")
        if np.shape(result.test_probability) != test.labels.shape:
            shapes = f"predictions {np.shape(result.test_probability)} for examples {test.labels.shape}"
            raise ValueError(f"{run} has {shapes}")


def _values(
    result: Result, actual: Mapping[str, ArrayLike], weights: CustomerWeights
) -> dict[str, dict[str, Interval]]:
    expectations = {"purchases": result.test_purchases, "spend": result.test_spend}
    return {
        outcome: score_values(values, expected, weights)
        for outcome, values in actual.items()
        if (expected := expectations[outcome]) is not None and np.isfinite(np.asarray(values)).all()
    }


def _json(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float | None]]:
    return {name: asdict(interval) for name, interval in intervals.items()}
