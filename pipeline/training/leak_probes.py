"""Probes for leaks on the user's own data: the features are built again with another future, and must not change;
labels are shuffled, and must not be predicted; a leak is planted, and must be named.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
from numpy.typing import NDArray

from features.build import build_dataset
from features.dataset import Dataset, Floats
from features.examples import included
from features.question import Question
from features.splits import Split, split
from pipeline.config.settings import Settings
from pipeline.event_store.store import open_store
from pipeline.runtime.check_result import CheckResult
from pipeline.runtime.engine import connect
from pipeline.runtime.nights import DAY, midnight
from pipeline.training.snapshot import microseconds

MOST_CUSTOMERS = 2_000  # whose features are built again for each other future
MOST_EXAMPLES = 20_000  # that a probe's model learns from
TELLS_ALL = 0.95  # ROC AUC of a single column from which it may hold the answer itself
TELLS_MORE = 0.05  # ROC AUC that one attribute may not add to all the events' own columns together
ROUNDS = 60
STANDARD_ERRORS = 4.0
PLANTED = "planted_leak"
Rows = NDArray[np.int64]


def probes(settings: Settings) -> list[CheckResult]:
    """The result of every probe as of the last loaded night. Raises RecurError where the store cannot be read."""
    store = open_store(settings)
    if not store.nights():
        return []
    until = midnight(store.nights()[-1])
    backend = connect(settings)
    try:
        events = store.as_of(backend, until)
        question = settings.question
        first = included(events, question).event_time.min().to_pyarrow().as_py()
        try:
            parts = split(question.cutoffs(first, until), question)
        except ValueError as error:
            words = f"{error}: as of {question.askable_from(first).date()} or later there is enough"
            return [CheckResult("doubtful", "probes", f"too little to probe as of {until.date()}: {words}")]
        data = build_dataset(events, [*parts.train, *parts.test], question, store.attributes, until)
        results = list(_other_futures(events, parts.test[0], data, question, store.attributes))
        results.append(_past_the_horizon(events, parts.train[0], until, question, store.attributes))
    finally:
        backend.disconnect()
    return [*results, *_labels(data, parts, question, list(store.attributes), settings.run.seed)]


def _other_futures(
    events: ir.Table, cutoff: datetime, data: Dataset, question: Question, attributes: Mapping[str, str]
) -> Iterator[CheckResult]:
    """Whether anything that could not be known at `cutoff` moves the features at it."""
    at_cutoff = data.customer_id[data.cutoff == microseconds(cutoff)][:MOST_CUSTOMERS]
    theirs = ibis.memtable({"customer_id": list(at_cutoff)}, schema={"customer_id": "string"})
    events = events.semi_join(theirs, "customer_id")
    moment = ibis.literal(cutoff, "timestamp('UTC', 6)")
    hidden = {
        "events at or after the cutoff": events.event_time >= moment,
        "rows known only after the cutoff": (events.event_time < moment) & (events.known_time > moment),
    }
    base = build_dataset(events, [cutoff], question, attributes)
    for what, rows in hidden.items():
        count = events.filter(rows).count().to_pyarrow().as_py()
        moved = []
        if count:
            for change, others in _changes(events, rows, cutoff, attributes).items():
                moved += [
                    f"{change}: {name}"
                    for name in differences(base, build_dataset(others, [cutoff], question, attributes))
                ]
        words = f"{count:,} changed, added and removed at {cutoff:%Y-%m-%d}, of {len(at_cutoff):,} customers"
        if moved:
            yield CheckResult(
                "wrong", what, f"{words}: they move {', '.join(moved)}: report this, it is a fault of recur"
            )
        else:
            yield CheckResult("right", what, f"{words}: no feature moved" if count else "there are none to change")


def _past_the_horizon(
    events: ir.Table, cutoff: datetime, until: datetime, question: Question, attributes: Mapping[str, str]
) -> CheckResult:
    """Whether anything after the longest horizon moves the labels of a cutoff whose horizons have all closed."""
    what, end = "events past the horizon", cutoff + question.longest_reach * DAY
    rows = events.event_time >= ibis.literal(end, "timestamp('UTC', 6)")
    base = build_dataset(events, [cutoff], question, attributes, until)
    changes = _changes(events, rows, end, attributes)
    # Without a later revision an earlier one would count again, rightly: so rows are changed and added here.
    moved = [
        change
        for change in ("changed", "added")
        if _outcomes(build_dataset(changes[change], [cutoff], question, attributes, until)) != _outcomes(base)
    ]
    words = f"those at or after {end:%Y-%m-%d} changed and added, of {len(base):,} customers at {cutoff:%Y-%m-%d}"
    if moved:
        return CheckResult(
            "wrong", what, f"{words}: labels moved ({', '.join(moved)}): report this, it is a fault of recur"
        )
    return CheckResult("right", what, f"{words}: no label moved")


def _outcomes(data: Dataset) -> list[object]:
    labels = data.labels
    assert labels is not None
    further = [
        None if each is None else repr(each.tolist()) for each in (labels.next_event_days, labels.next_event_type)
    ]
    return [
        data.customer_id.tolist(),
        labels.churn.tobytes(),
        labels.purchases.tobytes(),
        labels.spend.tobytes(),
        *further,
    ]


def _changes(
    events: ir.Table, rows: ir.BooleanValue, cutoff: datetime, attributes: Mapping[str, str]
) -> dict[str, ir.Table]:
    """The events with the rows in question changed, doubled under other ids, and gone."""
    moment = ibis.literal(cutoff, "timestamp('UTC', 6)")
    numeric = ["amount", "quantity", *(name for name, kind in attributes.items() if kind == "numeric")]
    categorical = ["event_type", *(name for name, kind in attributes.items() if kind == "categorical")]
    changed = {name: rows.ifelse(9_999.0, events[name]) for name in numeric}
    changed |= {name: rows.ifelse("another", events[name]) for name in categorical}
    doubles = events.filter(rows).mutate(event_id=ibis.literal("again ") + events.event_id)
    # Where what replaced a row is gone, nothing has replaced it.
    superseded = (events.superseded_time > moment).ifelse(ibis.null("timestamp('UTC', 6)"), events.superseded_time)
    gone = events.filter(~rows).mutate(superseded_time=superseded)
    return {"changed": events.mutate(**changed), "added": events.union(doubles), "removed": gone}


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
        yield CheckResult(
            "doubtful", "labels", "all examples of a split part have the same label: nothing can be probed"
        )
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
        words = f"alone gives a ROC AUC of {tells:.3f}: make sure that it was known at the event's time"
        yield CheckResult("doubtful", f"column {name}", words)
    # What leaks often shows only beside the time since the last event, so each attribute is also tried with it.
    suspects = attributes if by_time > honest + TELLS_MORE else []
    for attribute in suspects:
        names = [*own, *(name for name in values if _is_of(name, attribute))]
        score = _auc(values[names].to_numpy(), churn, train, test)
        if score > honest + TELLS_MORE:
            words = f"lifts the ROC AUC of the events' own columns from {honest:.3f} to {score:.3f}: "
            yield CheckResult(
                "doubtful", f"attribute {attribute}", words + "make sure that it was known at the event's time"
            )
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
    words = (
        f"ROC AUC {by_time:.3f} split by time, {by_chance:.3f} split at random: the gap is {by_chance - by_time:+.3f}"
    )
    yield CheckResult("right", "random split", words)


def telling(values: Floats, names: Sequence[str], churn: Floats, rows: Rows) -> dict[str, float]:
    """The columns that tell the label by themselves, with their ROC AUC, either way round: at least .95."""
    from sklearn.metrics import roc_auc_score

    telling_columns = {}
    for name, column in zip(names, values.T, strict=True):
        ranked = np.nan_to_num(column[rows], nan=np.nanmin(column[rows], initial=0.0) - 1)
        auc = float(roc_auc_score(churn[rows], ranked))
        tells = max(auc, 1 - auc)
        if tells >= TELLS_ALL:
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
    moments = [microseconds(cutoff) for cutoff in cutoffs]
    return np.flatnonzero(np.isin(data.cutoff, moments) & np.isfinite(churn))


def _is_of(column: str, attribute: str) -> bool:
    days = column.removeprefix(f"{attribute}_")
    return column in (f"days_since_{attribute}", f"distinct_{attribute}_91") or (days != column and days.isdigit())
