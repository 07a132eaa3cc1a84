"""Review: published probabilities against what happened, with pandas and scikit-learn as the oracle."""

from datetime import datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from pipeline.config.sections import Review, Serving
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.runtime.errors import ConfigurationError, NothingToDo
from pipeline.runtime.nights import DAY
from pipeline.steps.publish import publish
from pipeline.steps.review import review
from tests.pipeline.conftest import World
from tests.pipeline.steps.test_publish import leave, scores
from tests.support.published import query
from tests.support.worlds.trained_world import (
    FIRST,
    LATER,
    NEXT,
    PRIMARY,
    churned_by_hand,
    eligible_by_hand,
    loaded_up_to,
    night,
)


@pytest.fixture
def published(fresh_world: World) -> tuple[World, pd.DataFrame]:
    """The first night's customers, with made-up scores at the primary horizon, published before the next night came."""
    customers = eligible_by_hand(fresh_world.events, FIRST)
    random = np.random.default_rng(1)
    frame = scores({customer: float(random.uniform(0.05, 0.95)) for customer in customers}, horizon=PRIMARY)
    leave(fresh_world.settings, night(FIRST), frame)
    with loaded_up_to(fresh_world.settings, FIRST):
        publish(fresh_world.settings, night(FIRST))
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


def test_treated_customers_and_segments_are_shown_apart(published: tuple[World, pd.DataFrame]) -> None:
    world, frame = published
    question = world.settings.question.model_copy(update={"treatments": ("mailed",)})
    settings = world.settings.model_copy(update={"review": Review(segments=("shop",)), "question": question})
    customers = frame["customer_id"].tolist()
    _add_treatments(settings, customers[:40], FIRST + 3 * DAY)
    review(settings, night(LATER))
    rows = query(settings, "select segment, member, metric, value, customers from segment_review")[1]
    found = {(segment, member, metric): (value, count) for segment, member, metric, value, count in rows}
    churned = np.array([churned_by_hand(world.events, customer, FIRST) for customer in customers])
    assert found[("treatment", "treated", "base_rate")] == (pytest.approx(churned[:40].mean()), 40)
    assert found[("treatment", "not treated", "base_rate")] == (pytest.approx(churned[40:].mean()), len(customers) - 40)
    before = world.events[world.events["event_time"] < FIRST].sort_values(["event_time", "event_id"])
    shops = before.groupby("customer_id")["shop"].last().loc[customers].to_numpy()
    for shop in ("a", "b"):
        of_shop = shops == shop
        assert found[("shop", shop, "base_rate")] == (pytest.approx(churned[of_shop].mean()), of_shop.sum())
        probability = frame["churn_probability"][of_shop]
        assert found[("shop", shop, "log_loss")][0] == pytest.approx(log_loss(churned[of_shop], probability))
    whole = query(settings, "select value from outcome_review where metric = 'base_rate'")[1]
    assert whole == [(pytest.approx(churned.mean()),)]  # a treatment is not a return


def test_the_control_group_and_the_others_are_shown_apart(published: tuple[World, pd.DataFrame]) -> None:
    world, frame = published
    assert query(world.settings, "select distinct control from prediction_history")[1] == [(None,)]
    settings = world.settings.model_copy(update={"serving": Serving(control_share=0.5)})
    with loaded_up_to(settings, FIRST):
        publish(settings, night(FIRST))
    control = dict(query(settings, "select customer_id, control from churn_predictions")[1])
    review(settings, night(LATER))
    churned = {each: churned_by_hand(world.events, each, FIRST) for each in frame["customer_id"]}
    rates = [np.mean([churned[each] for each, group in control.items() if group == value]) for value in (1, 0)]
    both = "select control_value, treated_value from outcome_review where metric = 'base_rate'"
    assert query(settings, both)[1] == [pytest.approx(tuple(rates))]
    rows = query(settings, "select member, customers from segment_review where segment = 'control group'")[1]
    assert dict(rows) == {"control": sum(control.values()), "treated": len(control) - sum(control.values())}
    assert query(settings, "select count(*) from segment_review where segment = 'control group, low'")[1] != [(0,)]


def test_a_segment_that_is_no_attribute_is_named(published: tuple[World, pd.DataFrame]) -> None:
    settings = published[0].settings.model_copy(update={"review": Review(segments=("amount",))})
    with pytest.raises(ConfigurationError, match="'amount' is no categorical attribute: there are shop"):
        review(settings, night(LATER))


def _add_treatments(settings: Settings, customers: list[str], moment: datetime) -> None:
    """Adds an event of the type `mailed` for each customer to the last night's object."""
    store = open_store(settings)
    table = pq.read_table(store.path(LATER.date())).to_pandas()
    mailed = table.head(len(customers)).assign(
        customer_id=customers, event_time=moment, event_type="mailed", event_id=[f"m{who}" for who in customers]
    )
    rows = pd.concat([table, mailed]).sort_values(["customer_id", "event_time", "event_id"])
    store.write(LATER.date(), pa.Table.from_pandas(rows, store.schema, preserve_index=False), 0)
