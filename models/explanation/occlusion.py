"""Occlusion: how a model's prediction for a customer changes when a feature group is put at its baseline.

It works for any model, through `predict` alone. A group is the aggregates of one subject and the sequence channels from
which a network would read the same.
"""

from dataclasses import replace

import numpy as np
import pandas as pd

from features.dataset import Dataset, Sequences
from models.base import Model
from models.evaluation.ablation import with_own_histories
from models.evaluation.metrics import clip_probabilities
from models.explanation.feature_groups import EVENTS, LAST_EVENT, group_of

ROWS_AT_ONCE = 50_000


def occlusion(model: Model, data: Dataset, horizon_index: int = 0, population: Dataset | None = None) -> pd.DataFrame:
    """`[examples, groups]`: by how much each group of inputs raises the churn logit of each example, at the horizon of
    that index: the logit as it is, minus the logit with the group at the baseline of `population` (default `data`).

    Aggregates are put at the population's median. Of the sequence, the last event is moved to the median distance from
    the cutoff, the earlier ones to an even pace at the population's mean inter-event time (`events`), an amount or
    numeric attribute is put at its mean over the population's steps, and a categorical one at null. No label is read.
    """
    baseline = population if population is not None else data
    groups = _groups(model, data)
    batch = max(1, ROWS_AT_ONCE // (len(groups) + 1))
    parts = []
    for start in range(0, len(data), batch):
        part = with_own_histories(data.select(np.arange(start, min(start + batch, len(data)))))
        variants = [part, *(_occluded(part, group, baseline, model.views) for group in groups)]
        probability = clip_probabilities(model.predict(_stacked(variants)).churn_probability[:, horizon_index])
        logits = np.log(probability / (1 - probability)).reshape(len(variants), len(part))
        parts.append((logits[0] - logits[1:]).T)
    return pd.DataFrame(np.concatenate(parts) if parts else np.zeros((0, len(groups))), columns=groups)


def _groups(model: Model, data: Dataset) -> list[str]:
    """The groups that this model can see, each once."""
    names: list[str] = []
    if "aggregates" in model.views:
        names += [group_of(column) for column in data.aggregates.columns]
    if "sequences" in model.views:
        names += [LAST_EVENT, EVENTS, *data.sequences.numeric, *data.sequences.categorical]
    return list(dict.fromkeys(names))


def _occluded(data: Dataset, group: str, baseline: Dataset, views: tuple[str, ...]) -> Dataset:
    """`data`, whose examples own their histories, with one group at its baseline, in the views that count."""
    if "aggregates" in views:
        columns = [column for column in data.aggregates.columns if group_of(column) == group]
        data = replace(data, aggregates=data.aggregates.assign(**baseline.aggregates[columns].median().to_dict()))
    if "sequences" not in views:
        return data
    sequences, seen = data.sequences, baseline.sequences
    if group == LAST_EVENT:
        distance = int(np.median(baseline.cutoff - seen.event_time[seen.last_step]))
        return replace(data, cutoff=sequences.event_time[sequences.last_step] + distance)
    if group == EVENTS:
        return replace(data, sequences=_evenly_paced(sequences, _mean_inter_event_time(seen)))
    if group in sequences.numeric:
        steps = seen.numeric[group][_visible(seen)]
        mean = float(np.nanmean(steps)) if np.isfinite(steps).any() else np.nan
        values = np.full_like(sequences.numeric[group], mean)
        return replace(data, sequences=replace(sequences, numeric={**sequences.numeric, group: values}))
    if group in sequences.categorical:
        codes, names = sequences.categorical[group]
        changed = {**sequences.categorical, group: (np.full_like(codes, -1), names)}
        return replace(data, sequences=replace(sequences, categorical=changed))
    return data


def _visible(sequences: Sequences) -> np.ndarray:
    """`[steps]`: whether any example sees the step."""
    reach = np.zeros(len(sequences.offsets) - 1, np.int64)
    np.maximum.at(reach, sequences.history, sequences.length)
    rank = np.arange(sequences.offsets[-1]) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    visible: np.ndarray = rank < np.repeat(reach, sequences.lengths)
    return visible


def _mean_inter_event_time(sequences: Sequences) -> int:
    """Of the events that the examples see, in microseconds; 0 where nobody has two events."""
    first = sequences.offsets[sequences.history]
    span = sequences.event_time[sequences.last_step] - sequences.event_time[first]
    times = int((sequences.length - 1).sum())
    return int(span.sum() // times) if times else 0


def _evenly_paced(sequences: Sequences, pace: int) -> Sequences:
    """The last event of every history stays where it is; those before follow one another every `pace` microseconds."""
    from_end = np.repeat(sequences.offsets[1:], sequences.lengths) - 1 - np.arange(sequences.offsets[-1])
    last = np.repeat(sequences.event_time[sequences.offsets[1:] - 1], sequences.lengths)
    return replace(sequences, event_time=last - pace * from_end)


def _stacked(variants: list[Dataset]) -> Dataset:
    """The examples of all variants of one dataset, one variant after the other."""
    first = variants[0]
    return replace(
        first,
        customer_id=np.tile(first.customer_id, len(variants)),
        cutoff=np.concatenate([variant.cutoff for variant in variants]),
        aggregates=pd.concat([variant.aggregates for variant in variants], ignore_index=True),
        sequences=Sequences.concat(variant.sequences for variant in variants),
    )
