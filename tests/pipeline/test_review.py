"""Review: published probabilities against what happened, with pandas and scikit-learn as the oracle."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.errors import NothingToDo
from pipeline.publish import publish
from pipeline.review import review
from pipeline.serving.query import query
from tests.pipeline.conftest import World
from tests.pipeline.test_publish import leave, scores
from tests.pipeline.trained_world import FIRST, LATER, NEXT, PRIMARY, churned_by_hand, eligible_by_hand, night


@pytest.fixture
def published(fresh_world: World) -> tuple[World, pd.DataFrame]:
    """The first night's customers, with made-up scores at the primary horizon, published before the next night came."""
    later = [fresh_world.settings.events / f"{cutoff.date()}.parquet" for cutoff in (NEXT, LATER)]
    for file in later:
        file.rename(file.with_suffix(".later"))
    customers = eligible_by_hand(fresh_world.events, FIRST)
    random = np.random.default_rng(1)
    frame = scores({customer: float(random.uniform(0.05, 0.95)) for customer in customers}, horizon=PRIMARY)
    leave(fresh_world.settings, night(FIRST), frame)
    publish(fresh_world.settings, night(FIRST))
    for file in later:
        file.with_suffix(".later").rename(file)
    return fresh_world, frame


def test_the_outcome_is_what_pandas_reads(published: tuple[World, pd.DataFrame]) -> None:
    world, frame = published
    assert review(world.settings, night(LATER))["reviewed"] == [(FIRST.date(), PRIMARY)]
    rows = query(world.settings, "select metric, value, low, high, customers from outcome_review")[1]
    found = {metric: (value, low, high) for metric, value, low, high, _ in rows}
    churned = np.array([churned_by_hand(world.events, customer, FIRST) for customer in frame["customer_id"]])
    assert {customers for *_, customers in rows} == {len(frame)}
    assert found["base_rate"][0] == pytest.approx(churned.mean())
    assert found["mean_predicted"][0] == pytest.approx(frame["churn_probability"].mean())
    assert found["roc_auc"][0] == pytest.approx(roc_auc_score(churned, frame["churn_probability"]))
    assert found["log_loss"][0] == pytest.approx(log_loss(churned, frame["churn_probability"]))
    assert all(low <= value <= high for value, low, high in found.values())


def test_a_horizon_is_reviewed_once_and_not_before_it_closes(published: tuple[World, pd.DataFrame]) -> None:
    world, _ = published
    with pytest.raises(NothingToDo, match="the next closes on 2020-08-15"):
        review(world.settings, night(NEXT))
    review(world.settings, night(LATER))
    with pytest.raises(NothingToDo, match="none is waiting"):
        review(world.settings, night(LATER))


def test_a_backfilled_night_is_never_reviewed(published: tuple[World, pd.DataFrame]) -> None:
    """Published again when later nights are loaded, it could have been made with what happened in view."""
    world, _ = published
    review(world.settings, night(LATER))
    assert query(world.settings, "select distinct backfilled from prediction_history")[1] == [(0,)]
    publish(world.settings, night(FIRST))
    assert query(world.settings, "select count(*) from outcome_review")[1] == [(0,)]
    assert query(world.settings, "select distinct backfilled from prediction_history")[1] == [(1,)]
    with pytest.raises(NothingToDo, match="none is waiting"):
        review(world.settings, night(LATER))
