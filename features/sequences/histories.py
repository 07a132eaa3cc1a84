"""Histories from an engine's sorted events: flat columns, text as codes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.sums import microseconds_of
from features.arrays import Integers
from features.dataset import Coded, Sequences, occurring
from features.spec import FeatureSpec

ORDER = ("customer_id", "event_time", "event_id")


def histories_of(events: pa.Table, starts: Integers, spec: FeatureSpec) -> Sequences:
    """Events in the order of `ORDER` as histories, which begin at `starts`; without examples."""
    none = np.zeros(0, np.int64)
    return Sequences(
        offsets=np.append(starts, len(events)).astype(np.int64),
        event_time=microseconds_of(events["event_time"]),
        numeric={name: pc.fill_null(events[name], np.nan).to_numpy().astype(np.float64) for name in spec.amounts},
        categorical={name: _coded(events[name]) for name in spec.texts},
        history=none,
        length=none,
    )


def starts_of_runs(events: pa.Table, *keys: str) -> Integers:
    """The positions where one of `keys` differs from the event before, the first included."""
    changes = np.zeros(events.num_rows, bool)
    changes[:1] = True
    for key in keys:
        column = events[key].combine_chunks()
        if pa.types.is_dictionary(column.type):
            column = column.indices
        changes[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(changes)


def positions(values: pa.Array | pa.ChunkedArray, among: pa.Array) -> Integers:
    """Where `values` stand in `among`, -1 where they do not."""
    return np.asarray(pc.index_in(values, among).cast(pa.int64()).fill_null(-1))


def _coded(column: pa.ChunkedArray) -> Coded:
    """Codes into the sorted list of values that occur; sorted, so that the same values have the same codes."""
    coded = pa.types.is_dictionary(column.type)
    whole = column.unify_dictionaries().combine_chunks() if coded else column.combine_chunks().dictionary_encode()
    listed = whole.dictionary.to_pylist()
    code = {value: number for number, value in enumerate(sorted(listed))}
    recoded = np.array([*(code[value] for value in listed), -1], np.int32)  # the last stands for null
    return occurring((recoded[pc.fill_null(whole.indices, -1).to_numpy()], list(code)))
