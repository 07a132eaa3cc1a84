"""What models are given: examples with their labels, and the two views of them, in arrays that line up row by row."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats, Integers, Mask
from features.time import MICROSECONDS_A_DAY

if TYPE_CHECKING:
    import pandas as pd

Coded = tuple[NDArray[np.int32], list[str]]  # codes [steps], -1 where null, and the sorted values that they stand for


@dataclass(frozen=True)
class Sequences:
    """Histories, stored once as flat columns sorted by (history, event_time, event_id), and a pointer an example.

    History `h` is the steps `offsets[h]:offsets[h + 1]`. Example `i` sees the first `length[i]` steps of history
    `history[i]`: exactly the events with event time < cutoff and known time <= cutoff. `length` is at least 1.
    """

    offsets: Integers  # [histories + 1]
    event_time: Integers  # [steps], microseconds since 1970 in UTC
    numeric: dict[str, Floats]  # name -> [steps]; NaN where null; `amount`, `quantity` and the numeric attributes
    categorical: dict[str, Coded]  # `event_type` and the categorical attributes
    history: Integers  # [examples]
    length: Integers  # [examples]

    @property
    def last_step(self) -> Integers:
        """[examples]: the flat position of the last event before each example's cutoff."""
        return self.offsets[self.history] + self.length - 1

    @property
    def lengths(self) -> Integers:
        """[histories]: how many steps each has."""
        return np.diff(self.offsets)

    def pointed(self, history: Integers, length: Integers) -> Self:
        """The same histories with these examples."""
        return replace(self, history=history, length=length)

    def whole(self) -> Self:
        """The same histories, with an example for each that sees all of it."""
        return self.pointed(np.arange(len(self.offsets) - 1), self.lengths)

    def slice(self, first: int, last: int) -> Self:
        """The histories `[first, last)` without a copy of their steps, and without examples."""
        return self.with_steps(slice(self.offsets[first], self.offsets[last]), np.diff(self.offsets[first : last + 1]))

    def take(self, histories: Integers) -> Self:
        """These histories in this order, without examples."""
        lengths = self.lengths[histories]
        steps = np.repeat(self.offsets[histories] - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        return self.with_steps(steps, lengths)

    def only(self, histories: Mask, steps: Mask) -> Self:
        """These histories [histories] with none but these steps [steps], without examples; values that no step has any
        more are gone.
        """
        history = np.repeat(np.arange(len(self.offsets) - 1), self.lengths)
        kept = steps & histories[history]
        if kept.all() and histories.all():
            return self
        rest = self.with_steps(kept, np.bincount(history[kept], minlength=len(histories))[histories])
        return replace(rest, categorical={name: occurring(coded) for name, coded in rest.categorical.items()})

    @classmethod
    def concat(cls, parts: Iterable[Self]) -> Self:
        """The histories of all parts, one after the other, with their examples."""
        parts = list(parts)
        histories = np.cumsum([0, *(len(part.offsets) - 1 for part in parts)])
        lengths = np.concatenate([part.lengths for part in parts])
        return cls(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            event_time=np.concatenate([part.event_time for part in parts]),
            numeric={name: np.concatenate([part.numeric[name] for part in parts]) for name in parts[0].numeric},
            categorical={name: one_code([part.categorical[name] for part in parts]) for name in parts[0].categorical},
            history=np.concatenate([part.history + begin for part, begin in zip(parts, histories, strict=False)]),
            length=np.concatenate([part.length for part in parts]),
        )

    def with_steps(self, steps: Any, lengths: Integers) -> Self:
        """Histories of these steps, `lengths` [histories] of them each, without examples."""
        return replace(
            self,
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            event_time=self.event_time[steps],
            numeric={name: values[steps] for name, values in self.numeric.items()},
            categorical={name: (codes[steps], values) for name, (codes, values) in self.categorical.items()},
            history=np.zeros(0, np.int64),
            length=np.zeros(0, np.int64),
        )


def one_code(parts: Sequence[Coded]) -> Coded:
    """Codes of several parts, each into its own values, as codes into the sorted values of all."""
    values = sorted({value for _, values in parts for value in values})
    code = {value: number for number, value in enumerate(values)}
    # The last place stands for null, whose code is -1.
    maps = [np.array([*(code[value] for value in values), -1], np.int32) for _, values in parts]
    return np.concatenate([recoded[codes] for recoded, (codes, _) in zip(maps, parts, strict=True)]), values


def occurring(coded: Coded) -> Coded:
    """The same codes into those of their values that occur."""
    codes, values = coded
    occurs = np.bincount(codes + 1, minlength=len(values) + 1)[1:] > 0
    if occurs.all():
        return coded
    recoded = np.append(np.cumsum(occurs) - 1, -1).astype(np.int32)
    return recoded[codes], [value for value, there in zip(values, occurs, strict=True) if there]


@dataclass(frozen=True)
class Labels:
    """What happened in `[cutoff + gap, cutoff + gap + horizon)`, one column a horizon in the question's order, in
    `[examples, horizons]`; NaN where the horizon was not fully observed, and for who is known no more. `churn` is 1
    where the customer did not come back, or where an event ended the customer, as the question has it. The last two are
    there where it asks for the next event.
    """

    churn: Floats
    purchases: Floats
    spend: Floats
    next_event_days: Floats | None = None  # [examples], from `cutoff + gap` to the next event; NaN where none is known
    next_event_type: NDArray[np.object_] | None = None  # [examples], its type; None where none is known

    def select(self, rows: Mask | Integers) -> "Labels":
        """The labels of `rows` (a mask or positions)."""
        days, types = self.next_event_days, self.next_event_type
        return Labels(
            self.churn[rows],
            self.purchases[rows],
            self.spend[rows],
            None if days is None else days[rows],
            None if types is None else types[rows],
        )

    @classmethod
    def concat(cls, parts: Iterable["Labels"]) -> "Labels":
        """Those of all parts, one after the other; they have the same targets."""
        parts = list(parts)
        churn, purchases, spend = (
            np.concatenate([getattr(part, kind) for part in parts]) for kind in ("churn", "purchases", "spend")
        )
        days = [part.next_event_days for part in parts if part.next_event_days is not None]
        types = [part.next_event_type for part in parts if part.next_event_type is not None]
        return cls(churn, purchases, spend, *((np.concatenate(days), np.concatenate(types)) if days else ()))

    def differs(self, others: "Labels") -> Mask:
        """[examples]: whether any label is another one."""
        pairs = [(self.churn, others.churn), (self.purchases, others.purchases), (self.spend, others.spend)]
        different = np.any([~_same(mine, theirs).all(axis=1) for mine, theirs in pairs], axis=0)
        if self.next_event_days is not None and others.next_event_days is not None:
            different |= ~_same(self.next_event_days, others.next_event_days)
            different |= self.next_event_type != others.next_event_type
        return np.asarray(different, bool)

    def without(self, unknown: Mask) -> "Labels":
        """The same, with nothing observed of the examples where `unknown`."""
        churn, purchases, spend = (
            np.where(unknown[:, None], np.nan, kind) for kind in (self.churn, self.purchases, self.spend)
        )
        days, types = self.next_event_days, self.next_event_type
        if days is None or types is None:
            return Labels(churn, purchases, spend)
        return Labels(churn, purchases, spend, np.where(unknown, np.nan, days), texts(types.tolist(), ~unknown))

    def without_values(self) -> "Labels":
        """The same with purchases and spend unobserved."""
        unknown = np.full(self.churn.shape, np.nan)
        return replace(self, purchases=unknown, spend=unknown)

    @classmethod
    def blank(cls, rows: int, like: "Labels") -> "Labels":
        """Room for `rows` examples with the targets of `like`, for `put`."""
        churn, purchases, spend = (np.empty((rows, like.churn.shape[1])) for _ in range(3))
        if like.next_event_days is None:
            return cls(churn, purchases, spend)
        return cls(churn, purchases, spend, np.empty(rows), np.empty(rows, object))

    def put(self, rows: Integers, others: "Labels") -> None:
        """Write `others` into `rows`, in place."""
        for name in ("churn", "purchases", "spend", "next_event_days", "next_event_type"):
            if getattr(self, name) is not None:
                getattr(self, name)[rows] = getattr(others, name)

    def known_by(self, cutoff: Integers, gap: int, horizons: Sequence[int], moment: int) -> "Labels":
        """What of the labels of examples at `cutoff` [examples] was known at `moment`: NaN where the horizon ends after
        it, or where the next event does not lie before it. `gap` and `horizons` are days, times microseconds.
        """
        opens = cutoff + gap * MICROSECONDS_A_DAY
        ends = opens[:, None] + np.array(horizons, np.int64) * MICROSECONDS_A_DAY
        churn, purchases, spend = (
            np.where(ends > moment, np.nan, kind) for kind in (self.churn, self.purchases, self.spend)
        )
        days, types = self.next_event_days, self.next_event_type
        if days is not None and types is not None:
            known = opens + days * MICROSECONDS_A_DAY < moment
            days, types = np.where(known, days, np.nan), texts(types.tolist(), known)
        return Labels(churn, purchases, spend, days, types)


@dataclass(frozen=True)
class EarlierLabels:
    """Labels as they were known at earlier moments, where they were others than those known at last: entry `i` says
    what `labels` row `i` was at `moment[i]` for the example at the position `example[i]`.
    """

    moment: Integers  # [entries], microseconds since 1970 in UTC
    example: Integers  # [entries]
    labels: Labels  # [entries, horizons]

    @classmethod
    def concat(cls, parts: Sequence["EarlierLabels"]) -> "EarlierLabels":
        """The entries of all parts."""
        moment, example = (np.concatenate([getattr(part, name) for part in parts]) for name in ("moment", "example"))
        return cls(moment, example, Labels.concat([part.labels for part in parts]))

    def put_into(self, labels: Labels, moment: int) -> Labels:
        """`labels` of all examples, with those that were others at `moment`."""
        entries = np.flatnonzero(self.moment == moment)
        if not len(entries):
            return labels
        changed = labels.select(np.arange(len(labels.churn)))
        changed.put(self.example[entries], self.labels.select(entries))
        return changed

    def select(self, rows: Mask | Integers, examples: int) -> "EarlierLabels":
        """The entries of the examples `rows` (a mask or positions among `examples`), at their new positions."""
        position = np.full(examples, -1)
        chosen = np.flatnonzero(rows) if rows.dtype == bool else rows
        position[chosen] = np.arange(len(chosen))
        kept = position[self.example] >= 0
        return EarlierLabels(self.moment[kept], position[self.example[kept]], self.labels.select(kept))


def _same(one: Floats, other: Floats) -> Mask:
    return np.asarray((one == other) | (np.isnan(one) & np.isnan(other)))


def texts(values: Sequence[str | None], kept: Mask) -> NDArray[np.object_]:
    """`values` as an array, None where not `kept`."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    found[~kept] = None
    return found


@dataclass(frozen=True)
class Dataset:
    """Examples and everything about them, aligned by row, in order of (cutoff, customer_id)."""

    horizons: tuple[int, ...]  # days
    customer_id: NDArray[np.object_]  # [examples], strings
    cutoff: Integers  # [examples], microseconds since 1970 in UTC
    aggregates: "pd.DataFrame"  # [examples, features], float64, NaN where undefined
    sequences: Sequences
    labels: Labels | None  # None where nothing is known of the horizon, as when scoring
    earlier: EarlierLabels | None = None  # what the labels were at the moments that a training asks about

    def __len__(self) -> int:
        return len(self.customer_id)

    def with_values_of_amounts(self) -> "Dataset":
        """The same examples; where no event has an amount, nothing is known of purchases and spend, and their labels
        are NaN: zeros would say that everybody was seen to buy nothing.
        """
        if self.labels is None or np.isfinite(self.sequences.numeric["amount"]).any():
            return self
        earlier = self.earlier and replace(self.earlier, labels=self.earlier.labels.without_values())
        return replace(self, labels=self.labels.without_values(), earlier=earlier)

    def known_at(self, moment: int, gap: int) -> "Dataset":
        """The same examples with the labels that were known at `moment`, in microseconds, which is one of those that
        the examples were built for; `gap` days lie between a cutoff and its horizons.
        """
        assert self.labels is not None
        labels = self.earlier.put_into(self.labels, moment) if self.earlier else self.labels
        return replace(self, labels=labels.known_by(self.cutoff, gap, self.horizons, moment), earlier=None)

    def select(self, rows: Mask | Integers) -> "Dataset":
        """The examples of `rows` (a mask or positions). Histories are shared, not copied."""
        return replace(
            self,
            customer_id=self.customer_id[rows],
            cutoff=self.cutoff[rows],
            aggregates=self.aggregates.iloc[np.flatnonzero(rows) if rows.dtype == bool else rows].reset_index(
                drop=True
            ),
            sequences=replace(self.sequences, history=self.sequences.history[rows], length=self.sequences.length[rows]),
            labels=self.labels and self.labels.select(rows),
            earlier=self.earlier and self.earlier.select(rows, len(self)),
        )
