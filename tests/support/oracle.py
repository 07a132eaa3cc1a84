"""The plain-pandas reading of a question: examples, aggregates, steps and labels as an analyst would find them, one
customer and one cutoff at a time.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from features.dataset import Dataset
from features.question import Question
from tests.support.worlds.event_worlds import seen_at


def is_active(rows: pd.DataFrame, question: Question) -> pd.Series:
    types, roles = rows["event_type"], {*question.comes_back_with, *question.ends_with}
    if question.activity:
        return types.isin(question.activity)
    return ~types.isin({*question.ends_with, *(set(question.treatments) - roles)})


def is_back(rows: pd.DataFrame, question: Question) -> pd.Series:
    return rows["event_type"].isin(question.comes_back_with) if question.comes_back_with else is_active(rows, question)


def is_asked_about(seen: pd.DataFrame, cutoff: datetime, question: Question) -> bool:
    """Whether one customer is eligible, from what was seen at the cutoff."""
    active = seen.loc[is_active(seen, question), "event_time"]
    ended = seen.loc[seen["event_type"].isin(question.ends_with), "event_time"]
    if active.empty or active.max() < pd.Timestamp(cutoff - timedelta(days=question.active_within)):
        return False
    return ended.empty or ended.max().floor("s") < active.max().floor("s")


def oracle_labels(
    after: pd.DataFrame, cutoff: datetime, question: Question, days: int, until: datetime
) -> tuple[float, float, float]:
    """Churn, purchases and spend of one customer, from the events at and after the cutoff."""
    begin = pd.Timestamp(cutoff + timedelta(days=question.gap))
    end = begin + pd.Timedelta(days=days)
    if end > pd.Timestamp(until):
        return np.nan, np.nan, np.nan
    within = after[(after["event_time"] >= begin) & (after["event_time"] < end)]
    back = within[is_back(within, question)]
    churn = float(back.empty)
    if question.ends_with:
        ends = after["event_type"].isin(question.ends_with)
        churn = np.nan if (ends & (after["event_time"] < begin)).any() else float(ends[within.index].any())
    return churn, back["amount"].notna().sum(), back["amount"].sum()


def oracle_features(
    seen: pd.DataFrame,
    cutoff: datetime,
    question: Question,
    attributes: Mapping[str, str],
    told_apart: Mapping[str, Sequence[str]],
) -> dict[str, float]:
    """One customer's aggregates as an analyst would write them."""
    numeric = [name for name, kind in attributes.items() if kind == "numeric"]
    age = (pd.Timestamp(cutoff) - seen["event_time"]) / pd.Timedelta(days=1)
    gaps = seen["event_time"].diff().dropna() / pd.Timedelta(days=1)
    row = {
        "days_since_last_event": age.min(),
        "days_since_first_event": age.max(),
        "events_total": len(seen),
        "active_days_total": seen["event_time"].dt.date.nunique(),
        "amount_total": seen["amount"].sum(),
        "amount_mean": seen["amount"].mean(),
        "amount_max": seen["amount"].max(),
        "amount_last": seen["amount"].iloc[-1],
        "gap_mean": gaps.mean(),
        "gap_std": gaps.std(ddof=0),
        "gap_max": gaps.max(),
        "gap_last": gaps.iloc[-1] if len(gaps) else np.nan,
        "overdue": age.min() / gaps.mean() if len(gaps) else np.nan,
        "overdue_longest": age.min() / gaps.max() if len(gaps) else np.nan,
        "gap_variation": gaps.std(ddof=0) / gaps.mean() if len(gaps) else np.nan,
        "events_a_day": len(seen) / age.max(),
        "events_trend": (age <= 28).sum() - ((age > 28) & (age <= 56)).sum(),
        "amount_trend": seen.loc[age <= 28, "amount"].sum() - seen.loc[(age > 28) & (age <= 56), "amount"].sum(),
        "amount_mean_91": seen.loc[age <= 91, "amount"].mean(),
        "events_share_7": ratio((age <= 7).sum(), (age <= 28).sum()),
        "events_share_28": ratio((age <= 28).sum(), (age <= 91).sum()),
        "amount_share_28": ratio(seen.loc[age <= 28, "amount"].sum(), seen.loc[age <= 91, "amount"].sum()),
    }
    for name in numeric:
        row[f"days_since_{name}"] = age[seen[name] > 0].min()
    for name in attributes.keys() - set(numeric):
        row[f"distinct_{name}_91"] = seen.loc[age <= 91, name].nunique()
    for days in (7, 14, 28, 56, 91):
        row[f"events_{days}"] = (age <= days).sum()
        row[f"amount_{days}"] = seen.loc[age <= days, "amount"].sum()
    for days in (28, 91):
        for name in ("quantity", *numeric):
            row[f"{name}_{days}"] = seen.loc[age <= days, name].sum()
    if "event_type" in told_apart:
        row["days_since_activity"] = age[is_active(seen, question)].min()
    for name, values in told_apart.items():
        for value in values:
            its = age[seen[name] == value]
            row[f"days_since_{name}={value}"] = its.min()
            row |= {f"{name}={value}_{days}": (its <= days).sum() for days in (28, 91)}
    if question.calendar is not False:
        for name, turn in (("weekday", cutoff.weekday() / 7), ("month", (cutoff.month - 1) / 12)):
            row |= {f"{name}_sine": np.sin(2 * np.pi * turn), f"{name}_cosine": np.cos(2 * np.pi * turn)}
        row["days_to_year_end"] = (pd.Timestamp(cutoff.year + 1, 1, 1, tz="UTC") - pd.Timestamp(cutoff)).days
    return row


def ratio(one: float, other: float) -> float:
    return one / other if other else np.nan


def hold_against_the_plain_reading(
    data: Dataset,
    rows: pd.DataFrame,
    cutoffs: Sequence[datetime],
    until: datetime,
    question: Question,
    attributes: Mapping[str, str],
    told_apart: Mapping[str, Sequence[str]],
    every: int = 1,
) -> None:
    """Raises AssertionError where `data`, built of the revisions `rows`, has other examples than the plain reading, or
    where one of `every` so many of them has another feature, step or label.
    `told_apart` is that of its `FeatureSpec`.
    """
    rows = rows[
        ~rows["customer_id"].isin(question.exclude_customers) & ~rows["event_type"].isin(question.exclude_types)
    ]
    for name, values in question.exclude_values.items():
        rows = rows[~rows[name].isin(values)]
    final = seen_at(rows, until)
    expected = []
    for cutoff in cutoffs:
        for customer, seen in seen_at(rows, cutoff).groupby("customer_id"):
            if is_asked_about(seen, cutoff, question):
                expected.append((cutoff, customer, seen))
    assert [(pd.Timestamp(cutoff).value // 1000, customer) for cutoff, customer, _ in expected] == list(
        zip(data.cutoff.tolist(), data.customer_id.tolist(), strict=True)
    )
    assert data.labels is not None
    steps = data.sequences
    for row, (cutoff, customer, seen) in list(enumerate(expected))[::every]:
        features = oracle_features(seen, cutoff, question, attributes, told_apart)
        assert set(features) == set(data.aggregates.columns)
        for feature, value in features.items():
            assert data.aggregates[feature].iloc[row] == pytest.approx(value, rel=1e-9, abs=1e-6, nan_ok=True), feature
        span = slice(steps.offsets[steps.history[row]], steps.offsets[steps.history[row]] + steps.length[row])
        assert steps.event_time[span].tolist() == (seen["event_time"].astype("int64") // _unit(seen)).tolist()
        np.testing.assert_array_equal(steps.numeric["amount"][span], seen["amount"].to_numpy(float))
        for name, (codes, values) in steps.categorical.items():
            words = [None if code < 0 else values[code] for code in codes[span]]
            assert words == [None if pd.isna(word) else word for word in seen[name]]
        after = final[(final["customer_id"] == customer) & (final["event_time"] >= pd.Timestamp(cutoff))]
        exists = (final["customer_id"] == customer).any()  # who has no event at last never existed
        for column, days in enumerate(question.horizons):
            expected_labels = oracle_labels(after, cutoff, question, days, until) if exists else (np.nan,) * 3
            found = [kind[row, column] for kind in (data.labels.churn, data.labels.purchases, data.labels.spend)]
            assert found == pytest.approx(expected_labels, abs=1e-9, nan_ok=True)
        if question.next_event:
            begin = pd.Timestamp(cutoff + timedelta(days=question.gap))
            soon = after[is_back(after, question) & (after["event_time"] >= begin)]
            soon = soon[soon["event_time"] < begin + pd.Timedelta(days=max(question.horizons))]
            waited = (soon["event_time"].iloc[0] - begin) / pd.Timedelta(days=1) if len(soon) else np.nan
            assert data.labels.next_event_days is not None
            assert data.labels.next_event_type is not None
            assert data.labels.next_event_days[row] == pytest.approx(waited, abs=1e-9, nan_ok=True)
            assert data.labels.next_event_type[row] == (soon["event_type"].iloc[0] if len(soon) else None)


def _unit(seen: pd.DataFrame) -> int:
    return {"us": 1, "ns": 1000}[seen["event_time"].dt.unit]
