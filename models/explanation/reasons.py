"""Reasons in plain words: the feature groups that raise a customer's risk, with the customer's own figures."""

import math
from collections.abc import Mapping

import numpy as np
import pandas as pd

from features.dataset import Dataset
from features.time import MICROSECONDS_A_DAY
from models.explanation.feature_groups import AMOUNT, EVENTS, FIRST_EVENT, LAST_EVENT

LEAST = 0.05  # logits: a group that moves the odds by less than five per cent is no reason
WEEKS_FROM = 21
RHYTHM = 21  # last events that make a customer's rhythm
INTER_EVENT_TIMES = 6  # of them at the least, for their later half to be compared with the earlier
SILENCE, ABSENCE, VOLUME = "silence", "absence", "volume"  # subjects of several groups
LITTLE_BEFORE = 7  # days
EVENT_TYPE = "event_type="
GROWN = 1.5  # the factor by which the mean inter-event time must have grown to be a reason


def reasons(contributions: pd.DataFrame, aggregates: pd.DataFrame, top: int = 3) -> list[list[str]]:
    """For each example up to `top` reasons, the strongest first: the groups of `contributions [examples, groups]` that
    raise the risk, worded from the rows of `aggregates [examples, features]` (see `figures`). Groups that tell the same
    of a customer (see `subject`) are one reason, as strong as they are together and in the words of the strongest. A
    group without figures that a person could check is left out, so the list may be short, or empty.
    """
    if len(contributions) != len(aggregates):
        raise ValueError(f"{len(contributions)} contributions do not match {len(aggregates)} rows of aggregates")
    rows = aggregates.to_dict(orient="records")
    return [
        _of_one(dict(zip(contributions.columns, values, strict=True)), row, top)
        for values, row in zip(contributions.to_numpy(), rows, strict=True)
    ]


def figures(data: Dataset) -> pd.DataFrame:
    """What `reasons` quotes of each example: its aggregates, and of its last `RHYTHM` events the mean inter-event time
    in the later half and in the earlier (`gap_lately`, `gap_before`, in days; NaN where there are fewer than
    `INTER_EVENT_TIMES`).
    """
    sequences, rows = data.sequences, np.full((len(data), 2), np.nan)
    for example, (last, seen) in enumerate(zip(sequences.last_step, sequences.length, strict=True)):
        if (count := min(int(seen), RHYTHM) - 1) >= INTER_EVENT_TIMES:
            first, middle = last - count, last - count // 2
            times = sequences.event_time[[first, middle, last]] / MICROSECONDS_A_DAY
            rows[example] = (times[2] - times[1]) / (last - middle), (times[1] - times[0]) / (middle - first)
    return data.aggregates.assign(gap_lately=rows[:, 0], gap_before=rows[:, 1])


def _of_one(contributions: Mapping[str, float], row: Mapping[str, float], top: int) -> list[str]:
    raising = [(value, group) for group, value in contributions.items() if value >= LEAST]
    strength, words = dict[str, float](), dict[str, str]()
    for value, group in sorted(raising, key=lambda entry: (-entry[0], entry[1])):
        if sentence := in_words(group, row):
            about = subject(group, row)
            strength[about] = strength.get(about, 0.0) + value
            words.setdefault(about, (in_words(LAST_EVENT, row) if about == SILENCE else None) or sentence)
    strongest = sorted(words, key=lambda about: -strength[about])
    return list(dict.fromkeys(words[about] for about in strongest))[:top]


def subject(group: str, row: Mapping[str, float]) -> str:
    """What a group's words are about, for one customer. Of a customer with no event in four weeks, whatever fell to
    nothing in them tells of the silence, as does an attribute that was last seen little before the last event; sums of
    money, of quantities and of numeric attributes tell alike how much was bought.
    """
    if group == LAST_EVENT:
        return SILENCE
    figure = _figures_of(row)
    silent = figure.get("events_28") == 0
    if group == EVENTS:
        return SILENCE if silent and not _slower(figure) else group
    if f"days_since_{group}" in row and _absence(group, figure):
        since = figure.get(f"days_since_{group}", math.inf)
        return SILENCE if since - figure.get("days_since_last_event", 0.0) < LITTLE_BEFORE else ABSENCE
    if f"{group}_28" in row and "=" not in group:
        return SILENCE if silent else VOLUME
    return group


def in_words(group: str, row: Mapping[str, float]) -> str | None:
    """The reason that a group is for one customer, or None where its figures give none. `row` is that of `figures`."""
    figure = _figures_of(row)
    if group == LAST_EVENT:
        return _recency(figure)
    if group == FIRST_EVENT:
        days = figure.get("days_since_first_event")
        return None if days is None else f"first event {_length(days)} ago"
    if group in (EVENTS, AMOUNT):
        return (_slower(figure) if group == EVENTS else None) or _fall(group, figure)
    if f"distinct_{group}_91" in figure:
        return _variety(group, figure[f"distinct_{group}_91"])
    if f"days_since_{group}" in row and (absence := _absence(group, figure)):
        return absence
    return _below_average(group, figure)


def _figures_of(row: Mapping[str, float]) -> dict[str, float]:
    return {column: value for column, value in row.items() if not math.isnan(value)}


def _recency(figure: Mapping[str, float]) -> str | None:
    days, gap = figure.get("days_since_last_event", 0.0), figure.get("gap_mean")
    if days < 1:
        return None
    usual = f", usually every {_number(gap)}" if gap is not None and 0.05 <= gap < math.floor(days) else ""
    return f"no event for {_days(days)}{usual}"


def _slower(figure: Mapping[str, float]) -> str | None:
    before, lately = figure.get("gap_before"), figure.get("gap_lately")
    if before is None or lately is None or lately < 1 or lately < GROWN * before:
        return None
    return f"gaps between events grew from {_number(before)} to {_count(_number(lately), 'day')}"


def _absence(group: str, figure: Mapping[str, float]) -> str | None:
    """An attribute that the customer has not had for at least a fortnight, and for longer than any event at all."""
    since = figure.get(f"days_since_{group}")
    if since is None:
        return f"never any {_label(group)}"
    longer = since >= 14 and since - figure.get("days_since_last_event", 0.0) >= 1
    return f"no {_label(group)} for {_length(since)}" if longer else None


def _fall(group: str, figure: Mapping[str, float]) -> str | None:
    """Events or spend of the last four weeks, beside the four before."""
    now, both = figure.get(f"{group}_28"), figure.get(f"{group}_56")
    if now is None or both is None:
        return None
    what = "spend" if group == AMOUNT else "events"
    if both - now > now and _number(both - now) != _number(now):
        return f"{what} fell from {_number(both - now)} to {_number(now)} in four weeks"
    if now <= 0:
        return None
    return f"{f'spend of {_number(now)}' if group == AMOUNT else _count(_number(now), 'event')} in four weeks"


def _below_average(group: str, figure: Mapping[str, float]) -> str | None:
    """A sum over the last four weeks, beside an average four of the nine before, if the customer was there for them."""
    now, thirteen_weeks = figure.get(f"{group}_28"), figure.get(f"{group}_91")
    if now is None or thirteen_weeks is None:
        return None
    before = (thirteen_weeks - now) / 63 * 28
    if figure.get("days_since_first_event", 0.0) >= 91 and before > now and _number(before) != _number(now):
        return f"{_label(group)} fell to {_number(now)} in four weeks, from {_number(before)} in an average four before"
    return f"{_label(group)} of {_number(now)} in four weeks" if now > 0 else None


def _variety(group: str, different: float) -> str | None:
    if different <= 1:
        return f"one {_label(group)} only in 13 weeks" if different == 1 else None
    return f"{_label(group)}: {_number(different)} different in 13 weeks"


def _label(group: str) -> str:
    name, told_apart, value = group.partition("=")
    if told_apart and name != "event_type":
        return f"events with {_label(name)} {value}"
    return group.removeprefix(EVENT_TYPE).removeprefix("spend_").replace("_", " ")


def _length(days: float) -> str:
    return f"{math.floor(days / 7)} weeks" if days >= WEEKS_FROM else _days(days)


def _days(days: float) -> str:
    return _count(f"{math.floor(days)}", "day")


def _count(figure: str, unit: str) -> str:
    return f"{figure} {unit}" if figure == "1" else f"{figure} {unit}s"


def _number(value: float) -> str:
    """Whole from 10 up, else with one digit unless it is 0: 1,234 and 6 and 2.5."""
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.1f}".removesuffix(".0")
