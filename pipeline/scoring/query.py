"""Who is asked about at a cutoff, by what is carried of everybody, and where they stand; without a network."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from features.aggregates.definitions import named
from features.dataset import Dataset, Integers, Sequences
from features.sequences.encoding import Standing
from pipeline.config.settings import Settings
from pipeline.event_store.night_events import objects
from pipeline.event_store.store import EventStore, open_store
from pipeline.scoring import checkpoints as generations
from pipeline.scoring.shard import Block
from pipeline.training.registry import Version


@dataclass(frozen=True)
class Asked:
    """One block's, in order of customer_id: those eligible at the cutoff, and who is not, with the time of the last
    event. `rows` are the places of the eligible in the block; `aggregates` are there where sums are carried, `recent`
    (the offsets of each customer's last events, and their times) where these are. Times are in microseconds since 1970
    in UTC.
    """

    customers: pa.Array
    rows: Integers
    standing: Standing
    aggregates: pd.DataFrame | None
    recent: tuple[Integers, Integers] | None
    others: pa.Array
    others_last: Integers

    @classmethod
    def of(cls, block: Block, cutoff: datetime, settings: Settings, store: EventStore) -> "Asked":
        at = int(np.datetime64(cutoff.replace(tzinfo=None), "us").astype(np.int64))
        active_within = timedelta(days=settings.question.active_within) // timedelta(microseconds=1)
        asked, aggregates = np.flatnonzero(block.last >= at - active_within), None
        if block.running is not None:
            asked, aggregates = block.running.aggregates(cutoff, settings.question, store.attributes)
        others = np.ones(len(block.customers), bool)
        others[asked] = False
        return cls(
            customers=block.customers.take(pa.array(asked)),
            rows=asked,
            standing=Standing(np.full(len(asked), at), block.first[asked], block.last[asked], block.events[asked]),
            aggregates=aggregates,
            recent=None if block.recent is None else block.recent.of(asked),
            others=block.customers.filter(pa.array(others)),
            others_last=block.last[others],
        )


def examples(parts: Sequence[Asked], horizons: tuple[int, ...]) -> Dataset:
    """The examples of those asked about, where recent events are carried. Of their histories nothing is there but the
    times of these: enough for a model that reads aggregates, or the silence, and for reasons.
    """
    recent = [part.recent for part in parts if part.recent is not None]
    lengths = np.concatenate([np.diff(offsets) for offsets, _ in recent])
    sequences = Sequences(
        offsets=np.concatenate([[0], np.cumsum(lengths)]),
        event_time=np.concatenate([time for _, time in recent]),
        numeric={},
        categorical={},
        history=np.arange(len(lengths)),
        length=lengths,
    )
    return Dataset(
        horizons=horizons,
        customer_id=np.asarray(pa.concat_arrays([part.customers for part in parts]).to_pylist(), dtype=object),
        cutoff=np.concatenate([part.standing.cutoff for part in parts]),
        aggregates=pd.concat([part.aggregates for part in parts], ignore_index=True),
        sequences=sequences,
        labels=None,
    )


def aggregates_of(settings: Settings, version: Version, cutoff: datetime, customers: pa.Array) -> pd.DataFrame | None:
    """The aggregates of those of `customers` who are eligible at `cutoff`, in order of customer_id, from the sums that
    `version` carries; None where it carries none of that cutoff, or the store has changed since.
    """
    store, found = open_store(settings), []
    categorical = named(store.attributes, "categorical")
    for generation in generations.whole(generations.of_version(settings, version)):
        if generation.cutoff != cutoff or generation.plan.objects != objects(store, cutoff):
            continue
        for number in generation.plan.blocks:
            if not Block.has_sums(generation.folder, number):
                return None
            part = Asked.of(Block.read(generation.folder, number, categorical), cutoff, settings, store)
            assert part.aggregates is not None
            found.append(part.aggregates[pc.is_in(part.customers, customers).to_numpy(zero_copy_only=False)])
    return pd.concat(found, ignore_index=True) if found else None
