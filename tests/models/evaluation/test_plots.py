"""The pictures draw the curves of scikit-learn, and say why where there is nothing to draw."""

import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import auc, precision_recall_curve, roc_curve

from models.evaluation import plots
from models.evaluation.comparison import compare
from models.evaluation.intervals import customer_weights
from models.evaluation.result import Result, TestSet, Window

GENERATOR = np.random.default_rng(1)
PROBABILITIES = np.round(GENERATOR.beta(1, 3, 500), 2)
LABELS = (GENERATOR.random(500) < PROBABILITIES).astype(float)
BY_NAME = {"gru": PROBABILITIES, "recency": np.round(PROBABILITIES, 1)}
CURVES = (plots.roc, plots.precision_recall, plots.calibration, plots.gain)


def line(figure, name):
    return next(line for line in figure.axes[0].lines if line.get_label() == name).get_xydata().T


def words(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts]


@pytest.mark.parametrize("name", BY_NAME)
def test_roc_is_that_of_scikit_learn(name):
    x, y = line(plots.roc(LABELS, BY_NAME), name)
    expected = roc_curve(LABELS, BY_NAME[name], drop_intermediate=False)
    assert x == pytest.approx(expected[0])
    assert y == pytest.approx(expected[1])


@pytest.mark.parametrize("name", BY_NAME)
def test_precision_recall_is_that_of_scikit_learn(name):
    x, y = line(plots.precision_recall(LABELS, BY_NAME), name)
    precision, recall, _ = precision_recall_curve(LABELS, np.clip(BY_NAME[name], 1e-7, 1 - 1e-7))
    assert x == pytest.approx(recall[::-1])
    assert y == pytest.approx(precision[::-1])


def test_calibration_is_that_of_scikit_learn():
    distinct = np.clip(PROBABILITIES + np.linspace(0, 1e-4, 500), 1e-7, 1 - 1e-7)
    x, y = line(plots.calibration(LABELS, {"gru": distinct}), "gru")
    observed, predicted = calibration_curve(LABELS, distinct, n_bins=10, strategy="quantile")
    assert x == pytest.approx(predicted)
    assert y == pytest.approx(observed)


def test_gain_lies_between_chance_and_perfection():
    figure = plots.gain(LABELS, BY_NAME)
    x, y = line(figure, "gru")
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert 0.5 < auc(x, y) < auc(*line(figure, "perfect"))


@pytest.mark.parametrize("draw", CURVES)
@pytest.mark.parametrize("labels", [[], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]])
def test_nothing_to_draw_is_said_and_not_a_crash(draw, labels, tmp_path):
    figure = draw(labels, {"gru": np.linspace(0.1, 0.5, len(labels)), "lstm": np.full(len(labels), 0.2)})
    figure.savefig(tmp_path / "figure.png")
    if not labels or (draw is plots.roc):
        assert [text.startswith("undefined") for text in words(figure)] == [True]


def test_training_curves_have_a_panel_a_measure_and_a_line_a_model():
    figure = plots.training_curves(
        {"gru": {"loss": [3, 2, 1], "valid": [4, 3]}, "recency": {}, "lstm": {"loss": [2.0]}}
    )
    assert [axes.get_title() for axes in figure.axes] == ["loss", "valid"]
    x, y = line(figure, "gru")
    assert (x.tolist(), y.tolist()) == ([1, 2, 3], [3, 2, 1])
    assert [drawn.get_label() for drawn in figure.axes[0].lines] == ["gru", "lstm"]
    assert "no model" in words(plots.training_curves({"recency": {}}))[0]


def test_the_networks_of_one_model_share_its_panels_and_its_colour():
    figure = plots.training_curves({"gru": {"loss": [3, 2], "loss_2": [3, 1]}, "lightgbm": {"loss_churn_28": [1.0]}})
    assert [axes.get_title() for axes in figure.axes] == ["loss", "loss_churn_28"]
    first, second = figure.axes[0].lines
    assert first.get_color() == second.get_color()
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["gru"]


@pytest.mark.parametrize("labels", [LABELS, np.zeros(500)])
def test_the_comparison_draws_every_model_with_its_interval(labels, tmp_path):
    results = [
        Result(name, family, "run", "digest", 0.4, BY_NAME[name], 1.0, 10.0)
        for name, family in (("gru", "recurrent"), ("recency", "conventional"))
    ]
    customers = np.array([f"c{number % 90}" for number in range(500)], dtype=object)
    zeros = np.zeros(500, int)
    window = Window(datetime(2017, 11, 6, tzinfo=UTC), datetime(2017, 12, 4, tzinfo=UTC))
    test = TestSet("question", "digest", (window,), zeros, zeros, customers, zeros, labels, {})
    document = compare(results, test, customer_weights(customers, 50, 1), 0.002).to_json()
    figure = plots.comparison(document)
    figure.savefig(tmp_path / "comparison.png")
    panels = {axes.get_title().split()[0]: axes for axes in figure.axes}
    assert len(panels) == 6
    drawn = {tuple(line.get_xdata()) for line in panels["log_loss"].lines}
    for model in document["models"]:
        interval = model["metrics"]["log_loss"]
        assert {(interval["value"],), (interval["low"], interval["high"])} <= drawn
    assert figure.get_supxlabel() == document["verdict"]["sentence"]
    if not labels.any():
        assert words(figure) == ["undefined on these examples"] * 3


def test_pyplot_is_not_imported():
    code = "import sys, models.evaluation.plots as plots; plots.roc([0, 1], {'a': [0.1, 0.9]})"
    code += "; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_churn_is_drawn_against_the_horizon():
    figure = plots.horizons({28: 0.2, 7: 0.5}, {"gru": {7: 0.4, 28: 0.1}})
    assert line(figure, "observed").tolist() == [[7, 28], [0.5, 0.2]]
    assert line(figure, "gru").tolist() == [[7, 28], [0.4, 0.1]]


def test_what_altering_changes_is_drawn_and_nothing_is_said_so():
    change = {"order shuffled": {"value": 0.01, "low": 0.0, "high": 0.02}}
    models = [{"name": "gru", "log_loss_change": change}, {"name": "recency", "log_loss_change": {}}]
    assert line(plots.ablations({"models": models}), "gru")[0].tolist() == [0.01]
    assert words(plots.ablations({"models": models[1:]})) == ["no model of this comparison reads sequences"]
