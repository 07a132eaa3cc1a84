"""From events to the numbers that a sequence model reads: scalers and vocabularies, fitted on what training may see."""

import json
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from features.arrays import Integers
from features.dataset import Dataset, Sequences
from features.sequences.flat import flat, runs
from features.time import MICROSECONDS_A_DAY, NEVER

DAYS_A_YEAR = 365.25
FIRST_WEEKDAY = 3  # 1970-01-01, day 0, was a Thursday; Monday is 0
HOUR, WEEKDAY, TIME_OF_YEAR = "hour_", "weekday_", "year_"  # how the names of channels begin
CALENDAR_CHANNELS = (HOUR, WEEKDAY, TIME_OF_YEAR)
LIMIT = 6.0  # scaled numbers are held within ±LIMIT, so that one absurd amount cannot drive the network
MAX_CATEGORIES = 256
MIN_STEPS_A_CATEGORY = 20  # steps below which a category is left unknown: too few to learn a vector from


@dataclass(frozen=True)
class EncodedSteps:
    """What a sequence model reads at each step, aligned with `Sequences.event_time`."""

    numeric: NDArray[np.float32]  # [steps, numeric channels]
    categorical: NDArray[np.int32]  # [steps, categorical channels]; 0 is unknown, null, or too rare


@dataclass(frozen=True)
class StateAtCutoff:
    """What of each example is known at its cutoff, all [examples]; times in microseconds since 1970 in UTC. `first` and
    `last` are the events visible at the cutoff, `events` their number.
    """

    cutoff: Integers
    first: Integers
    last: Integers
    events: Integers

    @classmethod
    def of(cls, data: Dataset) -> Self:
        sequences = data.sequences
        first = sequences.event_time[sequences.offsets[sequences.history]]
        return cls(data.cutoff, first, sequences.event_time[sequences.last_step], sequences.length)

    @classmethod
    def of_aggregates(cls, data: Dataset) -> Self:
        """The same, to the second, without a look at a history."""

        def before(column: str) -> Integers:
            days = data.aggregates[column].to_numpy(np.float64)
            return np.asarray(data.cutoff - np.rint(days * MICROSECONDS_A_DAY).astype(np.int64))

        events = data.aggregates["events_total"].to_numpy().astype(np.int64)
        return cls(data.cutoff, before("days_since_first_event"), before("days_since_last_event"), events)

    @property
    def silence_days(self) -> NDArray[np.float32]:
        """[examples]: days from the last event to the cutoff."""
        return ((self.cutoff - self.last) / MICROSECONDS_A_DAY).astype(np.float32)


@dataclass(frozen=True)
class Scaled:
    """A numeric channel: `(value - centre) / scale`, held within ±LIMIT; null becomes 0, the centre."""

    name: str
    centre: float
    scale: float


SILENT = Scaled("gap", 0.0, sys.float_info.max)  # always 0: a recurrent layer reads one channel at least


@dataclass(frozen=True)
class Encoder:
    """Numeric channels are the signed logarithm of every numeric column (and whether it is null, where training saw
    nulls), the logarithm of the gap since the customer's previous event (null at the first event of all, so that this
    one is told from all others), and, where the calendar is read, the weekday of the cutoff and the time of year of the
    cutoff and of every step where training spans a year, as sine and cosine. A channel that does not vary in training
    is left out; where none does, one is 0 at every step. A step's hour and weekday are read by no encoder fitted since
    November 2026: aggregates have nothing like them, and networks gained nothing by them (docs/LOG.md).
    """

    steps: tuple[Scaled, ...]
    cutoffs: tuple[Scaled, ...]
    vocabularies: dict[str, list[str]]  # attribute -> its known values; the code of the first is 1

    @classmethod
    def fit(cls, data: Dataset, calendar: bool = True, steps_read: Sequences | None = None) -> Self:
        """Scalers and vocabularies from the steps that the examples of `data` can see, each step counted once, and
        from nothing else: what lies behind the last cutoff of a history does not move them. `steps_read` are the same
        histories in other steps, where the model reads such.
        """
        sequences, unread = steps_read or data.sequences, _unread(data, calendar)
        longest = longest_seen(sequences)
        steps = _fit_scalers(_Visible(sequences, longest, (*unread, HOUR, WEEKDAY)))
        vocabularies = frequent_values(sequences)
        return cls(
            steps=steps if steps or vocabularies else (SILENT,),
            cutoffs=_fit_scalers([_without(unread, _cutoff_channels(StateAtCutoff.of(data)))]),
            vocabularies=vocabularies,
        )

    @classmethod
    def of_cutoffs(cls, data: Dataset, calendar: bool = True) -> Self:
        """Of what is said at the cutoff, and of no step."""
        channels = _without(_unread(data, calendar), _cutoff_channels(StateAtCutoff.of_aggregates(data)))
        return cls(steps=(), cutoffs=_fit_scalers([channels]), vocabularies={})

    def encode(self, sequences: Sequences, previous: Integers | None = None) -> EncodedSteps:
        """Every step of `sequences`; `numeric` in the order of `numeric_channels`. `previous` [histories] is the time
        of the event before the first step of each history, where that goes on from an earlier reading, else NEVER.
        """
        steps = len(sequences.event_time)
        numeric = flat((steps, len(self.steps)), np.float32)
        categorical = flat((steps, len(self.vocabularies)), np.int32)
        for first, last in runs(sequences.offsets):
            part = sequences.slice(first, last)
            here = slice(sequences.offsets[first], sequences.offsets[last])
            channels = _step_channels(part, None if previous is None else previous[first:last])
            numeric[here] = _scale(channels, self.steps, len(part.event_time))
            for column, (name, known) in enumerate(self.vocabularies.items()):
                categorical[here, column] = _translated(part, name, known)
        return EncodedSteps(numeric, categorical)

    def at_cutoff(self, at: StateAtCutoff) -> NDArray[np.float32]:
        """[examples, cutoff channels]: what can be said at the cutoff itself, which no step knows: the silence since
        the last event (in days, and against the customer's own mean gap), the time since the first, the count, and
        the calendar.
        """
        return _scale(_cutoff_channels(at), self.cutoffs, len(at.cutoff))

    @property
    def numeric_channels(self) -> list[str]:
        return [channel.name for channel in self.steps]

    def to_json(self) -> str:
        def rows(channels: tuple[Scaled, ...]) -> list[list[Any]]:
            return [[channel.name, channel.centre, channel.scale] for channel in channels]

        return json.dumps({"steps": rows(self.steps), "cutoffs": rows(self.cutoffs), "vocabularies": self.vocabularies})

    @classmethod
    def from_json(cls, text: str) -> Self:
        content = json.loads(text)
        return cls(
            steps=tuple(Scaled(*row) for row in content["steps"]),
            cutoffs=tuple(Scaled(*row) for row in content["cutoffs"]),
            vocabularies=content["vocabularies"],
        )


class _Visible:
    """The step channels of one run of histories after another, at the steps that any example sees: each history's first
    `longest`. Those whose names begin with one of `unread` are not among them.
    """

    def __init__(self, sequences: Sequences, longest: Integers, unread: tuple[str, ...]) -> None:
        self._sequences, self._longest, self._unread = sequences, longest, unread

    def __iter__(self) -> Iterator[dict[str, NDArray[np.float64]]]:
        for first, last in runs(self._sequences.offsets):
            part = self._sequences.slice(first, last)
            visible = beginnings(part.offsets, self._longest[first:last])
            channels = _without(self._unread, _step_channels(part))
            yield {name: values[visible] for name, values in channels.items()}


def spans_a_year(data: Dataset) -> bool:
    """Whether the events that the examples of `data` see do, without which a time of year cannot be told from the time:
    what a network and a model of aggregates read of it, they read by this one rule.
    """
    sequences, longest = data.sequences, longest_seen(data.sequences)
    seen = longest > 0
    first = sequences.event_time[sequences.offsets[:-1][seen]]
    last = sequences.event_time[(sequences.offsets[:-1] + longest - 1)[seen]]
    return bool(seen.any()) and bool(last.max() - first.min() >= DAYS_A_YEAR * MICROSECONDS_A_DAY)


def _unread(data: Dataset, calendar: bool) -> tuple[str, ...]:
    """The beginnings of the names of channels that are left out."""
    if not calendar:
        return CALENDAR_CHANNELS
    return () if spans_a_year(data) else (TIME_OF_YEAR,)


def _without(unread: tuple[str, ...], channels: dict[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    return {name: values for name, values in channels.items() if not name.startswith(unread)}


def longest_seen(sequences: Sequences) -> Integers:
    """[histories]: how many steps of each the examples see."""
    longest = np.zeros(len(sequences.offsets) - 1, np.int64)
    np.maximum.at(longest, sequences.history, sequences.length)
    return longest


def beginnings(offsets: Integers, longest: Integers) -> NDArray[np.bool_]:
    """[steps]: whether a step is among the first `longest` of its history."""
    lengths = np.diff(offsets)
    rank = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    return rank < np.repeat(longest, lengths)


def _translated(sequences: Sequences, name: str, known: list[str]) -> NDArray[np.int32]:
    """[steps]: each value's code in a vocabulary; 0 is unknown or null."""
    if name not in sequences.categorical:
        return np.zeros(len(sequences.event_time), np.int32)
    codes, values = sequences.categorical[name]
    code_of = {value: code for code, value in enumerate(known, start=1)}
    # Null is -1 and takes the last, 0.
    return np.array([*(code_of.get(value, 0) for value in values), 0], np.int32)[codes]


def _step_channels(sequences: Sequences, previous: Integers | None = None) -> dict[str, NDArray[np.float64]]:
    """Every numeric channel there could be, before scaling: name -> [steps], NaN where null."""
    channels: dict[str, NDArray[np.float64]] = {}
    for name, values in sequences.numeric.items():
        channels[name] = signed_log(values)
        channels[f"{name}_is_null"] = np.isnan(values).astype(np.float64)
    time = sequences.event_time
    gap = np.diff(time, prepend=time[:1]) / MICROSECONDS_A_DAY
    held = np.diff(sequences.offsets) > 0
    first = sequences.offsets[:-1][held]
    gap[first] = np.nan
    if previous is not None:
        before = previous[held]
        gap[first] = np.where(before == NEVER, np.nan, _days(time[first] - before))
    channels["gap"], channels["gap_is_null"] = np.log1p(gap), np.isnan(gap).astype(np.float64)
    return channels | _calendar(time)


def _calendar(time: Integers) -> dict[str, NDArray[np.float64]]:
    """Where in the day, the week and the year each of `time` lies, in UTC: Monday 0, 1 January 0."""
    day, channels = time // MICROSECONDS_A_DAY, {}
    for name, turns in (
        (HOUR, time % MICROSECONDS_A_DAY / MICROSECONDS_A_DAY),
        (WEEKDAY, (day + FIRST_WEEKDAY) % 7 / 7),
        (TIME_OF_YEAR, day / DAYS_A_YEAR % 1),
    ):
        channels[f"{name}sine"] = np.sin(2 * np.pi * turns)
        channels[f"{name}cosine"] = np.cos(2 * np.pi * turns)
    return channels


def _cutoff_channels(at: StateAtCutoff) -> dict[str, NDArray[np.float64]]:
    silence = _days(at.cutoff - at.last)
    tenure = _days(at.cutoff - at.first)
    mean_gap = (tenure - silence) / np.maximum(at.events - 1, 1)
    return {
        "days_since_last_event": np.log1p(silence),
        "days_since_first_event": np.log1p(tenure),
        "events": np.log1p(at.events),
        # One event has no gap: the time since it is then the best that is known of the customer's rhythm.
        "overdue": np.log1p(silence) - np.log1p(np.where(at.events > 1, mean_gap, tenure)),
        **_calendar(at.cutoff),
    }


def _fit_scalers(parts: Iterable[dict[str, NDArray[np.float64]]]) -> tuple[Scaled, ...]:
    """Mean and standard deviation of each channel over its values that are not null, for the channels that vary. The
    parts are gone through twice, so that no more than one is held.
    """
    counts: dict[str, int] = {}
    sums: dict[str, float] = {}
    for part in parts:
        for name, values in part.items():
            known = values[~np.isnan(values)]
            counts[name] = counts.get(name, 0) + known.size
            sums[name] = sums.get(name, 0.0) + float(known.sum())
    means = {name: sums[name] / count for name, count in counts.items() if count}
    squares = dict.fromkeys(means, 0.0)
    for part in parts:
        for name, mean in means.items():
            away = part[name][~np.isnan(part[name])] - mean
            squares[name] += float((away * away).sum())
    spreads = {name: float(np.sqrt(squares[name] / counts[name])) for name in means}
    return tuple(Scaled(name, mean, spreads[name]) for name, mean in means.items() if spreads[name] > 1e-9)


def _scale(channels: dict[str, NDArray[np.float64]], scalers: tuple[Scaled, ...], rows: int) -> NDArray[np.float32]:
    scaled = np.zeros((rows, len(scalers)), np.float32)
    for column, scaler in enumerate(scalers):
        if scaler.name in channels:
            values = (channels[scaler.name] - scaler.centre) / scaler.scale
            scaled[:, column] = np.nan_to_num(np.clip(values, -LIMIT, LIMIT), nan=0.0)
    return scaled


def frequent_values(sequences: Sequences) -> dict[str, list[str]]:
    """The most frequent values of each attribute, in order of (count descending, value), over the steps that examples
    see; an attribute that is the same at every step says nothing and is left out.
    """
    vocabularies, longest = {}, longest_seen(sequences)
    for name, (codes, values) in sequences.categorical.items():
        counts, steps = np.zeros(len(values), np.int64), 0
        for first, last in runs(sequences.offsets):
            visible = beginnings(sequences.offsets[first : last + 1] - sequences.offsets[first], longest[first:last])
            seen = codes[sequences.offsets[first] : sequences.offsets[last]][visible]
            counts += np.bincount(seen[seen >= 0], minlength=len(values))
            steps += len(seen)
        ranked = sorted((-int(count), value) for count, value in zip(counts, values, strict=True))
        known = [value for count, value in ranked[:MAX_CATEGORIES] if -count >= MIN_STEPS_A_CATEGORY]
        if known and steps > -ranked[0][0]:  # else every step says the same
            vocabularies[name] = known
    return vocabularies


def signed_log(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """`sign(x) * log(1 + |x|)`: the logarithm for amounts, refunds and zeros alike. NaN stays NaN."""
    return np.sign(values) * np.log1p(np.abs(values))


def _days(microseconds: Integers) -> NDArray[np.float64]:
    return np.maximum(microseconds, 0) / MICROSECONDS_A_DAY
