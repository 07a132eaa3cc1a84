"""Occlusion against models whose every weight is known, through both views."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from features.aggregates.definitions import definitions
from features.dataset import Dataset, Labels, Sequences
from features.question import Question
from models.base import Model, Predictions
from models.explanation import occlusion as module
from models.explanation.feature_groups import group_of
from models.explanation.occlusion import occlusion

DAY = 86_400_000_000
CUTOFF = 18_000 * DAY


class Known(Model):
    """A model that learns nothing: its logit is `logit(data)`."""

    family = "conventional"

    def __init__(self, views, logit):
        super().__init__((28, 56), 0)
        self.views = views
        self.logit = logit
        self.calls = []

    def fit(self, train, valid, on_epoch=None):
        raise NotImplementedError

    def _predict(self, data):
        self.calls.append(len(data))
        second = 1 / (1 + np.exp(-self.logit(data)))
        return Predictions(np.column_stack([np.full(len(data), 0.5), second]))

    def _save(self, folder):
        raise NotImplementedError

    def _load(self, folder, content):
        raise NotImplementedError


@pytest.fixture
def data():
    """Three customers with 1, 3 and 5 events, 2 days apart; the last one 3, 10 and 40 days before the cutoff."""
    steps = [1, 3, 5]
    silence = [3, 10, 40]
    times = [
        CUTOFF - (days + 2 * back) * DAY
        for days, size in zip(silence, steps, strict=True)
        for back in range(size)[::-1]
    ]
    amount = np.array([5.0, 1, 2, 3, 10, 20, 30, 40, np.nan])
    sequences = Sequences(
        offsets=np.array([0, 1, 4, 9]),
        event_time=np.array(times, dtype=np.int64),
        numeric={"amount": amount, "deli": np.arange(9.0)},
        categorical={"store": (np.array([0, 0, 1, 1, 2, 2, 2, 2, 2], np.int32), ["a", "b", "c"])},
        history=np.array([0, 1, 2]),
        length=np.array(steps),
    )
    aggregates = pd.DataFrame(
        {
            "days_since_last_event": np.array(silence, float),
            "overdue": [np.nan, 5.0, 20.0],
            "amount_28": [5.0, 6.0, 0.0],
            "deli_28": [1.0, 0.0, 7.0],
            "days_since_deli": [3.0, np.nan, 41.0],
        }
    )
    customers = np.array(["a", "b", "c"], dtype=object)
    return Dataset((28, 56), customers, np.full(3, CUTOFF), aggregates, sequences, None)


def spans(data):
    """[examples]: microseconds from the first event seen to the last."""
    sequences = data.sequences
    return sequences.event_time[sequences.last_step] - sequences.event_time[sequences.offsets[sequences.history]]


@pytest.mark.parametrize(
    ("column", "group"),
    [
        ("days_since_last_event", "last_event"),
        ("overdue", "last_event"),
        ("overdue_longest", "last_event"),
        ("days_since_activity", "last_event"),
        ("events_share_28", "events"),
        ("amount_mean_91", "amount"),
        ("gap_variation", "events"),
        ("month_sine", "calendar"),
        ("days_since_event_type=sent back", "event_type=sent back"),
        ("event_type=sent back_28", "event_type=sent back"),
        ("days_since_store=s 1", "store=s 1"),
        ("store=s 1_28", "store=s 1"),
        ("days_since_first_event", "first_event"),
        ("events_28", "events"),
        ("events_trend", "events"),
        ("gap_std", "events"),
        ("active_days_total", "events"),
        ("amount_last", "amount"),
        ("quantity_91", "quantity"),
        ("spend_drug_gm_28", "spend_drug_gm"),
        ("days_since_spend_drug_gm", "spend_drug_gm"),
        ("distinct_store_91", "store"),
    ],
)
def test_groups(column, group):
    assert group_of(column) == group


def test_every_aggregate_belongs_to_a_theme_or_to_its_attribute():
    spec = Question().spec({"deli": "numeric", "store": "categorical"})
    found = {group_of(column) for column in definitions(spec)}
    assert found == {"last_event", "first_event", "events", "amount", "quantity", "deli", "store", "calendar"}


def test_aggregates_are_put_at_the_median(data):
    weights = {"days_since_last_event": 0.1, "amount_28": -0.2, "deli_28": 0.3}
    model = Known(("aggregates",), lambda d: sum(w * d.aggregates[name].to_numpy() for name, w in weights.items()))
    found = occlusion(model, data, horizon_index=1)
    assert list(found.columns) == ["last_event", "amount", "deli"]
    assert found["last_event"].to_numpy() == pytest.approx([-0.7, 0.0, 3.0])
    assert found["amount"].to_numpy() == pytest.approx([0.0, -0.2, 1.0])
    assert found["deli"].to_numpy() == pytest.approx([0.0, -0.3, 1.8])


def test_what_a_model_does_not_use_moves_nothing_and_the_horizon_is_the_one_asked_for(data):
    model = Known(("aggregates",), lambda d: 0.1 * d.aggregates["days_since_last_event"].to_numpy())
    found = occlusion(model, data, horizon_index=1)
    assert not found[["amount", "deli"]].to_numpy().any()
    assert not occlusion(model, data, horizon_index=0).to_numpy().any()


def test_the_last_event_is_moved_to_the_median_distance(data):
    def silence(d):
        return (d.cutoff - d.sequences.event_time[d.sequences.last_step]) / DAY / 10

    found = occlusion(Known(("sequences",), silence), data, horizon_index=1)
    assert list(found.columns) == ["last_event", "events", "amount", "deli", "store"]
    assert found["last_event"].to_numpy() == pytest.approx([-0.7, 0.0, 3.0])
    assert found["events"].to_numpy() == pytest.approx(0.0)


def test_events_are_put_at_an_even_pace_behind_the_last(data):
    slower = data.sequences.event_time.copy()
    slower[4:8] -= np.array([20, 12, 6, 2]) * DAY  # the third customer's gaps are now 10, 8, 6 and 4 days
    data = replace(data, sequences=replace(data.sequences, event_time=slower))
    found = occlusion(Known(("sequences",), lambda d: spans(d) / DAY / 10), data, horizon_index=1)
    mean_gap = (2 * 2 + 28) / 6
    assert found["events"].to_numpy() == pytest.approx([0.0, (4 - 2 * mean_gap) / 10, (28 - 4 * mean_gap) / 10])
    assert found["last_event"].to_numpy() == pytest.approx(0.0)


def test_channels_are_put_at_the_mean_of_what_is_seen_and_categories_at_null(data):
    def last(d):
        codes = d.sequences.categorical["store"][0][d.sequences.last_step]
        return np.nan_to_num(d.sequences.numeric["amount"][d.sequences.last_step], nan=0.0) / 10 + (codes == 2)

    found = occlusion(Known(("sequences",), last), data, horizon_index=1)
    mean = np.mean([5, 1, 2, 3, 10, 20, 30, 40])
    assert found["amount"].to_numpy() == pytest.approx([(5 - mean) / 10, (3 - mean) / 10, -mean / 10])
    assert found["store"].to_numpy() == pytest.approx([0.0, 0.0, 1.0])


def test_steps_that_no_example_sees_are_not_in_the_baseline(data):
    model = Known(("sequences",), lambda d: d.sequences.numeric["amount"][d.sequences.last_step] / 10)
    earlier = replace(data, sequences=replace(data.sequences, length=np.array([1, 2, 2])))
    found = occlusion(model, earlier, horizon_index=1)
    mean = np.mean([5, 1, 2, 10, 20])
    assert found["amount"].to_numpy() == pytest.approx(np.array([5 - mean, 2 - mean, 20 - mean]) / 10)


def test_a_group_is_occluded_in_both_views_at_once(data):
    def both(d):
        return d.aggregates["amount_28"].to_numpy() + np.nan_to_num(
            d.sequences.numeric["amount"][d.sequences.last_step]
        )

    model = Known(("aggregates", "sequences"), lambda d: both(d) / 10)
    found = occlusion(model, data, horizon_index=1)
    mean = np.mean([5, 1, 2, 3, 10, 20, 30, 40])
    assert found["amount"].to_numpy() == pytest.approx(np.array([10 - 5 - mean, 9 - 5 - mean, 0 - 5 - mean]) / 10)


def test_the_baseline_is_the_populations(data):
    model = Known(("aggregates",), lambda d: 0.1 * d.aggregates["days_since_last_event"].to_numpy())
    one = data.select(np.array([2]))
    assert occlusion(model, one, 1)["last_event"].to_numpy() == pytest.approx([0.0])
    assert occlusion(model, one, 1, population=data)["last_event"].to_numpy() == pytest.approx([3.0])


def test_batches_change_nothing_and_labels_are_not_shown(data, monkeypatch):
    labelled = replace(data, labels=Labels(*[np.zeros((3, 2))] * 3))

    def logit(d):
        assert d.labels is None
        return spans(d) / DAY / 10 + d.aggregates["amount_28"].to_numpy() / 10

    model = Known(("aggregates", "sequences"), logit)
    whole = occlusion(model, labelled, 1)
    assert model.calls == [3 * (1 + whole.shape[1])]
    monkeypatch.setattr(module, "ROWS_AT_ONCE", 2 * (1 + whole.shape[1]))
    pd.testing.assert_frame_equal(whole, occlusion(model, labelled, 1))
    assert model.calls[1:] == [2 * (1 + whole.shape[1]), 1 + whole.shape[1]]


def test_certain_predictions_and_no_examples_are_finite(data):
    sure = Known(("aggregates",), lambda d: np.full(len(d), 800.0))
    assert np.isfinite(occlusion(sure, data, 1).to_numpy()).all()
    nobody = data.select(np.zeros(3, bool))
    assert occlusion(sure, nobody, 1, population=data).shape == (0, 3)
