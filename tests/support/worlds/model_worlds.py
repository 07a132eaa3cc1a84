"""Small made-up worlds for the models' tests: datasets whose regularities are known, without the pipeline."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from features.arrays import Floats
from features.dataset import Dataset, Labels, Sequences

DAY = 86_400_000_000
START = 17_167 * DAY  # 2017-01-01, in microseconds since 1970
HORIZON = 14


def steady_world(customers: int = 120, seed: int = 1, horizons: tuple[int, ...] = (HORIZON,)) -> Dataset:
    """Customers with a rhythm of their own (a mean inter-event time between 2 and 12 days), who one day leave for good,
    with weekly cutoffs: churn follows from the recency compared with the rhythm. Events have an amount, a store, and a
    share that is often null.
    """
    random = np.random.default_rng(seed)
    times = []
    for mean_gap in random.uniform(2, 12, customers):
        gaps = random.exponential(mean_gap, size=int(200 / mean_gap) + 3)
        days = np.cumsum(gaps)
        days = days[: max(np.searchsorted(days, random.exponential(120)), 1)]
        times.append(START + (days * DAY).astype(np.int64))
    return make_dataset(times, [START + day * DAY for day in range(60, 140, 7)], horizons, random)


def order_world(customers: int = 400, seed: int = 1) -> Dataset:
    """Every customer has as many events in store A as in B; who came last to B churns. Only the order tells, so no
    aggregate of these datasets does.
    """
    random = np.random.default_rng(seed)
    times = [START + np.arange(6) * 5 * DAY for _ in range(customers)]
    stores = [random.permutation(["a", "a", "a", "b", "b", "b"]) for _ in range(customers)]
    data = make_dataset(times, [START + 26 * DAY], (HORIZON,), random, np.concatenate(stores))
    last = np.array([store[-1] == "b" for store in stores], dtype=np.float64)[data.sequences.history, None]
    return with_labels(data, Labels(last, 1 - last, 10 * (1 - last)))


def make_dataset(
    times: list[np.ndarray],
    cutoffs: list[int],
    horizons: tuple[int, ...],
    random: np.random.Generator,
    stores: np.ndarray | None = None,
) -> Dataset:
    """The dataset of `times`, a sorted array of microseconds a customer, at the cutoffs after its first event."""
    offsets = np.concatenate([[0], np.cumsum([len(own) for own in times])]).astype(np.int64)
    flat = np.concatenate(times)
    amount = random.lognormal(2, 1, len(flat)).round(2)
    pairs = [(cutoff, customer) for cutoff in cutoffs for customer in range(len(times)) if times[customer][0] < cutoff]
    cutoff, history = (np.array(column, dtype=np.int64) for column in zip(*pairs, strict=True))
    length = np.array([np.searchsorted(times[customer], at) for at, customer in pairs], dtype=np.int64)
    last = flat[offsets[history] + length - 1]
    churn, purchases, spend = (np.empty((len(pairs), len(horizons))) for _ in range(3))
    for column, days in enumerate(horizons):
        for row, (at, customer) in enumerate(pairs):
            end = np.searchsorted(times[customer], at + days * DAY)
            bought = slice(offsets[customer] + length[row], offsets[customer] + end)
            purchases[row, column] = end - length[row]
            spend[row, column] = amount[bought].sum()
        churn[:, column] = purchases[:, column] == 0
    names = stores if stores is not None else random.choice(["north", "south"], len(flat))
    values, codes = np.unique(names.astype(str), return_inverse=True)
    share = np.where(random.random(len(flat)) < 0.3, np.nan, random.random(len(flat)))
    return Dataset(
        horizons=horizons,
        customer_id=np.array([f"c{customer:05d}" for customer in history], dtype=object),
        cutoff=cutoff,
        aggregates=pd.DataFrame(
            {
                "days_since_last_event": (cutoff - last) / DAY,
                "days_since_first_event": (cutoff - flat[offsets[history]]) / DAY,
                "events_total": length.astype(np.float64),
                "active_days_total": _active_days(flat, offsets, history, length),
                "gap_mean": np.where(
                    length > 1, (last - flat[offsets[history]]) / np.maximum(length - 1, 1) / DAY, np.nan
                ),
            }
        ),
        sequences=Sequences(
            offsets=offsets,
            event_time=flat.astype(np.int64),
            numeric={"amount": amount, "share": share},
            categorical={
                "event_type": (np.zeros(len(flat), np.int32), ["purchase"]),
                "store": (codes.astype(np.int32), list(values)),
            },
            history=history,
            length=length,
        ),
        labels=Labels(churn, purchases, spend),
    )


def _active_days(flat: np.ndarray, offsets: np.ndarray, history: np.ndarray, length: np.ndarray) -> Floats:
    """[examples]: the number of different days among the events that each example sees."""
    day = flat // DAY
    another = np.diff(day, prepend=-1) != 0
    another[offsets[:-1]] = True
    seen = np.concatenate([[0], np.cumsum(another)])
    return (seen[offsets[history] + length] - seen[offsets[history]]).astype(np.float64)


def with_labels(data: Dataset, labels: Labels | None) -> Dataset:
    return Dataset(data.horizons, data.customer_id, data.cutoff, data.aggregates, data.sequences, labels)


def halves(data: Dataset, at: Callable[[Dataset], np.ndarray] | None = None) -> tuple[Dataset, Dataset]:
    """The examples of three customers of four, and those of the fourth."""
    held = np.array([int(name[1:]) % 4 == 0 for name in data.customer_id]) if at is None else at(data)
    return data.select(~held), data.select(held)


def change_after(data: Dataset, cutoff: int) -> Dataset:
    """`data` where everything that happened at or after `cutoff` happened otherwise."""
    later = data.sequences.event_time >= cutoff

    def changed(values: Floats) -> Floats:
        return np.where(later, 1e6, values)

    sequences = data.sequences
    categorical = {name: (np.where(later, 0, codes), values) for name, (codes, values) in sequences.categorical.items()}
    return Dataset(
        data.horizons,
        data.customer_id,
        data.cutoff,
        data.aggregates,
        Sequences(
            sequences.offsets,
            np.where(later, sequences.event_time + DAY // 3, sequences.event_time),
            {name: changed(values) for name, values in sequences.numeric.items()},
            categorical,
            sequences.history,
            sequences.length,
        ),
        data.labels,
    )
