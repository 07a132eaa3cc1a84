"""What happened to scored customers: who came back, who received a treatment, and which segment each was in."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import ibis
import ibis.expr.types as ir
import numpy as np
from ibis.backends.duckdb import Backend
from numpy.typing import NDArray

from features.examples import comes_back, current, ends, included, visible
from features.question import Question
from pipeline.config.settings import Settings
from pipeline.event_store.store import EventStore, open_store
from pipeline.runtime.engine import connect
from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.nights import DAY, Night
from pipeline.sources.factory import open_source

MOMENT = "timestamp('UTC', 6)"


@dataclass(frozen=True)
class Outcomes:
    """Of one score date and horizon. `segments` maps an attribute to its value for each customer."""

    came: set[str]  # customers who came back in [cutoff + gap, cutoff + gap + horizon)
    ended: set[str]  # customers with an event in it that ends them, where the question names such
    gone: set[str]  # customers who ended before it, within the gap
    treated: set[str]  # customers who received a treatment from the cutoff to its end
    segments: Mapping[str, Mapping[str, str]]

    def churn(self, customers: NDArray[np.object_], question: Question) -> NDArray[np.float64]:
        """Who of `customers` churned, as the question has it; NaN where there is no telling."""
        who = (self.ended, True) if question.ends_with else (self.came, False)
        churned = np.array([(customer in who[0]) is who[1] for customer in customers], dtype=np.float64)
        churned[[customer in self.gone for customer in customers]] = np.nan
        return churned


def outcomes(settings: Settings, night: Night, start: datetime, end: datetime) -> Outcomes:
    """What happened from the cutoff `start` to `end`, where the horizon closes, as the events are known at
    `night.cutoff`; segments as they were known at `start`, from each customer's last event before it. Treatments do not
    count as coming back. Raises ConfigurationError where `review.segments` names what is no categorical attribute.
    """
    store, backend = open_store(settings), connect(settings)
    for name in settings.review.segments:
        if store.attributes.get(name) != "categorical":
            known = ", ".join(each for each, kind in store.attributes.items() if kind == "categorical") or "none"
            raise ConfigurationError(f"review.segments: {name!r} is no categorical attribute: there are {known}")
    try:
        question = settings.question
        events = current(included(store.as_of(backend, night.cutoff, since=start), question))
        inside = events.filter(
            (events.event_time >= ibis.literal(start, MOMENT)) & (events.event_time < ibis.literal(end, MOMENT))
        )
        is_treatment = inside.event_type.isin(settings.review.treatments)
        opens = ibis.literal(start + question.gap * DAY, MOMENT)
        back, ended = comes_back(inside, question) & ~is_treatment, ends(inside, question)
        return Outcomes(
            came=_customers(inside.filter(back & (inside.event_time >= opens))),
            ended=_customers(inside.filter(ended & (inside.event_time >= opens))),
            gone=_customers(inside.filter(ended & (inside.event_time < opens))),
            treated=_customers(inside.filter(is_treatment)) | _treated_by_the_source(settings, start, end),
            segments=_segments(settings, store, backend, start),
        )
    finally:
        backend.disconnect()


def _customers(events: ir.Table) -> set[str]:
    return set(events.select("customer_id").distinct().to_pyarrow()["customer_id"].to_pylist())


def _treated_by_the_source(settings: Settings, start: datetime, end: datetime) -> set[str]:
    """Treatments that the source knows of beside its events."""
    source = open_source(settings)
    asked = getattr(source, "treated", None)
    return asked(settings.review.treatments, start, end) if asked else set()


def _segments(settings: Settings, store: EventStore, backend: Backend, cutoff: datetime) -> dict[str, dict[str, str]]:
    names = settings.review.segments
    if not names:
        return {}
    events = store.as_of(backend, cutoff)
    events = events.filter(visible(events, ibis.literal(cutoff, MOMENT)))
    order = ibis.window(group_by="customer_id", order_by=[events.event_time.desc(), events.event_id.desc()])
    last = events.mutate(place=ibis.row_number().over(order)).filter(ibis._.place == 0)
    rows = last.select("customer_id", *names).to_pyarrow().to_pylist()
    return {name: {row["customer_id"]: row[name] or "none" for row in rows} for name in names}
