"""The calendar, one piece of information for models of both sides: who reads the steps of histories reads theirs, who
reads aggregates reads the columns, and neither reads any where it is switched off.
"""

from collections.abc import Mapping
from typing import Any

from features.aggregates.calendar import TIME_OF_YEAR, WORDS
from features.dataset import Dataset
from features.sequences.encoding import spans_a_year


def reads_calendar(train: Dataset, parameters: Mapping[str, Any]) -> bool:
    """Whether a model of these `parameters` reads it: its `calendar` says so, and the question has it in the data."""
    return bool(parameters["calendar"]) and bool(set(WORDS) & set(train.aggregates.columns))


def varies(train: Dataset) -> bool:
    """Whether the calendar, where the question has it in the data, is not the same for all examples and all steps."""
    added = set(columns_read(train, {"calendar": True})) - set(columns_read(train, {"calendar": False}))
    return any(train.aggregates[name].nunique() > 1 for name in added) or (bool(added) and spans_a_year(train))


def columns_read(train: Dataset, parameters: Mapping[str, Any]) -> list[str]:
    """The aggregates that a model of these `parameters` learns from: those of `train`, without the calendar where it is
    not read, and without the time of year where training does not span one.
    """
    unread: set[str] = set(WORDS)
    if reads_calendar(train, parameters):
        unread = set() if spans_a_year(train) else set(TIME_OF_YEAR)
    return [name for name in train.aggregates.columns if name not in unread]
