"""What an event is to a question, by its type: activity, coming back, an end, a treatment, or nothing at all."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.arrays import Mask
from features.spec import FeatureSpec

Column = Any  # a column of Arrow, in one chunk or several


def is_excluded(events: pa.Table, spec: FeatureSpec) -> Mask:
    """[events]: whether the question leaves the event out, as if it had never happened."""
    excluded = np.zeros(len(events), bool)
    for column, values in spec.excluded.items():
        excluded |= is_one_of(events[column], values)
    return excluded


def is_activity(types: Column, spec: FeatureSpec) -> Mask:
    """[events]: an event of a type of `activity`; where none is named, any but ends and treatments, which are not the
    customer's doing.
    """
    if spec.activity:
        return is_one_of(types, spec.activity)
    return ~is_one_of(types, (*spec.ends_with, *spec.treatments))


def is_return(types: Column, spec: FeatureSpec) -> Mask:
    """[events]: an event of which one in the horizon is no churn: of a type of `comes_back_with`, else activity."""
    return is_one_of(types, spec.comes_back_with) if spec.comes_back_with else is_activity(types, spec)


def is_end(types: Column, spec: FeatureSpec) -> Mask:
    """[events]: an event that ends its customer."""
    return is_one_of(types, spec.ends_with)


def is_treatment(types: Column, spec: FeatureSpec) -> Mask:
    """[events]: something that was done to the customer, as a campaign mailed."""
    return is_one_of(types, spec.treatments)


def all_alike(types: Column, spec: FeatureSpec) -> bool:
    """Whether every one of these events is activity and coming back, and none ends a customer."""
    if spec.activity or spec.comes_back_with or spec.ends_with:
        return False
    return not spec.treatments or not is_treatment(types, spec).any()


def is_one_of(column: Column, values: Sequence[str]) -> Mask:
    """[events]: False where null. Of a column of codes each value of the dictionary is looked at once."""
    if not values:
        return np.zeros(len(column), bool)
    if pa.types.is_dictionary(column.type):
        whole = column.unify_dictionaries().combine_chunks() if isinstance(column, pa.ChunkedArray) else column
        among = np.append(is_one_of(whole.dictionary, values), False)  # the last stands for null
        return np.asarray(among[pc.fill_null(whole.indices, -1).to_numpy(zero_copy_only=False)], bool)
    return np.asarray(pc.is_in(column, pa.array(values, pa.string()).cast(column.type)), bool)
