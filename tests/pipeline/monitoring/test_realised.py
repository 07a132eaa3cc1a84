"""What really happened to scored customers, as it is known when a review looks."""

from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd

from features.question import Question
from pipeline.monitoring.realised import Closed, realised
from pipeline.runtime.paths import StateFolder
from tests.support.stored import stored
from tests.support.worlds.event_worlds import END, revisions


def test_who_is_known_no_more_did_not_churn(tmp_path: Path) -> None:
    cutoff = END - timedelta(days=28)
    then, later = pd.Timestamp(cutoff - timedelta(days=3)), pd.Timestamp(cutoff + timedelta(days=2))
    first = revisions(1, unusual=0.0).head(1).assign(customer_id="anonymous", event_time=then, known_time=then)
    rows = pd.concat(
        [
            first,
            first.assign(customer_id="account", known_time=later),
            first.assign(event_id="b", customer_id="silent"),
            first.assign(event_id="c", customer_id="back", event_time=later, known_time=later),
        ]
    )
    store, state = stored(tmp_path / "events", rows), StateFolder(tmp_path)
    happened = realised(store, state, Question(), Closed(cutoff, 14, END))
    np.testing.assert_array_equal(happened.churn(["anonymous", "silent", "back"]), [np.nan, 1.0, 0.0])
