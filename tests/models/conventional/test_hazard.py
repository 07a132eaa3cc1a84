"""Hazards on aggregates: which person-periods are learnt from, and what their chain says of a horizon."""

from dataclasses import replace

import numpy as np
import pytest

from features.dataset import Dataset, Labels
from models.conventional.hazard_logistic_regression import HazardLogisticRegression
from models.conventional.person_periods import COLUMNS, Periods
from models.numerics import log_loss
from tests.support.worlds.model_worlds import DAY, START, halves, make_dataset, steady_world, with_labels


def of_days(days: list[list[float]], cutoffs: list[int], horizons: tuple[int, ...] = (10,)) -> Dataset:
    times = [START + (np.array(own) * DAY).astype(np.int64) for own in days]
    return make_dataset(times, [START + cutoff * DAY for cutoff in cutoffs], horizons, np.random.default_rng(1))


def unknown_beyond(data: Dataset, day: int) -> Dataset:
    """`data` with the labels that were known at that day."""
    assert data.labels is not None
    return with_labels(data, data.labels.known_by(data.cutoff, 0, data.horizons, START + day * DAY))


def test_periods_end_at_the_horizons_and_in_between():
    periods = Periods.of(steady_world(horizons=(28, 14, 10)))
    assert (periods.begins, periods.ends, periods.chained) == ([0, 3, 7, 10, 14], [3, 7, 10, 14, 28], True)
    assert [periods.until(horizon) for horizon in (28, 14, 10)] == [slice(0, 5), slice(0, 4), slice(0, 3)]


def test_a_customer_has_a_row_for_each_period_that_begins_in_silence():
    """One comes back on the 5th day after the cutoff, one at once, and one never."""
    data = of_days([[1, 25], [2, 20.5], [3]], [20])
    learnt = Periods((10,), [0, 3, 7], [3, 7, 10], True).learnt_from(data)
    rows = learnt.aggregates[["period_begin", "period_days", "silence_at_period"]].to_numpy()
    assert learnt.customer_id.tolist() == ["c00000", "c00000", "c00001", "c00002", "c00002", "c00002"]
    assert learnt.labels.churn[:, 0].tolist() == [1, 0, 0, 1, 1, 1]
    assert rows.tolist() == [[0, 3, 19], [3, 4, 22], [0, 3, 18], [0, 3, 17], [3, 4, 20], [7, 3, 24]]


def test_a_horizon_known_in_part_teaches_its_first_periods_whether_an_event_came_or_not():
    """At day 26 two periods after day 16 are known, and one after day 22; that an event comes on day 25.5, in the next
    period, may not bring that period in: it would be there for those who come back alone.
    """
    data = unknown_beyond(of_days([[1, 25.5], [2]], [16, 22]), 26)
    learnt = Periods((10,), [0, 3, 7], [3, 7, 10], True).learnt_from(data)
    later = learnt.cutoff == START + 22 * DAY
    assert learnt.aggregates["period_begin"][later].tolist() == [0, 0]
    assert learnt.labels.churn[later, 0].tolist() == [1, 1]
    assert learnt.aggregates["period_begin"][~later].tolist() == [0, 3, 7, 0, 3, 7]
    assert learnt.labels.churn[~later, 0].tolist() == [1, 1, 0, 1, 1, 1]


def test_what_happens_past_the_end_of_knowledge_changes_no_row():
    periods = Periods((10,), [0, 3, 7], [3, 7, 10], True)
    first, second = (unknown_beyond(of_days([[1, late], [2]], [10, 22]), 20) for late in (24.0, 60.0))
    learnt = [periods.learnt_from(data) for data in (first, second)]
    assert np.array_equal(learnt[0].labels.churn, learnt[1].labels.churn)
    assert learnt[0].aggregates[list(COLUMNS)].equals(learnt[1].aggregates[list(COLUMNS)])


def test_where_an_event_is_not_what_churn_means_the_labels_say():
    """As where some events are no return, where an end is churn, or where the horizon begins after a gap."""
    data = steady_world(horizons=(28, 14))
    labels = data.labels
    ends = np.where(np.random.default_rng(2).random(labels.churn.shape[0])[:, None] < 0.3, 1.0, labels.churn)
    other = with_labels(data, Labels(ends, labels.purchases, labels.spend))
    periods = Periods.of(other)
    assert (periods.begins, periods.ends, periods.chained) == ([0, 0], [28, 14], False)
    learnt = periods.learnt_from(other)
    assert np.array_equal(learnt.labels.churn[:, 0], ends.ravel())
    assert np.array_equal(periods.churn(ends), ends)
    train, valid = halves(other)
    model = HazardLogisticRegression((28, 14), 1)
    model.fit(train, valid)
    assert model.survival(valid, np.array([14, 28])) is None
    rate = np.broadcast_to(train.labels.churn.mean(0), valid.labels.churn.shape)
    assert log_loss(valid.labels.churn, model.predict(valid).churn_probability) < log_loss(valid.labels.churn, rate)


def test_a_chain_of_hazards_is_the_survival_of_a_process_without_memory():
    """Everybody buys at one rate, for ever: churn within h days has probability exp(-rate h), for all."""
    random = np.random.default_rng(3)
    days = [np.cumsum(random.exponential(8, 60)).tolist() for _ in range(400)]
    data = of_days(days, list(range(60, 130, 7)), (20, 6))
    model = HazardLogisticRegression((20, 6), 1, strength=0.001)
    model.fit(data, None)
    churn = model.predict(data).churn_probability
    assert churn.mean(axis=0) == pytest.approx(np.exp(-np.array([20, 6]) / 8), abs=0.012)
    assert churn.std(axis=0).max() < 0.05
    survival = model.survival(data, np.array([1, 5, 6, 20]))
    assert survival[:, [3, 2]] == pytest.approx(churn)
    assert survival.mean(axis=0) == pytest.approx(np.exp(-np.array([1, 5, 6, 20]) / 8), abs=0.012)


def test_it_learns_from_horizons_that_have_not_closed():
    """The labels of the long horizon are those of the first cutoffs alone; the hazards come from all of them."""
    data = steady_world(400, horizons=(28, 14))
    last = int(data.cutoff.max())
    partly = with_labels(data, data.labels.known_by(data.cutoff, 0, data.horizons, last + 14 * DAY))
    periods = Periods.of(partly)
    learnt = periods.learnt_from(partly)
    closed = np.isfinite(partly.labels.churn).all(axis=1)
    from_closed = periods.learnt_from(replace(partly.select(closed)))
    assert not closed.all()
    assert len(learnt) > 1.1 * len(from_closed)
    assert set(learnt.cutoff) > set(from_closed.cutoff)
