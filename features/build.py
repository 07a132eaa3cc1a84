"""The dataset: examples, labels and both views, built in the engine from one set of expressions."""

from collections.abc import Mapping, Sequence
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
import pandas as pd
import pyarrow as pa

from features.aggregates import aggregates, definitions
from features.dataset import Dataset, Labels
from features.examples import eligible, history, labels
from features.question import Question
from features.sequences import ORDER, pointers, to_sequences, with_positions


def build_dataset(
    events: ir.Table,
    cutoffs: Sequence[datetime],
    question: Question,
    attributes: Mapping[str, str],
    labelled_until: datetime | None = None,
) -> Dataset:
    """Every customer eligible at every cutoff, in order of (cutoff, customer_id).

    `events` are the revisions known as of a moment no earlier than the last cutoff. Features use what was visible at
    each cutoff: event time < cutoff and known time <= cutoff. Labels use events in `[cutoff, cutoff + horizon)` as
    known at `labelled_until`, the moment that `events` was read as of; without it there are none. `attributes` maps an
    attribute's name to `numeric` or `categorical`.
    """
    # Held as a table of its own: asked thrice below, and the engine would find the eligible anew each time.
    examples = ibis.memtable(eligible(events, cutoffs, question).to_pyarrow())
    placed = history(with_positions(events, max(cutoffs)), examples)
    rows = aggregates(events, examples, attributes).join(pointers(placed), ["customer_id", "cutoff"])
    if labelled_until is not None:
        rows = rows.join(labels(events, examples, question, labelled_until), ["customer_id", "cutoff"])
    table = rows.order_by(["cutoff", "customer_id"]).to_pyarrow()
    shared, own = _histories(events, examples, placed, table, cutoffs)
    columns = list(definitions(*(_named(attributes, kind) for kind in ("numeric", "categorical"))))
    return Dataset(
        horizons=question.horizons,
        customer_id=np.asarray(table["customer_id"].to_pylist(), dtype=object),
        cutoff=table["cutoff"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy(),
        aggregates=pd.DataFrame({name: _floats(table, name) for name in columns}),
        sequences=to_sequences(shared, own, table, attributes),
        labels=_labels(table, question) if labelled_until is not None else None,
    )


def _histories(
    events: ir.Table, examples: ir.Table, placed: ir.Table, table: pa.Table, cutoffs: Sequence[datetime]
) -> tuple[pa.Table, pa.Table]:
    """The shared histories' events, and those of the examples that share none, each in its order."""
    asked = examples.select("customer_id").distinct()
    with_place = with_positions(events, max(cutoffs))
    base = with_place.filter(with_place.position.notnull()).semi_join(asked, "customer_id")
    shared = base.order_by(list(ORDER)).to_pyarrow()
    alone = table.filter(pa.compute.invert(table["shares"])).select(["customer_id", "cutoff"])
    if alone.num_rows == 0:
        return shared, shared.schema.empty_table().append_column("cutoff", pa.array([], pa.timestamp("us", "UTC")))
    own = placed.semi_join(ibis.memtable(alone), ["customer_id", "cutoff"])
    return shared, own.order_by(["cutoff", *ORDER]).to_pyarrow()


def _named(attributes: Mapping[str, str], kind: str) -> list[str]:
    return [name for name, its_kind in attributes.items() if its_kind == kind]


def _floats(table: pa.Table, name: str) -> np.ndarray:
    return np.asarray(table[name].cast(pa.float64()).fill_null(np.nan))


def _labels(table: pa.Table, question: Question) -> Labels:
    def matrix(kind: str) -> np.ndarray:
        return np.column_stack([_floats(table, f"{kind}_{days}") for days in question.horizons])

    return Labels(matrix("churn"), matrix("purchases"), matrix("spend"))
