"""The question in relational terms, one pair of a customer and a cutoff at a time: who is eligible, and what happened
next, as Ibis expressions over the revisions. Until December 2026 training ran on them.
"""

from collections.abc import Sequence
from datetime import datetime

import ibis
import ibis.expr.types as ir
import pandas as pd

from features.question import Question
from features.time import SECONDS_A_DAY
from tests.support.worlds.event_worlds import as_of

MONEY, TIME = "decimal(18, 4)", "timestamp('UTC', 6)"


def examples_and_labels(
    rows: pd.DataFrame, cutoffs: Sequence[datetime], question: Question, until: datetime
) -> pd.DataFrame:
    """`customer_id, cutoff, churn_H, purchases_H, spend_H` and, where asked for, `next_event_days, next_event_type`, in
    order of cutoff and customer.
    """
    known = as_of(rows, until)
    for column in ("event_time", "known_time", "superseded_time"):
        known[column] = known[column].astype("datetime64[us, UTC]")
    engine = ibis.duckdb.connect()
    engine.raw_sql("set TimeZone = 'UTC'")
    engine.con.register("known", known)
    engine.raw_sql("create table events as select * from known")
    events = _included(engine.table("events"), question)
    examples = _eligible(events, cutoffs, question)
    found = _labels(events, examples, question, until).order_by(["cutoff", "customer_id"]).execute()
    engine.disconnect()
    return found


def _visible(events: ir.Table, cutoff: ir.Value) -> ir.BooleanValue:
    standing = events.superseded_time.isnull() | (events.superseded_time > cutoff)
    return (events.event_time < cutoff) & (events.known_time <= cutoff) & standing & ~events.deleted


def _included(events: ir.Table, question: Question) -> ir.Table:
    excluded = {"customer_id": question.exclude_customers, "event_type": question.exclude_types}
    for name, values in {**excluded, **question.exclude_values}.items():
        if values:
            events = events.filter(~events[name].isin(values).fill_null(False))
    return events


def _is_activity(events: ir.Table, question: Question) -> ir.BooleanValue:
    if question.activity:
        return events.event_type.isin(question.activity).fill_null(False)
    treatments = set(question.treatments) - set(question.comes_back_with)
    return ~events.event_type.isin([*question.ends_with, *sorted(treatments)]).fill_null(False)


def _comes_back(events: ir.Table, question: Question) -> ir.BooleanValue:
    if question.comes_back_with:
        return events.event_type.isin(question.comes_back_with).fill_null(False)
    return _is_activity(events, question)


def _ends(events: ir.Table, question: Question) -> ir.BooleanValue:
    return events.event_type.isin(question.ends_with or ["no such type"]).fill_null(False)


def _eligible(events: ir.Table, cutoffs: Sequence[datetime], question: Question) -> ir.Table:
    grid = ibis.memtable({"cutoff": list(cutoffs)}, schema={"cutoff": TIME})
    slim = events.select("customer_id", "event_time", "known_time", "superseded_time", "deleted", "event_type")
    pairs = slim.join(grid, [slim.event_time < grid.cutoff])
    pairs = pairs.filter(_visible(pairs, pairs.cutoff))
    second = pairs.event_time.epoch_seconds().cast("int64")
    latest = pairs.group_by(["customer_id", "cutoff"]).aggregate(
        active=second.max(where=_is_activity(pairs, question)), ended=second.max(where=_ends(pairs, question))
    )
    since = latest.cutoff.epoch_seconds().cast("int64") - question.active_within * SECONDS_A_DAY
    there = (latest.active >= since) & ~(latest.ended >= latest.active).fill_null(False)
    return latest.filter(there).select("customer_id", "cutoff")


def _labels(events: ir.Table, examples: ir.Table, question: Question, labelled_until: datetime) -> ir.Table:
    known = events.filter(events.superseded_time.isnull() & ~events.deleted)
    relevant = known.select("customer_id", "event_time", "event_id", "event_type", "amount").mutate(
        back=_comes_back(known, question), ends=_ends(known, question)
    )
    end = examples.cutoff + ibis.interval(days=question.longest_reach)
    keys = [examples.customer_id == relevant.customer_id, relevant.event_time >= examples.cutoff]
    pairs = examples.left_join(relevant, [*keys, relevant.event_time < end, relevant.back | relevant.ends])
    until = ibis.literal(labelled_until, TIME)
    begin = pairs.cutoff + ibis.interval(days=question.gap)
    null, measures = ibis.null("float64"), dict[str, ir.Value]()
    for days in question.horizons:
        end = pairs.cutoff + ibis.interval(days=question.gap + days)
        within = pairs.event_time.notnull() & (pairs.event_time >= begin) & (pairs.event_time < end)
        back = within & pairs.back
        bought = back & pairs.amount.notnull()
        churn = 1 - back.ifelse(1, 0).max()
        observed = (end <= until).ifelse(1, 0).max() == 1
        churn_observed = observed
        if question.ends_with:
            churn = (within & pairs.ends).ifelse(1, 0).max()
            gone = pairs.event_time.notnull() & (pairs.event_time < begin) & pairs.ends
            churn_observed = observed & (gone.ifelse(1, 0).max() == 0)
        spend = bought.ifelse(pairs.amount.cast(MONEY), ibis.literal(0).cast(MONEY)).sum()
        measures[f"churn_{days}"] = churn_observed.ifelse(churn.cast("float64"), null)
        measures[f"purchases_{days}"] = observed.ifelse(bought.ifelse(1, 0).sum().cast("float64"), null)
        measures[f"spend_{days}"] = observed.ifelse(spend.cast("float64"), null)
    labels = pairs.group_by(["customer_id", "cutoff"]).aggregate(**measures)
    if not question.next_event:
        return labels
    following = pairs.filter(pairs.event_time.notnull() & (pairs.event_time >= begin) & pairs.back)
    in_order = ibis.window(group_by=["customer_id", "cutoff"], order_by=["event_time", "event_id"])
    first = following.mutate(place=ibis.row_number().over(in_order)).filter(ibis._.place == 0)
    opened = first.cutoff.epoch_seconds().cast("int64") + question.gap * SECONDS_A_DAY
    first = first.select(
        "customer_id",
        "cutoff",
        next_event_days=(first.event_time.epoch_seconds().cast("int64") - opened) / SECONDS_A_DAY,
        next_event_type=first.event_type,
    )
    return labels.left_join(first, ["customer_id", "cutoff"]).select(
        *labels.columns, "next_event_days", "next_event_type"
    )
