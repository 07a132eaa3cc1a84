"""Rows of many of the store's objects, together and in order.

What tells a row from all others is its number in its object, so that no event id is read to leave out a corrected row,
nor to put rows in order: each object is in order, and only where two of them tell of one instant do ids decide.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.dataset import Integers
from pipeline.event_store.objects import StoredObject, Whose, only

AT_ONCE = 16  # row groups that are one thread's


@dataclass(frozen=True)
class Rows:
    """`table`, and of each of its rows the object, as a place in the list of objects, and the number of the row there.
    They come object by object.
    """

    table: pa.Table
    object: Integers
    number: Integers


def read(
    objects: Sequence[StoredObject],
    whose: Whose,
    columns: Sequence[str],
    cutoff: datetime,
    excluded: Mapping[str, Sequence[str]],
    left_out: Mapping[int, Integers],
    threads: int,
) -> Rows:
    """`StoredObject.read` of all `objects`, without the rows `left_out` (numbers by the place of their object)."""
    parts: list[tuple[int, list[int]]] = [(0, [])]
    for place, one in enumerate(objects):
        groups = one.groups_of(whose)
        parts += [(place, groups[begin : begin + AT_ONCE]) for begin in range(0, len(groups), AT_ONCE)]

    def of(part: tuple[int, list[int]]) -> tuple[pa.Table, Integers]:
        place, groups = part
        table, own = objects[place].read(groups, whose, columns, cutoff, excluded)
        if place in left_out:
            kept = np.flatnonzero(~np.isin(own, left_out[place]))
            table, own = only(table, kept), own[kept]
        return table, own

    with ThreadPoolExecutor(threads) as pool:
        tables, numbers = zip(*pool.map(of, parts), strict=True)
    places = [np.full(len(own), place) for (place, _), own in zip(parts, numbers, strict=True)]
    table = pa.concat_tables(tables).unify_dictionaries().combine_chunks()
    return Rows(table, np.concatenate(places), np.concatenate(numbers))


def ids(objects: Sequence[StoredObject], rows: Rows, at: Integers) -> pa.Array:
    """The event ids of the rows at `at`."""
    order = np.lexsort((rows.number[at], rows.object[at]))
    sorted_at = at[order]
    held = [
        objects[place].ids(rows.number[sorted_at[rows.object[sorted_at] == place]])
        for place in np.unique(rows.object[sorted_at]).tolist()
    ]
    found = pa.concat_arrays([pa.array([], pa.string()), *held])
    back = np.empty_like(order)
    back[order] = np.arange(len(order))
    return found.take(pa.array(back))


def in_order(objects: Sequence[StoredObject], rows: Rows) -> Rows:
    """`rows` in the order of customer_id, event_time, event_id; the customers' dictionary ascends. Runs of one
    customer's are put together, and only the customers to whom something came late are sorted.
    """
    held = rows.table["customer_id"].combine_chunks()
    by_id = pc.sort_indices(held.dictionary)
    rank = np.empty(len(by_id), np.int32)
    rank[by_id.to_numpy()] = np.arange(len(rank), dtype=np.int32)
    codes, time = rank[held.indices.to_numpy()], np.asarray(rows.table["event_time"].cast(pa.int64()))
    order = np.argsort(codes, kind="stable")
    customer, time = codes[order], time[order]
    same = customer[1:] == customer[:-1]
    late = np.zeros(len(rank), bool)
    late[customer[1:][same & (time[1:] < time[:-1])]] = True
    theirs = np.flatnonzero(late[customer])
    sorted_theirs = theirs[np.lexsort((time[theirs], customer[theirs]))]
    order[theirs], time[theirs] = order[sorted_theirs], time[sorted_theirs]
    # In one object rows of one instant are in order already.
    equal = same & (time[1:] == time[:-1])
    two = np.flatnonzero(equal & (rows.object[order[1:]] != rows.object[order[:-1]]))
    if len(two):
        instant = np.cumsum(np.append(True, ~equal))
        tied = np.flatnonzero(np.isin(instant, instant[two]))
        keys = pa.table({"instant": instant[tied], "id": ids(objects, rows, order[tied])})
        order[tied] = order[tied[pc.sort_indices(keys, [("instant", "ascending"), ("id", "ascending")]).to_numpy()]]
    ascending = pa.DictionaryArray.from_arrays(pa.array(codes), held.dictionary.take(by_id))
    place = rows.table.column_names.index("customer_id")
    table = rows.table.set_column(place, rows.table.schema.field("customer_id"), ascending)
    if (np.diff(order) != 1).any():
        table = table.take(pa.array(order))
    return Rows(table.combine_chunks(), rows.object[order], rows.number[order])
