import numpy as np
import pandas as pd
import pytest

from models.explanation.global_importance import by_recency, figure, importance_of_groups, to_json


def test_groups_are_ordered_by_weight_and_say_how_often_they_raise_risk():
    contributions = pd.DataFrame({"spend_deli": [0.1, -0.1, 0.1, 0.1], "last_event": [2.0, -1.0, -1.0, 0.0]})
    groups = importance_of_groups(contributions)
    assert [(group.input, group.words, group.weight, group.raises) for group in groups] == [
        ("last_event", "time since the last event", pytest.approx(1.0), 0.25),
        ("spend_deli", "deli", pytest.approx(0.1), 0.75),
    ]


def test_bins_hold_their_beginning_and_not_their_end():
    days = np.array([0.5, 6.99, 7.0, 13.0, 200.0])
    bins = by_recency(days, np.array([0.1, 0.2, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 0, 1.0]))
    assert [(one.from_days, one.to_days, one.customers, one.predicted, one.happened) for one in bins] == [
        (0, 1, 1, 0.1, 0.0),
        (3, 7, 1, 0.2, 0.0),
        (7, 14, 2, pytest.approx(0.5), 0.5),
        (91, None, 1, 0.9, 1.0),
    ]


def test_both_become_json_and_a_picture():
    bins = importance_of_groups(pd.DataFrame({"events": [1.0]})), by_recency(np.ones(1), np.ones(1), np.ones(1))
    assert to_json(*bins)["by_silence"][0]["to_days"] == 3
    assert len(figure(*bins).axes) == 2
