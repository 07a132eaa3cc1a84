"""Probes for leaks on the user's own data: the features are built again with another future, and must not change;
labels are shuffled, and must not be predicted; a leak is planted, and must be named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from features.arrays import Floats, Mask
from features.dataset import Dataset
from features.examples.merging import together
from features.examples.request import BuildRequest
from features.examples.revisions import ORDER
from features.examples.shard import build_shard
from features.question import Question
from features.spec import FeatureSpec
from features.splits import Split, split
from features.time import microseconds
from pipeline.config.settings import Settings
from pipeline.datasets.cut import COLUMNS
from pipeline.datasets.duckdb_engine import DuckDB
from pipeline.event_store.store import AsOf, open_store
from pipeline.runtime.engine import quoted, session
from pipeline.runtime.nights import DAY, midnight
from pipeline.runtime.paths import StateFolder
from pipeline.validation.leaks import CheckResult

MOST_CUSTOMERS = 2_000  # whose features are built again for each other future
MOST_EXAMPLES = 20_000  # that a probe's model learns from
TELLS_ALL = 0.95  # ROC AUC of a single column from which it may hold the answer itself
TELLS_MORE = 0.05  # ROC AUC that one attribute may not add to all the events' own columns together
ROUNDS = 60
STANDARD_ERRORS = 4.0
PLANTED = "planted_leak"
FAULT = "report this, it is a fault of recur"
UNSURE = "make sure that it was known at the event's time"
Rows = NDArray[np.int64]


def probes(settings: Settings) -> list[CheckResult]:
    """The result of every probe as of the last loaded night. Raises RecurError where the store cannot be read."""
    store, question = open_store(settings), settings.question
    if not store.nights():
        return []
    until = midnight(store.nights()[-1])
    events, spec = store.as_of(until), store.spec(question)
    try:
        parts = split(question.cutoffs(events.first_event(spec) or until, until), question)
    except ValueError as error:
        first = events.first_event(spec) or until
        words = f"{error}: as of {question.askable_from(first).date()} or later there is enough"
        return [CheckResult("doubtful", "probes", f"too little to probe as of {until.date()}: {words}")]
    request = _request([*parts.train, *parts.test], spec, until)
    data = together(DuckDB(settings.state).shards(events, request), spec.horizons)
    results: list[CheckResult] = []
    for probe, cutoff in ((_other_futures, parts.test[0]), (_past_the_horizon, parts.train[0])):
        customers = data.customer_id[data.cutoff == microseconds(cutoff)][:MOST_CUSTOMERS]
        results += probe(Probed(_revisions(settings.state, events, customers), cutoff, until, spec))
    return [*results, *_labels(data, parts, question, list(store.attributes), settings.run.seed)]


@dataclass(frozen=True)
class Probed:
    """The revisions of some customers who were eligible at `cutoff`, as known at `until`."""

    events: pa.Table
    cutoff: datetime
    until: datetime
    spec: FeatureSpec

    def built(self, events: pa.Table, labelled: bool = False) -> Dataset:
        """The examples at the cutoff, were these the events."""
        request = _request([self.cutoff], self.spec, self.until if labelled else None)
        shard = build_shard(events.sort_by([(name, "ascending") for name in ORDER]), request)
        return together([shard], self.spec.horizons)

    def changes(self, rows: Mask, moment: datetime) -> dict[str, pa.Table]:
        """The events with `rows`, unknown to all at `moment`, changed, doubled under other ids, and gone."""
        changed, mask = self.events, pa.array(rows)
        for name in (*self.spec.amounts, *self.spec.texts):
            other = pa.scalar("another" if name in self.spec.texts else 9_999.0, changed.schema.field(name).type)
            place = changed.column_names.index(name)
            changed = changed.set_column(place, name, pc.if_else(mask, other, changed[name]))
        doubles = self.events.filter(mask)
        ids = pc.binary_join_element_wise("again ", doubles["event_id"], "")
        doubles = doubles.set_column(doubles.column_names.index("event_id"), "event_id", ids)
        # Where what replaced a row is gone, nothing has replaced it.
        superseded = self.events["superseded_time"]
        known = pc.if_else(pc.greater(superseded, moment), pa.scalar(None, superseded.type), superseded)
        place = self.events.column_names.index("superseded_time")
        gone = self.events.set_column(place, "superseded_time", known).filter(pc.invert(mask))
        return {"changed": changed, "added": pa.concat_tables([self.events, doubles]), "removed": gone}


def _request(cutoffs: Sequence[datetime], spec: FeatureSpec, until: datetime | None) -> BuildRequest:
    moments = np.array([microseconds(cutoff) for cutoff in cutoffs])
    return BuildRequest(moments, spec, None if until is None else microseconds(until))


def _revisions(state: StateFolder, events: AsOf, customers: Sequence[str]) -> pa.Table:
    with session(state) as connection:
        connection.register("chosen", pa.table({"customer_id": pa.array(list(customers), pa.string())}))
        columns = ", ".join(quoted(name) for name in ("event_id", *COLUMNS, *events.attributes))
        query = f"select {columns} from ({events.in_duckdb}) semi join chosen using (customer_id)"
        return connection.sql(query).to_arrow_table()


def _other_futures(probed: Probed) -> Iterator[CheckResult]:
    """Whether anything that could not be known at the cutoff moves the features at it."""
    time, known = (probed.events[name] for name in ("event_time", "known_time"))
    later = np.asarray(pc.greater_equal(time, probed.cutoff))
    hidden = {
        "events at or after the cutoff": later,
        "rows known only after the cutoff": ~later & np.asarray(pc.greater(known, probed.cutoff)),
    }
    base = probed.built(probed.events)
    for what, rows in hidden.items():
        moved = []
        if rows.any():
            for change, others in probed.changes(rows, probed.cutoff).items():
                moved += [f"{change}: {name}" for name in differences(base, probed.built(others))]
        words = f"{rows.sum():,} changed, added and removed at {probed.cutoff:%Y-%m-%d}, of {len(base):,} customers"
        words += f": they move {', '.join(moved)}: {FAULT}" if moved else ": no feature moved"
        yield CheckResult("wrong" if moved else "right", what, words if rows.any() else "there are none to change")


def _past_the_horizon(probed: Probed) -> Iterator[CheckResult]:
    """Whether anything after the longest horizon moves the labels of a cutoff whose horizons have all closed."""
    what, end = "events past the horizon", probed.cutoff + probed.spec.longest_reach * DAY
    rows = np.asarray(pc.greater_equal(probed.events["event_time"], end))
    base, changes = probed.built(probed.events, labelled=True), probed.changes(rows, end)
    assert base.labels is not None
    moved = []
    # Without a later revision an earlier one would count again, rightly: so rows are changed and added here.
    for change in ("changed", "added"):
        others = probed.built(changes[change], labelled=True)
        if others.customer_id.tolist() != base.customer_id.tolist() or base.labels.differs(others.labels).any():  # type: ignore[arg-type]
            moved.append(change)
    of_whom = f"of {len(base):,} customers at {probed.cutoff:%Y-%m-%d}"
    words = f"those at or after {end:%Y-%m-%d} changed and added, {of_whom}"
    words += f": labels moved ({', '.join(moved)}): {FAULT}" if moved else ": no label moved"
    yield CheckResult("wrong" if moved else "right", what, words)


def differences(one: Dataset, other: Dataset) -> list[str]:
    """What differs between two datasets in the least bit: the examples, columns of the aggregates, or the sequences."""
    if one.customer_id.tolist() != other.customer_id.tolist() or one.cutoff.tolist() != other.cutoff.tolist():
        return ["who is asked about"]
    columns = [
        name
        for name in one.aggregates
        if one.aggregates[name].to_numpy().tobytes() != other.aggregates[name].to_numpy().tobytes()
    ]
    return columns if _seen(one) == _seen(other) else [*columns, "the sequences"]


def _seen(data: Dataset) -> list[object]:
    """What every example sees of its history, in one piece."""
    steps = data.sequences
    first = np.repeat(steps.offsets[steps.history], steps.length)
    place = first + np.arange(steps.length.sum()) - np.repeat(np.cumsum(steps.length) - steps.length, steps.length)
    words = [
        np.asarray([*values, ""], dtype=object)[codes[place]].tolist() for codes, values in steps.categorical.values()
    ]
    numbers = [values[place].tobytes() for values in (steps.event_time, *steps.numeric.values())]
    return [steps.length.tolist(), *numbers, *words]


def _labels(
    data: Dataset, parts: Split, question: Question, attributes: Sequence[str], random_state: int
) -> Iterator[CheckResult]:
    """What a small model, and single columns, can tell of the labels."""
    assert data.labels is not None
    random = np.random.default_rng(random_state)
    churn = data.labels.churn[:, question.primary_index]
    train, test = (_rows_of(data, cutoffs, churn) for cutoffs in (parts.train, parts.test))
    if len(np.unique(churn[train])) < 2 or len(np.unique(churn[test])) < 2:
        words = "all examples of a split part have the same label: nothing can be probed"
        yield CheckResult("doubtful", "labels", words)
        return
    values = data.aggregates
    shuffled = churn.copy()
    known = np.flatnonzero(np.isfinite(churn))
    shuffled[known] = random.permutation(churn[known])
    score = _auc(values.to_numpy(), shuffled, train, test)
    churners = int(shuffled[test].sum())
    stayers = len(test) - churners
    error = np.sqrt((len(test) + 1) / (12 * churners * stayers)) if churners and stayers else np.inf
    by_chance_only = abs(score - 0.5) <= STANDARD_ERRORS * error
    words = f"ROC AUC {score:.3f} where .5 is chance (standard error {error:.3f})"
    yield CheckResult("right" if by_chance_only else "wrong", "shuffled labels", words)

    own = [name for name in values if not any(_is_of(name, attribute) for attribute in attributes)]
    honest, by_time = (_auc(values[names].to_numpy(), churn, train, test) for names in (own, list(values)))
    caught = telling(values.to_numpy(), list(values), churn, test)
    for name, tells in caught.items():
        yield CheckResult("doubtful", f"column {name}", f"alone gives a ROC AUC of {tells:.3f}: {UNSURE}")
    # What leaks often shows only beside the time since the last event, so each attribute is also tried with it.
    for attribute in attributes if by_time > honest + TELLS_MORE else []:
        names = [*own, *(name for name in values if _is_of(name, attribute))]
        score = _auc(values[names].to_numpy(), churn, train, test)
        if score > honest + TELLS_MORE:
            words = f"lifts the ROC AUC of the events' own columns from {honest:.3f} to {score:.3f}: {UNSURE}"
            yield CheckResult("doubtful", f"attribute {attribute}", words)
            caught[attribute] = score
    if not caught:
        yield CheckResult("right", "columns", f"none tells the label by itself; all together: ROC AUC {by_time:.3f}")

    wrong = random.random(len(churn)) < 0.02
    planted = np.where(wrong, 1 - churn, churn) + random.normal(0, 0.01, len(churn))
    named = telling(planted[:, None], [PLANTED], churn, test)
    words = f"a column that holds the label in 98 of 100 examples was {'caught' if named else 'not caught'}"
    yield CheckResult("right" if named else "wrong", "planted leak", words)

    mixed = random.permutation(np.concatenate([train, test]))
    by_chance = _auc(values.to_numpy(), churn, mixed[len(test) :], mixed[: len(test)])
    words = f"ROC AUC {by_time:.3f} split by time, {by_chance:.3f} split at random"
    yield CheckResult("right", "random split", f"{words}: the gap is {by_chance - by_time:+.3f}")


def telling(values: Floats, names: Sequence[str], churn: Floats, rows: Rows) -> dict[str, float]:
    """The columns that tell the label by themselves, with their ROC AUC, either way round: at least .95."""
    from sklearn.metrics import roc_auc_score

    telling_columns = {}
    for name, column in zip(names, values.T, strict=True):
        ranked = np.nan_to_num(column[rows], nan=np.nanmin(column[rows], initial=0.0) - 1)
        auc = float(roc_auc_score(churn[rows], ranked))
        if (tells := max(auc, 1 - auc)) >= TELLS_ALL:
            telling_columns[name] = tells
    return telling_columns


def _auc(values: Floats, labels: Floats, train: Rows, test: Rows) -> float:
    """The ROC AUC on `test` of boosted trees that learnt from `train`."""
    import lightgbm
    from sklearn.metrics import roc_auc_score

    kept = train[:: max(len(train) // MOST_EXAMPLES, 1)]
    options = {"objective": "binary", "num_leaves": 15, "num_threads": 1, "deterministic": True, "verbosity": -1}
    trees = lightgbm.train(options, lightgbm.Dataset(values[kept], labels[kept]), ROUNDS)
    return float(roc_auc_score(labels[test], np.asarray(trees.predict(values[test], num_threads=1))))


def _rows_of(data: Dataset, cutoffs: Sequence[datetime], churn: Floats) -> Rows:
    of_cutoffs = np.isin(data.cutoff, [microseconds(cutoff) for cutoff in cutoffs])
    return np.flatnonzero(of_cutoffs & np.isfinite(churn))


def _is_of(column: str, attribute: str) -> bool:
    if column.startswith((f"{attribute}=", f"days_since_{attribute}=")):
        return True
    days = column.removeprefix(f"{attribute}_")
    return column in (f"days_since_{attribute}", f"distinct_{attribute}_91") or (days != column and days.isdigit())
