"""What `mlflow.pyfunc.load_model` calls for a version of ours: the model in the artefact, which answers events with
predictions. Nothing is unpickled, and no file is read that the recipe does not vouch for.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from features.examples.merging import together
from features.examples.request import BuildRequest
from features.examples.revisions import ORDER
from features.examples.shard import build_shard
from features.question import Question
from features.time import microseconds
from models.base import Model
from pipeline.event_store.night_events import as_revisions
from pipeline.event_store.store import event_schema
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import DAY, midnight, parse_cutoff
from pipeline.sources.contract import Kind
from pipeline.training.artefact import digest_of, faults, load_model, read_facts

if TYPE_CHECKING:
    import pandas as pd

EVENTS = "events.json"  # of an artefact: the question, and the attributes of the events that it is asked of
OF_THE_STORE = ("known_time", "deleted")  # columns that the loader fills in


@dataclass(frozen=True)
class Predictor:
    """Answers `predict` of MLflow's python_function."""

    model: Model
    question: Question
    attributes: Mapping[str, Kind]
    told_apart: Mapping[str, Sequence[str]]  # of text columns, the values that have aggregates of their own

    def predict(self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """A row for each customer of the events in `model_input` who is eligible at the cutoff, in order of their ids:
        `customer_id`, and for each horizon of h days `churn_probability_h`, and `expected_purchases_h` and
        `expected_spend_h` where the model has such heads. Times are UTC, and an event counts as known when it happened.
        `params` may name the `cutoff`, a date: events at or after its midnight are not read. By default it is the
        midnight after the last event. Raises RecurError where a column is missing.
        """
        import pandas as pd

        events = self._events(model_input)
        named = str((params or {}).get("cutoff") or "")
        if not named and not len(events):
            raise RecurError("there are no events: give some, or a cutoff")
        cutoff = parse_cutoff(named) if named else midnight(pc.max(events["event_time"]).as_py()) + DAY
        request = BuildRequest(np.array([microseconds(cutoff)]), self.question.spec(self.attributes, self.told_apart))
        data = together([build_shard(as_revisions(events, cutoff), request)], self.question.horizons)
        columns = {"customer_id": data.customer_id}
        if not len(data):  # nobody is eligible
            return pd.DataFrame(columns)
        predictions = self.model.predict(data)
        for name in ("churn_probability", "expected_purchases", "expected_spend"):
            values = getattr(predictions, name)
            for column, horizon in enumerate(self.question.horizons) if values is not None else ():
                columns[f"{name}_{horizon}"] = values[:, column]
        return pd.DataFrame(columns)

    def _events(self, rows: "pd.DataFrame") -> pa.Table:
        """As the event store has them; alike times in the order in which they come."""
        import pandas as pd

        schema = event_schema(self.attributes)
        if missing := {"customer_id", "event_time"} - set(rows.columns):
            raise RecurError(f"the events have no column {min(missing)!r}: they have {', '.join(map(str, rows))}")
        whole = rows.assign(
            event_id=[f"{number:012d}" for number in range(len(rows))],
            customer_id=rows["customer_id"].astype(str),
            event_time=pd.to_datetime(rows["event_time"], utc=True).astype("datetime64[us, UTC]"),
        )
        fields = [field for field in schema if field.name not in OF_THE_STORE]
        table = pa.table(
            [
                pa.array(whole[field.name], field.type, from_pandas=True)
                if field.name in whole
                else pa.nulls(len(whole), field.type)
                for field in fields
            ],
            pa.schema(fields),
        )
        return table.sort_by([(name, "ascending") for name in ORDER[:-1]])


def _load_pyfunc(path: str) -> Predictor:
    """The name and the parameter are MLflow's. Raises RecurError where a file is not as the recipe says."""
    folder = Path(path)
    facts = read_facts(folder, f"the model in {folder}")
    if wrong := sorted(set(faults(folder)) & set(facts.get("files", {}))):  # MLflow adds files of its own
        raise RecurError(f"{wrong[0]} in {folder} is not what was registered: load the version again")
    content = json.loads((folder / EVENTS).read_text("utf-8"))
    model = load_model(folder, digest_of(folder))
    return Predictor(
        model, Question.model_validate(content["question"]), content["attributes"], content.get("told_apart", {})
    )


def example_of(event_type: str | None, attributes: Mapping[str, Kind]) -> "pd.DataFrame":
    """Made-up events of two customers, in the columns that `Predictor.predict` reads."""
    import pandas as pd

    days = [("a", 1), ("a", 8), ("a", 14), ("b", 3), ("b", 5)]
    events = pd.DataFrame(
        {
            "customer_id": [customer for customer, _ in days],
            "event_time": [datetime(2026, 1, day, 12, tzinfo=UTC).replace(tzinfo=None) for _, day in days],
            "event_type": event_type,
            "amount": [20.0, 15.5, 42.0, 8.0, 12.0],
            "quantity": [2.0, 1.0, 3.0, 1.0, 1.0],
        }
    )
    for name, kind in attributes.items():
        events[name] = pd.Series([None] * len(days), dtype="float64" if kind == "numeric" else "object")
    return events
