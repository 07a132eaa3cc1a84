"""The benchmark of few labels: who has labels is drawn as it says, and the labels of all others have no say."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.few_labels import LABELLED, LEAST, PRETRAINED, draw_customers, predict
from features.dataset import Dataset
from models import POOLED
from models.held_out import Parts
from models.spec import ModelSpec
from tests.support.worlds.model_worlds import HORIZON, steady_world

SMALL = {"max_epochs": 1, "seeds": 1, "units": 4, "head_units": 6, "batch_size": 16}
SPECS = [ModelSpec(name, {}) for name in (*POOLED, "hazard_logistic_regression")] + [ModelSpec("survival_gru", SMALL)]


@pytest.fixture(scope="module")
def parts() -> Parts:
    world = steady_world(horizons=(HORIZON,))
    cutoffs = np.unique(world.cutoff)
    train, valid, rest = (
        world.select((world.cutoff >= first) & (world.cutoff < last))
        for first, last in ((cutoffs[0], cutoffs[6]), (cutoffs[6], cutoffs[9]), (cutoffs[9], cutoffs[-1] + 1))
    )
    return Parts(train, valid, rest, train, rest)


def test_a_share_has_labels_with_both_outcomes_among_them(parts: Parts) -> None:
    every = set(parts.train.customer_id) | set(parts.valid.customer_id)
    few, half = (draw_customers(parts, share, 0, 3) for share in (1, 50))
    assert few == draw_customers(parts, 1, 0, 3) != draw_customers(parts, 1, 0, 4)
    assert 2 * LEAST <= len(few) <= -(-len(every) // 100) + 4 * LEAST
    assert len(every) // 2 <= len(half) <= len(every) // 2 + 1 + 4 * LEAST
    assert few < half < draw_customers(parts, 100, 0, 3) == every
    for data in (parts.train, parts.valid):
        drawn = np.isin(data.customer_id, list(few)) & (data.cutoff == data.cutoff.max())
        assert min(np.bincount(data.labels.churn[drawn, 0].astype(int), minlength=2)) >= LEAST


def test_the_labels_of_all_others_have_no_say_and_their_histories_do(parts: Parts) -> None:
    known = draw_customers(parts, 30, 0, 3)

    def turned(data: Dataset) -> Dataset:
        unknown = ~np.isin(data.customer_id, list(known))[:, None]
        return replace(
            data, labels=replace(data.labels, churn=np.where(unknown, 1 - data.labels.churn, data.labels.churn))
        )

    others = replace(parts, train=turned(parts.train), valid=turned(parts.valid))
    here, there = (predict(each, known, SPECS, 5) for each in (parts, others))
    for name, predictions in here.items():
        assert np.array_equal(predictions.churn_probability, there[name].churn_probability), name
    assert not np.allclose(here[PRETRAINED].churn_probability, here[LABELLED].churn_probability, atol=1e-4)
