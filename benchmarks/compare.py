"""The three statements and every figure of `recur compare`, beside the same intervals by scikit-learn and a loop.

Seven models on 80,000 test rows, examples times seeds. Ours draws 10,000 replicates of customers and seeds as a matrix
product, and a thousand for what is no mean; the peer draws customers and scores each replicate with scikit-learn, as
evaluation code commonly does. It is run for a few replicates, and its seconds are those of as many as ours by
proportion, for log loss and ROC AUC alone, which is less than ours answers.
"""

import argparse
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

import benchmarks.support.results
from models import model_class
from models.evaluation.comparison import compare
from models.evaluation.result import REPLICATES, Result, TestSet, Window

MODELS = ("recency", "logistic_regression", "random_forest", "lightgbm", "conventional_pool", "gru", "recurrent_pool")
EXAMPLES_A_CUSTOMER, BASE_RATE_LOGIT = 4, -1.0


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="compare")
    options.add_argument("--rows", type=int, default=80_000)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--windows", type=int, default=3)
    options.add_argument("--peer-replicates", type=int, default=10)
    asked = options.parse_args(arguments)
    test, results = _made_up(asked.rows // asked.seeds, asked.seeds, asked.windows)
    begun = time.perf_counter()
    comparison = compare(results, test, test.weights(0), margin=0.002).to_json()
    ours = time.perf_counter() - begun
    assert comparison["verdict"]["sentence"]
    begun = time.perf_counter()
    _by_scikit_learn(test, results, asked.peer_replicates)
    peer = (time.perf_counter() - begun) * REPLICATES / asked.peer_replicates
    benchmarks.support.results.write(
        "compare",
        {"rows": len(test.labels), "models": len(results), "seeds": asked.seeds, "windows": asked.windows},
        {"compare_seconds": ours},
        {"scikit_learn": {"compare_seconds": peer, "replicates_run": asked.peer_replicates}},
        {"compare_seconds": peer / ours},
    )


def _made_up(examples: int, seeds: int, windows: int) -> tuple[TestSet, list[Result]]:
    """Customers of known risk, and models that see it through noise of their own and of each seed."""
    random = np.random.default_rng(1)
    window = np.sort(random.integers(windows, size=examples))
    customers = np.char.mod("c%07d", random.integers(examples // EXAMPLES_A_CUSTOMER, size=examples)).astype(object)
    logit = BASE_RATE_LOGIT + random.normal(size=examples)
    labels = (random.random(examples) < _probability(logit)).astype(float)
    start = datetime(2024, 1, 1, tzinfo=UTC)
    test = TestSet(
        question_digest="question",
        digest="digest",
        windows=tuple(
            Window(start + timedelta(days=28 * number), start + timedelta(days=28 * (number + 1)))
            for number in range(windows)
        ),
        window=np.tile(window, seeds),
        seed=np.repeat(np.arange(seeds), examples),
        customer_id=np.tile(customers, seeds),
        cutoff=np.tile(window, seeds),
        labels=np.tile(labels, seeds),
        values={},
    )
    results = []
    for number, name in enumerate(MODELS):
        own = logit + 0.3 * random.normal(size=examples)
        shown = np.concatenate([own + 0.1 * random.normal(size=examples) for _ in range(seeds)])
        member = "gru" if name == "recurrent_pool" else None
        result = Result(name, model_class(name).family, "run", "digest", 0.5, _probability(shown), 1.0, 1.0)
        results.append(replace(result, valid_log_loss=0.5 + number / 1000, member=member))
    return test, results


def _by_scikit_learn(test: TestSet, results: list[Result], replicates: int) -> None:
    from sklearn.metrics import log_loss, roc_auc_score

    random = np.random.default_rng(1)
    _, customer = np.unique(test.customer_id.astype(str), return_inverse=True)
    for _ in range(replicates):
        weight = np.bincount(random.integers(customer.max() + 1, size=customer.max() + 1), minlength=customer.max() + 1)
        rows = weight[customer]
        for result in results:
            log_loss(test.labels, result.test_probability, sample_weight=rows)
            roc_auc_score(test.labels, result.test_probability, sample_weight=rows)


def _probability(logit: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-logit))
