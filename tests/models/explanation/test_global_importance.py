"""What moves risk over all customers, by its definition, and risk by silence."""

import numpy as np
import pandas as pd
import pytest

from models.explanation.global_importance import by_silence, drivers, figure, to_json


def test_the_weightiest_comes_first_with_the_share_that_it_raises():
    found = drivers(pd.DataFrame({"spend_deli": [0.1, -0.1, 0.1, 0.1], "last_event": [2.0, -1.0, -1.0, 0.0]}))
    assert [(one.input, one.words, one.weight, one.raises) for one in found] == [
        ("last_event", "time since the last event", pytest.approx(1.0), 0.25),
        ("spend_deli", "deli", pytest.approx(0.1), 0.75),
    ]


def test_stretches_hold_their_beginning_and_not_their_end():
    days = np.array([0.5, 6.99, 7.0, 13.0, 200.0])
    found = by_silence(days, np.array([0.1, 0.2, 0.4, 0.6, 0.9]), np.array([0, 0, 1, 0, 1.0]))
    assert [(one.from_days, one.to_days, one.customers, one.predicted, one.happened) for one in found] == [
        (0, 1, 1, 0.1, 0.0),
        (3, 7, 1, 0.2, 0.0),
        (7, 14, 2, pytest.approx(0.5), 0.5),
        (91, None, 1, 0.9, 1.0),
    ]


def test_both_become_json_and_a_picture():
    found = drivers(pd.DataFrame({"events": [1.0]})), by_silence(np.ones(1), np.ones(1), np.ones(1))
    assert to_json(*found)["by_silence"][0]["to_days"] == 3
    assert len(figure(*found).axes) == 2
