"""The comparison's JSON is the promised one, agrees with scikit-learn, and a run that is not comparable is refused."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from models.evaluation.comparison import compare
from models.evaluation.metrics import METRICS
from models.evaluation.result import Result, TestSet, Window

EXAMPLES = 300
GENERATOR = np.random.default_rng(1)
TRUTH = GENERATOR.beta(1, 3, EXAMPLES)
LABELS = (GENERATOR.random(EXAMPLES) < TRUTH).astype(float)
CUSTOMERS = np.array([f"c{number}" for number in GENERATOR.integers(0, 120, EXAMPLES)], dtype=object)
WINDOWS = (Window(datetime(2017, 11, 6, tzinfo=UTC), datetime(2017, 12, 4, tzinfo=UTC)),)
RESULTS = [
    Result("recency", "conventional", "run-1", "digest", 0.40, np.round(TRUTH, 1), 0.1, 1e6),
    Result("gru", "recurrent", "run-2", "digest", 0.35, TRUTH, 20.0, 3e4),
    Result("hybrid_gru", "hybrid", "run-3", "digest", 0.36, np.sqrt(TRUTH), 22.0, 3e4),
]


def compared(results=RESULTS, labels=LABELS, customers=CUSTOMERS, seeds=None, **changes):
    seeds = np.zeros(len(labels), int) if seeds is None else seeds
    fixed = {
        "question_digest": "question",
        "digest": "digest",
        "windows": WINDOWS,
        "window": np.zeros(len(labels), int),
        "cutoff": np.zeros(len(labels), int),
        "values": {},
    }
    test = TestSet(labels=labels, customer_id=customers, seed=seeds, **(fixed | changes))
    return compare(results, test, test.weights(7, 100), 0.002)


def test_the_json_object_is_the_promised_one():
    document = json.loads(json.dumps(compared().to_json(), allow_nan=False))
    assert list(document) == [
        "question_digest",
        "test_digest",
        "windows",
        "models",
        "verdict",
        "contribution",
        "apart",
        "budget",
    ]
    assert document["windows"] == [
        {"start": "2017-11-06T00:00:00+00:00", "end": "2017-12-04T00:00:00+00:00", "examples": EXAMPLES}
    ]
    assert [model["name"] for model in document["models"]] == ["recency", "gru", "hybrid_gru"]
    for model in document["models"]:
        assert list(model) == [
            "name",
            "family",
            "run_id",
            "metrics",
            "fit_seconds",
            "predict_customers_per_second",
            "details",
            "values",
            "log_loss_by_seed",
            "log_loss_before_refit",
            "spent",
            "member",
            "members",
            "contender",
        ]
        assert list(model["metrics"]) == list(METRICS)
        for interval in model["metrics"].values():
            assert list(interval) == ["value", "low", "high"]
            assert interval["low"] <= interval["value"] <= interval["high"]
    verdict, contribution = document["verdict"], document["contribution"]
    difference = ["difference", "low", "high", "windows"]
    assert list(verdict) == [
        "sentence",
        "best_recurrent",
        "best_conventional",
        "metric",
        *difference,
        "opponents",
        "mirror",
        "margin",
        "decision",
    ]
    assert list(verdict["mirror"]) == ["best_recurrent", "best_conventional", *difference, "opponents"]
    assert all(list(opponent) == ["name", *difference] for opponent in verdict["opponents"])
    assert list(contribution) == [
        "sentence",
        "without",
        "with",
        "member",
        "best_ranked",
        "members",
        *difference,
        "twin",
        "decision",
    ]
    assert list(contribution["twin"]) == ["name", *difference]
    assert list(document["apart"]) == ["verdict", "contribution"]
    for figures in document["apart"].values():
        assert list(figures) == ["intercept_adjusted_log_loss", "roc_auc"]
        assert all(list(figure) == difference for figure in figures.values())
    assert len(verdict["windows"]) == len(document["apart"]["verdict"]["roc_auc"]["windows"]) == 1


def test_figures_agree_with_scikit_learn_and_with_the_verdict():
    document = compared().to_json()
    losses = {}
    for result, model in zip(RESULTS, document["models"], strict=True):
        probabilities = np.clip(result.test_probability, 1e-7, 1 - 1e-7)
        losses[result.name] = log_loss(LABELS, probabilities)
        assert model["metrics"]["log_loss"]["value"] == pytest.approx(losses[result.name], abs=1e-9)
        assert model["metrics"]["roc_auc"]["value"] == pytest.approx(roc_auc_score(LABELS, probabilities), abs=1e-9)
    verdict = document["verdict"]
    assert (verdict["best_recurrent"], verdict["best_conventional"]) == ("gru", "recency")
    assert verdict["difference"] == pytest.approx(losses["recency"] - losses["gru"], abs=1e-9)


def test_the_figures_of_several_seeds_are_means_over_them():
    tiled = [replace(result, test_probability=np.tile(result.test_probability, 2)) for result in RESULTS]
    tiled[1] = replace(tiled[1], test_probability=np.concatenate([TRUTH, TRUTH**2]))
    seeds = np.repeat([0, 1], EXAMPLES)
    document = compared(tiled, np.tile(LABELS, 2), np.tile(CUSTOMERS, 2), seeds=seeds).to_json()
    each = [log_loss(LABELS, TRUTH), log_loss(LABELS, np.clip(TRUTH**2, 1e-7, 1))]
    assert document["models"][1]["log_loss_by_seed"] == pytest.approx(each)
    assert document["models"][1]["metrics"]["log_loss"]["value"] == pytest.approx(np.mean(each))
    twice, once = document["models"][0]["metrics"], compared().to_json()["models"][0]["metrics"]
    for name in METRICS:
        assert twice[name] == pytest.approx(once[name]), "the same fit twice is no more evidence"


@pytest.mark.parametrize("unequal", [{"information": "others"}, {"budget": "more"}])
def test_a_run_that_knew_or_spent_otherwise_is_refused(unequal):
    with pytest.raises(ValueError, match=r"hybrid_gru \(run run-3\) .*: train both again"):
        compared([*RESULTS[:2], replace(RESULTS[2], **unequal)])


def test_expected_values_are_scored_where_a_model_has_them():
    came = GENERATOR.gamma(1.0, size=EXAMPLES)
    results = [RESULTS[0], replace(RESULTS[1], test_spend=came + 1)]
    models = compared(results, values={"spend": came}).to_json()["models"]
    assert models[0]["values"] == {}
    assert models[1]["values"]["spend"]["mae"]["value"] == pytest.approx(1.0)


def test_the_same_evidence_gives_the_same_comparison():
    assert compared().to_json() == compared().to_json()


def test_one_class_only_gives_nulls_and_no_crash():
    document = compared(labels=np.zeros(EXAMPLES)).to_json()
    metrics = document["models"][0]["metrics"]
    assert metrics["roc_auc"] == {"value": None, "low": None, "high": None}
    assert metrics["log_loss"]["value"] > 0
    json.dumps(document, allow_nan=False)


def changed(number, **changes):
    return [replace(result, **changes) if place == number else result for place, result in enumerate(RESULTS)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"results": changed(1, test_digest="other")}, r"gru \(run run-2\) was tested on other, not on digest"),
        ({"results": changed(2, test_probability=TRUTH[1:])}, r"hybrid_gru \(run run-3\) has predictions \(299,\)"),
        ({"results": changed(0, test_probability=TRUTH - 2)}, r"recency \(run run-1\) cannot be scored: 300 of 300"),
        ({"results": changed(0, name="gru")}, "gru is there 2 times"),
        ({"results": []}, "there is no model to compare"),
        ({"labels": np.r_[np.nan, LABELS[1:]]}, "1 of 300 labels are neither 0 nor 1"),
        (
            {"customers": CUSTOMERS[1:], "seeds": np.zeros(299, int), "window": np.zeros(299, int)},
            "do not match weights",
        ),
    ],
)
def test_what_is_not_comparable_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        compared(**arguments)
