"""Attributions: the planted cause comes first, and the baseline is the population's."""

import numpy as np
import pandas as pd
import pytest

from models import model_class
from models.explanation import attributions as module
from models.explanation.attributions import attributions, sample
from models.explanation.occlusion import occlusion
from models.explanation.reasons import figures, reasons
from tests.support.worlds.planted_worlds import QUESTION, planted


@pytest.fixture(scope="module")
def data():
    """Gaps that grow foretell churn."""
    return planted("growing-gaps", 800, 3)[0]


@pytest.mark.parametrize("name", ["logistic_regression", "random_forest", "lightgbm"])
def test_the_planted_cause_comes_first_and_is_worded(data, name):
    model = model_class(name)(QUESTION.horizons, 1)
    model.fit(data, None)
    risk = model.predict(data).churn_probability[:, 0]
    most = data.select(np.sort(np.argsort(-risk, kind="stable")[:40]))
    found = attributions(model, most, 0, data)
    assert (found.idxmax(axis=1) == "events").mean() >= 0.95
    told = reasons(found, figures(most))
    assert np.mean([sentences[0].startswith("gaps between events grew from") for sentences in told]) > 0.8


def test_a_regression_without_bends_says_what_occlusion_says(data):
    """Where all is linear, moving a group to the baseline and adding up its weights are one; nulls apart."""
    model = model_class("logistic_regression")(QUESTION.horizons, 1, bent=[])
    model.fit(data, None)
    without_nulls = [column for column in data.aggregates if not data.aggregates[column].isna().any()]
    groups = {module.group_of(column) for column in without_nulls}
    groups -= {module.group_of(column) for column in set(data.aggregates) - set(without_nulls)}
    groups -= {"calendar"}  # of which the regression keeps nothing here
    found, oracle = attributions(model, data, 0, data), occlusion(model, data, 0)
    assert groups
    pd.testing.assert_frame_equal(found[sorted(groups)], oracle[sorted(groups)], atol=0.02, rtol=0.02)


def test_a_sample_is_spread_evenly(data):
    assert sample(data, 10_000) is data
    assert sample(data, 4).customer_id.tolist() == data.customer_id[[0, 200, 400, 600]].tolist()


def test_nobody_has_no_contributions(data):
    model = model_class("lightgbm")(QUESTION.horizons, 1)
    model.fit(data, None)
    assert len(attributions(model, data.select(np.zeros(len(data), bool)), 0, data)) == 0
