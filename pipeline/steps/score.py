"""Score a night: ask the champion about every customer eligible at the cutoff, and why those most at risk are so."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

import ibis
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from features.aggregates.grid import SECONDS_A_DAY
from features.aggregates.segments import before
from features.build import build_dataset
from features.dataset import Dataset, Floats, Integers
from features.examples import included
from models.base import Model, Predictions
from pipeline.config.settings import Settings
from pipeline.event_store.night_events import Events, as_revisions
from pipeline.event_store.store import open_store
from pipeline.monitoring.step_record import recorded
from pipeline.runtime import paths
from pipeline.runtime.engine import connect, session
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import Night
from pipeline.scoring.query import Asked, examples
from pipeline.scoring.reasons import reasons_of_a_night
from pipeline.serving.database import open_predictions
from pipeline.training import registry

SCHEMA = pa.schema(
    [
        ("customer_id", pa.string()),
        ("horizon_days", pa.int64()),
        ("churn_probability", pa.float64()),
        ("expected_purchases", pa.float64()),
        ("expected_spend", pa.float64()),
        ("reasons", pa.string()),
        ("days_since_last_event", pa.float64()),
        ("model_name", pa.string()),
        ("model_version", pa.string()),
        ("run_id", pa.string()),
        ("question_digest", pa.string()),
    ]
)
OFTEN_THE_SAME = ["horizon_days", "reasons", "model_name", "model_version", "run_id", "question_digest"]
NOT_SCORED = pa.schema([("customer_id", pa.string()), ("days_since_last_event", pa.float64()), ("reason", pa.string())])


@dataclass(frozen=True)
class Scored:
    """What a model says of everybody eligible at a cutoff, in order of customer_id, and who else is known: customers
    with the days from their last event to the cutoff. `data` are the examples of a model that reads no
    histories, and these not whole.
    """

    customers: pa.Array
    silence: Floats
    predictions: Predictions
    others: pa.Array
    others_silence: Floats
    data: Dataset | None = None


def score(settings: Settings, night: Night) -> dict[str, Any]:
    """Write `scored`: one row a customer eligible at the night's cutoff and horizon, by customer and horizon; and
    `not_scored`: one row any other known customer, with the reason.

    Features use events with event time < cutoff and known time <= cutoff. Raises NothingToDo without a champion, and
    RecurError where the champion knew anything past the cutoff or answers another question, or the night is not loaded.
    """
    path = settings.state.scored(night)
    predictions = open_predictions(settings.predictions, settings.root)
    with recorded(predictions, settings.state, "score", night) as figures:
        path.unlink(missing_ok=True)  # what an earlier run left must not be published for this one
        champion = guarded_champion(settings, night.cutoff)
        open_store(settings).require_loaded(night.cutoff)
        model = registry.load(settings, champion)
        said = answered(settings, champion, model, night.cutoff)
        words = reasons_of_a_night(settings, model, said, lambda customers: asked(settings, night.cutoff, customers))
        write_scores(settings, night, said, words, champion)
        figures["rows_scored"] = len(said.customers)
        figures["message"] = champion.label
    return {"rows_scored": len(said.customers), "model_version": champion.number, "model_name": champion.recipe}


def answered(settings: Settings, champion: registry.Version, model: Model, cutoff: datetime) -> Scored:
    """A model with a state goes on from the carried one, and one that reads aggregates from the carried sums; every
    other reads the whole past.
    """
    from pipeline.scoring.state_updater import Keeper

    if model.needs == "state":
        answers = Keeper(settings, champion, model).answers(cutoff)
        told = [[getattr(part.predictions, field.name) for part in answers] for field in fields(Predictions)]
        said = Predictions(*(np.concatenate(values) for values in told))
        return _together([part.asked for part in answers], said, cutoff)
    if model.needs == "aggregates":
        parts = Keeper(settings, champion, model).asked(cutoff)
        data = examples(parts, settings.question.horizons)
        # All at once: how a product of matrices is cut moves its last bits.
        return replace(_together(parts, model.predict(data), cutoff), data=data)
    data = asked(settings, cutoff)
    customers = pa.array(data.customer_id.tolist(), pa.string())
    others, silence = silent(settings, cutoff, customers)
    return Scored(customers, data.aggregates["days_since_last_event"].to_numpy(), model.predict(data), others, silence)


def write_scores(
    settings: Settings, night: Night, said: Scored, words: list[str | None] | None, champion: registry.Version
) -> None:
    """The two files of `score`; `words` are the reasons in the order of customers, None where there are none."""
    with paths.atomically(settings.state.not_scored(night)) as file:
        pq.write_table(_not_scored(settings, said), file)
    with paths.atomically(settings.state.scored(night)) as file:
        # Without the schema of the table, whose codes are text in the file.
        rows = _rows(settings, said, words, champion)
        pq.write_table(rows, file, use_dictionary=OFTEN_THE_SAME, store_schema=False)


def guarded_champion(settings: Settings, cutoff: datetime) -> registry.Version:
    """The champion, if it may score `cutoff`. Raises NothingToDo where there is none, and RecurError where its training
    knew anything past `cutoff` or it answers another question.
    """
    champion = registry.champion(settings)
    if champion is None:
        raise NothingToDo(f"there is no champion yet to score {cutoff.date()}: it comes with the first training")
    if champion.question_digest != settings.question.digest:
        raise RecurError(
            f"the champion, {champion.label}, answers question {champion.question_digest}, and [question] asks "
            f"{settings.question.digest}: run `recur train`"
        )
    if champion.trained_until > cutoff:
        raise RecurError(
            f"the champion, {champion.label}, knows what happened after {cutoff.date()} and may not score it: "
            "promote an earlier version with `recur promote VERSION`, or go back with `recur rollback`"
        )
    return champion


def asked(settings: Settings, cutoff: datetime, customers: pa.Array | None = None) -> Dataset:
    """Every customer eligible at `cutoff`, or those of `customers` who are, by what was known then, without labels."""
    store = open_store(settings)
    store.require_loaded(cutoff)
    if customers is not None:
        theirs = as_revisions(Events(settings, store, cutoff).of_customers(customers, with_ids=True), cutoff)
        with session(settings.state) as connection:
            connection.register("arrived", theirs)
            connection.execute("create temp table theirs as select * from arrived")
            events = ibis.duckdb.from_connection(connection).table("theirs")
            return build_dataset(events, [cutoff], settings.question, store.attributes)
    backend = connect(settings)
    try:
        return build_dataset(store.as_of(backend, cutoff), [cutoff], settings.question, store.attributes)
    finally:
        backend.disconnect()


def silent(settings: Settings, cutoff: datetime, eligible: pa.Array) -> tuple[pa.Array, Floats]:
    """The customers known at `cutoff` and not excluded, who are not `eligible`, in order, and the days since their
    last event.
    """
    store, backend = open_store(settings), connect(settings)
    try:
        events = before(included(store.as_of(backend, cutoff), settings.question), cutoff)
        last = events.group_by("customer_id").aggregate(second=events.event_time.max().epoch_seconds())
        known = last.order_by("customer_id").to_pyarrow()
    finally:
        backend.disconnect()
    found = known.filter(pc.invert(pc.is_in(known["customer_id"].cast(pa.string()), eligible)))
    silence = (int(cutoff.timestamp()) - found["second"].to_numpy()) / SECONDS_A_DAY
    return found["customer_id"].cast(pa.string()).combine_chunks(), silence


def _together(parts: Sequence[Asked], said: Predictions, cutoff: datetime) -> Scored:
    at = int(cutoff.timestamp())

    def silence(last: list[Integers]) -> Floats:
        return (at - np.concatenate(last) // 1_000_000) / SECONDS_A_DAY

    return Scored(
        customers=pa.concat_arrays([part.customers for part in parts]),
        silence=silence([part.standing.last for part in parts]),
        predictions=said,
        others=pa.concat_arrays([part.others for part in parts]),
        others_silence=silence([part.others_last for part in parts]),
    )


def _rows(settings: Settings, said: Scored, words: list[str | None] | None, champion: registry.Version) -> pa.Table:
    """A row a customer and horizon, in that order. The reasons are of the primary horizon and stand in all its rows."""
    horizons, customers = settings.question.horizons, len(said.customers)
    of_customer = pa.array(np.repeat(np.arange(customers), len(horizons)))

    def flat(values: Floats | None) -> pa.Array:
        rows = len(of_customer)
        return pa.nulls(rows, pa.float64()) if values is None else pa.array(values.ravel(), pa.float64())

    def all_the_same(value: str) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(len(of_customer), np.int32)), pa.array([value]))

    frame = {
        "customer_id": said.customers.take(of_customer),
        "horizon_days": pa.array(np.tile(np.asarray(horizons, np.int64), customers)),
        "churn_probability": flat(said.predictions.churn_probability),
        "expected_purchases": flat(said.predictions.expected_purchases),
        "expected_spend": flat(said.predictions.expected_spend),
        "reasons": pa.array(words, pa.string()).take(of_customer) if words else pa.nulls(len(of_customer), pa.string()),
        "days_since_last_event": pa.array(said.silence).take(of_customer),
        "model_name": all_the_same(champion.recipe),
        "model_version": all_the_same(str(champion.number)),
        "run_id": all_the_same(champion.run_id),
        "question_digest": all_the_same(champion.question_digest),
    }
    table = pa.table(frame).select(SCHEMA.names)
    order = [settings.question.horizons.index(days) for days in sorted(horizons)]
    if order != sorted(order):
        table = table.sort_by([("customer_id", "ascending"), ("horizon_days", "ascending")])
    return table


def _not_scored(settings: Settings, said: Scored) -> pa.Table:
    question = settings.question
    what = "no event" if question.counts_every_event else "ended, or no activity"
    reason = f"{what} in the {question.active_within} days before the cutoff"
    columns = [said.others, pa.array(said.others_silence), pa.repeat(reason, len(said.others))]
    return pa.table(columns, schema=NOT_SCORED)
