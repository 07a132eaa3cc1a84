import numpy as np
import pandas as pd
import pytest

from models.networks.preparation import LIMIT, Preparation

NAN = np.nan


def test_columns_are_standardised_logarithms_with_the_median_where_undefined():
    prepared = Preparation.fit(pd.DataFrame({"x": [0.0, np.e - 1, NAN, np.e - 1]}))
    rows = prepared.transform(pd.DataFrame({"x": [0.0, np.e - 1, NAN]}))
    assert prepared.names == ["x", "x_is_null"]
    assert rows == pytest.approx(np.array([[-np.sqrt(3), 0], [1 / np.sqrt(3), 0], [1 / np.sqrt(3), 1]]))


def test_columns_that_do_not_vary_or_are_never_defined_are_left_out():
    frame = pd.DataFrame({"constant": [1.0, 1.0], "null": [NAN, NAN], "x": [1.0, 2.0]})
    assert Preparation.fit(frame).names == ["x"]


def test_the_order_of_the_columns_does_not_matter_and_a_missing_one_is_named():
    frame = pd.DataFrame({"x": [1.0, 2.0], "y": [5.0, 3.0]})
    prepared = Preparation.fit(frame)
    assert np.array_equal(prepared.transform(frame[["y", "x"]]), prepared.transform(frame))
    with pytest.raises(KeyError, match="y"):
        prepared.transform(frame[["x"]])


def test_values_beyond_the_limit_are_held_and_json_keeps_all():
    prepared = Preparation.fit(pd.DataFrame({"x": [1.0, 2.0, 3.0]}))
    assert prepared.transform(pd.DataFrame({"x": [-1e300, 1e300]})).ravel().tolist() == [-LIMIT, LIMIT]
    assert Preparation.from_json(prepared.to_json()) == prepared
