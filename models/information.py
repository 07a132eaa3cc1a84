"""What models of both sides read or leave out alike: the calendar, and categorical attributes. Who reads the steps of
histories reads theirs, who reads aggregates reads the columns, and neither reads any of a piece that is switched off.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from features.aggregates.calendar import TIME_OF_YEAR, WORDS
from features.aggregates.definitions import columns_of_categories
from features.dataset import Dataset, Sequences
from features.sequences.encoding import spans_a_year

PIECES = ("calendar", "categories")
"""The switches, which are parameters of every model that could read the piece."""
ALWAYS_READ = "event_type"  # of the text columns of an event


def reads_calendar(train: Dataset, parameters: Mapping[str, Any]) -> bool:
    """Whether a model of these `parameters` reads it: its `calendar` says so, and the question has it in the data."""
    return bool(parameters["calendar"]) and bool(set(WORDS) & set(train.aggregates.columns))


def varies(train: Dataset, piece: str) -> bool:
    """Whether a piece, where the data hold it, is not the same for all examples and all steps."""
    switches = dict.fromkeys(PIECES, True)
    added = set(columns_read(train, switches)) - set(columns_read(train, switches | {piece: False}))
    if any(train.aggregates[name].nunique() > 1 for name in added):
        return True
    return piece == "calendar" and bool(added) and spans_a_year(train)


def columns_read(train: Dataset, parameters: Mapping[str, Any]) -> list[str]:
    """The aggregates that a model of these `parameters` learns from: those of `train`, without the pieces that it does
    not read, and without the time of year where training does not span one.
    """
    unread: set[str] = set(WORDS)
    if reads_calendar(train, parameters):
        unread = set() if spans_a_year(train) else set(TIME_OF_YEAR)
    if not parameters["categories"]:
        texts = set(train.sequences.categorical) - {ALWAYS_READ}
        unread |= columns_of_categories(train.aggregates.columns, texts)
    return [name for name in train.aggregates.columns if name not in unread]


def sequences_read(train: Dataset, parameters: Mapping[str, Any]) -> Sequences:
    """The histories that a model of these `parameters` learns from: those of `train`, without categorical attributes
    where it does not read them.
    """
    if parameters["categories"]:
        return train.sequences
    kept = {name: coded for name, coded in train.sequences.categorical.items() if name == ALWAYS_READ}
    return replace(train.sequences, categorical=kept)
