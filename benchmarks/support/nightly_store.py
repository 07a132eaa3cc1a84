"""The world of `nightly_scoring`: an event store of any number of customers and events, made in arrays, since
an engine's random numbers and sorts took longer than all that is measured.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.event_store.store import TIME, EventStore

DAYS, NIGHTS = 730, 30
DAY = timedelta(days=1)
START = datetime(2023, 1, 1, tzinfo=UTC)
END = START + DAYS * DAY  # of the past; the night is the day after
LATE, NEW = 0.001, 0.003  # shares of a night's events that come late, or from newcomers
CUSTOMERS_AT_ONCE = 50_000
SECONDS_A_DAY = 86_400
OF_TIME = 27  # bits that hold a second since START; a customer's number lies above them
TYPES, SHOPS = pa.array(["visit", "visit", "basket", "purchase"]), pa.array([f"s{number}" for number in range(30)])
HEX = np.array([int.from_bytes(b"%02x" % byte, "little") for byte in range(256)], np.uint16)


def write_store(store: EventStore, customers: int, events: int, night: int) -> int:
    """Objects of `NIGHTS` nights before END, the first with all that was before, and of the night itself: customers
    arrive over two years and stay, their number of events spread exponentially. Returns the events of the past.
    """
    random = np.random.default_rng(5)
    recent: list[list[pa.Table]] = [[] for _ in range(NIGHTS)]
    rows = 0

    def old() -> Iterator[pa.RecordBatch]:
        nonlocal rows
        for first in range(0, customers, CUSTOMERS_AT_ONCE):
            keys = _past(random, first, min(first + CUSTOMERS_AT_ONCE, customers), events / customers)
            day = (keys & (1 << OF_TIME) - 1) // SECONDS_A_DAY
            table = _events(random, keys, day + 1, rows)
            rows += len(table)
            yield from table.filter(pa.array(day < DAYS - NIGHTS)).combine_chunks().to_batches()
            for ago, parts in enumerate(recent):
                parts.append(table.filter(pa.array(day == DAYS - NIGHTS + ago)))

    batches = pa.RecordBatchReader.from_batches(store.schema, old())
    store.write((END - NIGHTS * DAY).date(), batches, 0)
    for ago, parts in enumerate(recent):
        store.write((END - (NIGHTS - 1 - ago) * DAY).date(), pa.concat_tables(parts), 0)
    if night:
        keys = _night(random, customers, night)
        table = _events(random, keys, np.full(len(keys), DAYS + 1), rows)
        store.write((END + DAY).date(), table, 0)
    return rows


def _past(random: np.random.Generator, first: int, following: int, mean: float) -> Any:
    """The keys of the past of the customers `[first, following)`, ascending: whose an event is, and when."""
    arrives = random.random(following - first) * (DAYS - NIGHTS)
    many = 1 + np.floor(-np.log(1 - random.random(len(arrives))) * (mean - 0.5)).astype(np.int64)
    who = np.repeat(np.arange(len(arrives)), many)
    seconds = (arrives[who] + random.random(len(who)) * (DAYS - arrives[who])) * SECONDS_A_DAY
    return np.unique((first + who) << OF_TIME | seconds.astype(np.int64))  # no two of a customer in one second


def _night(random: np.random.Generator, customers: int, night: int) -> Any:
    """The keys of the night's events, ascending."""
    newcomers = customers + random.integers(max(round(NEW * night), 1), size=night)
    who = np.where(random.random(night) < NEW, newcomers, random.integers(customers, size=night))
    ago = np.where(random.random(night) < LATE, random.integers(1, 21, night), 0)
    return np.unique(who << OF_TIME | (DAYS - ago) * SECONDS_A_DAY + random.integers(SECONDS_A_DAY, size=night))


def _events(random: np.random.Generator, keys: Any, known_day: Any, first_number: int) -> pa.Table:
    """The events of ascending `keys`, which are known on the morning of `known_day` after START."""
    start, rows = np.datetime64(START.replace(tzinfo=None), "us").astype(np.int64), len(keys)

    def times(seconds: Any) -> pa.Array:
        return pa.array(start + seconds * 1_000_000).cast(TIME)

    who, place = np.unique(keys >> OF_TIME, return_inverse=True)
    columns = {
        "event_id": _hexadecimal(np.arange(first_number, first_number + rows, dtype=np.uint64)),
        "customer_id": pa.array([f"c{number:09d}" for number in who.tolist()], pa.string()).take(pa.array(place)),
        "event_time": times(keys & (1 << OF_TIME) - 1),
        "known_time": times(known_day * SECONDS_A_DAY),
        "event_type": TYPES.take(pa.array(random.integers(4, size=rows))),
        "amount": np.round(np.exp(2 + random.random(rows) + random.random(rows)), 2),
        "quantity": random.integers(1, 5, rows).astype(np.float64),
        "deleted": np.zeros(rows, bool),
        "shop": SHOPS.take(pa.array((random.random(rows) * random.random(rows) * len(SHOPS)).astype(np.int64))),
    }
    return pa.table(columns)


def _hexadecimal(numbers: Any) -> pa.Array:
    """16 digits a number, which follow no order (the finalizer of splitmix64, by which no two numbers meet)."""
    mixed = numbers
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> np.uint64(31)
    digits = HEX[mixed.view(np.uint8)]
    offsets = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(digits.tobytes()))
