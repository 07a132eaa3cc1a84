"""Gaps: every one a label, the last censored where knowledge ends, nothing learnt from beyond."""

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset, Labels, Sequences
from features.sequences.encoding import StateAtCutoff
from features.sequences.gaps import MICROSECONDS_A_DAY as DAY
from features.sequences.gaps import Gaps, NextEvent


def dataset(days: list[list[int]], examples: list[tuple[int, int, int]], churn: list[float]) -> Dataset:
    """Histories of `days`; an example is (cutoff day, history, visible steps), asked about 10 days."""
    cutoff, history, length = (np.array(column, np.int64) for column in zip(*examples, strict=True))
    label = np.array(churn)[:, None]
    return Dataset(
        horizons=(10,),
        customer_id=np.array([f"c{number}" for number in history], dtype=object),
        cutoff=cutoff * DAY,
        aggregates=pd.DataFrame(index=range(len(examples))),
        sequences=Sequences(
            offsets=np.concatenate([[0], np.cumsum([len(own) for own in days])]).astype(np.int64),
            event_time=np.concatenate(days).astype(np.int64) * DAY,
            numeric={},
            categorical={},
            history=history,
            length=length,
        ),
        labels=Labels(label, 1 - label, 1 - label),
    )


def test_every_gap_is_a_label_and_the_last_is_censored_at_the_end_of_knowledge():
    gaps = Gaps.of(dataset([[0, 3, 25, 40], [5]], [(20, 0, 2), (20, 1, 1)], [0, 1]))  # known up to day 30
    assert gaps.days == pytest.approx([3, 22, 5, np.nan, 25], nan_ok=True)
    assert gaps.ended == pytest.approx([1, 1, 0, np.nan, 0], nan_ok=True)
    assert gaps.readable.tolist() == [3, 1]


def test_what_happens_at_or_after_the_end_of_knowledge_changes_nothing():
    examples, churn = [(20, 0, 2), (20, 1, 1)], [0.0, 1.0]
    first = Gaps.of(dataset([[0, 3, 25, 30, 90], [5, 31]], examples, churn))
    other = Gaps.of(dataset([[0, 3, 25, 44, 45], [5, 60]], examples, churn))
    assert np.array_equal(first.days, other.days, equal_nan=True)
    assert np.array_equal(first.ended, other.ended, equal_nan=True)


def test_labels_that_were_not_observed_do_not_extend_knowledge():
    gaps = Gaps.of(dataset([[0, 3, 25]], [(5, 0, 2), (20, 0, 2)], [0.0, np.nan]))  # known up to day 15
    assert gaps.days == pytest.approx([3, 12, np.nan], nan_ok=True)
    assert gaps.ended == pytest.approx([1, 0, np.nan], nan_ok=True)


def test_a_history_of_an_examples_own_ends_at_its_cutoff():
    """It holds what was visible then; the label says that an event came which it does not hold."""
    gaps = Gaps.of(dataset([[0, 3]], [(20, 0, 2)], [0.0]))
    assert gaps.days.tolist() == [3, 17]
    assert gaps.ended.tolist() == [1, 0]


def test_of_a_customer_without_labels_nothing_is_known_past_the_latest_cutoff():
    """Its labels are what came after: the gaps must not tell them. Those up to the cutoff are labels all the same."""
    examples, churn = [(5, 0, 2), (15, 0, 2), (20, 1, 1), (5, 2, 1)], [np.nan, np.nan, 1.0, np.nan]
    data = dataset([[0, 3, 18, 25], [5], [2]], examples, churn)  # the labelled customer is known up to day 30
    gaps, following = Gaps.of(data), NextEvent.of(data)
    assert gaps.days == pytest.approx([3, 15, 2, np.nan, 25, 18], nan_ok=True)
    assert gaps.ended == pytest.approx([1, 1, 0, np.nan, 0, 0], nan_ok=True)
    assert following.days == pytest.approx([13, 3, 10, 15], nan_ok=True)
    assert following.ended == pytest.approx([1, 1, 0, 0], nan_ok=True)


def test_silence_is_counted_from_the_last_visible_event():
    assert StateAtCutoff.of(dataset([[0, 3, 25]], [(20, 0, 2)], [0.0])).silence_days.tolist() == [17]


def test_from_a_cutoff_it_is_as_long_to_the_next_event_or_to_the_end_of_knowledge():
    examples = [(20, 0, 2), (1, 0, 1), (20, 1, 1), (20, 2, 1)]
    following = NextEvent.of(dataset([[0, 3, 25, 40], [5], [8, 30]], examples, [0, 0, 1, 1]))  # known up to day 30
    assert following.days.tolist() == [5, 2, 10, 10]
    assert following.ended.tolist() == [1, 1, 0, 0]  # an event at the end of knowledge is past it


def test_from_a_cutoff_nothing_is_known_of_a_history_of_an_examples_own_or_past_all_labels():
    own = NextEvent.of(dataset([[0, 3]], [(20, 0, 2)], [0.0]))
    late = NextEvent.of(dataset([[0, 3, 25]], [(5, 0, 2), (20, 0, 2)], [0.0, np.nan]))  # known up to day 15
    assert np.isnan(own.days).all()
    assert np.isnan(own.ended).all()
    assert late.days == pytest.approx([10, np.nan], nan_ok=True)
    assert late.ended == pytest.approx([0, np.nan], nan_ok=True)


def test_from_a_cutoff_what_happens_past_the_end_of_knowledge_changes_nothing():
    examples, churn = [(20, 0, 2), (20, 1, 1)], [0.0, 1.0]
    first = NextEvent.of(dataset([[0, 3, 25, 30, 90], [5, 31]], examples, churn))
    other = NextEvent.of(dataset([[0, 3, 25, 44, 45], [5, 60]], examples, churn))
    assert first.days.tolist() == other.days.tolist() == [5, 10]
    assert first.ended.tolist() == other.ended.tolist() == [1, 0]
