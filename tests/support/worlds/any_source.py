"""Any source and any question: what a seed draws, and the whole chain over it, small.

A draw is a choice among kinds (how many customers, how times lie, what amounts there are, what an id looks like, which
rows are bad, what is asked), so that combinations come that nobody thinks of.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from models import MODELS, POOLS, model_class
from models.information import PIECES
from pipeline.cli.feasibility import require_askable
from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import night_ending_at, open_store
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.scoring.explain import explain
from pipeline.serving.database import open_predictions
from pipeline.serving.query import Limits, query
from pipeline.sources.factory import first_night, open_source
from pipeline.steps import step

START = datetime(2024, 1, 1, tzinfo=UTC)
KINDS: dict[str, tuple[Any, ...]] = {
    "customers": (1, 3, 40, 40, 40),
    "days": (1, 20, 70, *[110] * 6),
    "times": (
        *["spread"] * 5,
        "same",
        "one_each",
        "one_each",
        "recent",
        "weekdays",
        "weekdays",
        "one_class",
        "one_class",
    ),
    "amounts": ("unmapped", "null", "some", "all", "zero", "negative", "constant"),
    "types": ("unmapped", "one", "two"),
    "ids": ("unmapped", "number", "text", "repeated"),
    "customer_ids": ("number", "point_zero", "email", "unicode", "comma", "long"),
    "attribute": ("none", "constant", "null", "mixed", "numeric_constant", "numeric_null", "numeric_mixed"),
    "bad_rows": (0, 0, 0, 1, 3),
    "active_within": (7, 28, 28),
    "horizons": ((7,), (7,), (14, 7)),
    "gap": (0, 0, 2),
    "ends_with": (*[None] * 6, *["occurs"] * 3, "never"),
    "next_event": (False, False, True),
    "calendar": (None, False, True),
    "categories": (None, False, True),
    "exclude": (None, None, "customer", "type"),
}
CONVENTIONAL = [name for name in MODELS if name not in POOLS and model_class(name).family == "conventional"]
NETWORKS = [name for name in MODELS if name not in (*POOLS, *CONVENTIONAL)]


@dataclass(frozen=True)
class Draw:
    """What a seed chose. `names` are the models."""

    seed: int
    chosen: dict[str, Any]
    names: tuple[str, ...]

    @classmethod
    def of(cls, seed: int, networks: bool) -> "Draw":
        random = np.random.default_rng(seed)
        chosen = {kind: values[random.integers(len(values))] for kind, values in KINDS.items()}
        chosen["types"] = "two" if chosen["ends_with"] == "occurs" else chosen["types"]
        names = ["recency", *random.choice([name for name in CONVENTIONAL if name != "recency"], 2, replace=False)]
        if networks and random.random() < 0.4:
            names.append(str(random.choice(NETWORKS)))
        return cls(seed, chosen, tuple(map(str, names)))

    def __str__(self) -> str:
        return f"seed {self.seed}: {', '.join(f'{key} {value}' for key, value in self.chosen.items())}; {self.names}"

    def write(self, folder: Path) -> pd.DataFrame:
        """The source and its configuration in `folder`; gives the rows of the source."""
        rows = self._rows(np.random.default_rng([self.seed, 1]))
        rows.to_csv(folder / "events.csv", index=False)
        (folder / "recur.toml").write_text("\n".join(self._configuration(rows)), "utf-8")
        return rows

    def _rows(self, random: np.random.Generator) -> pd.DataFrame:
        kinds = self.chosen
        owners, days = self._times(random)
        times = [START + timedelta(seconds=round(float(day) * 86_400)) for day in days]
        rows = pd.DataFrame({"who": [self._customer(owner) for owner in owners], "at": times})
        rows["at"] = rows["at"].dt.strftime("%Y-%m-%d %H:%M:%S")
        rows = rows.astype({"who": object, "at": object})
        amounts = random.gamma(2, 10, len(rows)).round(2)
        rows["eur"] = {
            "null": np.full(len(rows), np.nan),
            "some": np.where(random.random(len(rows)) < 0.5, amounts, np.nan),
            "zero": np.zeros(len(rows)),
            "negative": -amounts,
            "constant": np.full(len(rows), 9.99),
        }.get(kinds["amounts"], amounts)
        rows["what"] = random.choice(["visit", "gone"], len(rows), p=[0.9, 0.1]) if kinds["types"] == "two" else "visit"
        rows["id"] = np.arange(len(rows))
        if kinds["ids"] == "text":
            rows["id"] = [f"é {number}/{self.seed}" for number in rows["id"]]
        attribute = kinds["attribute"]
        values = random.choice(["a", "b", "ü"], len(rows)) if not attribute.startswith("numeric") else amounts
        rows["extra"] = None if attribute.endswith("null") else values[0] if attribute.endswith("constant") else values
        if kinds["ids"] == "repeated":
            rows = pd.concat([rows, rows.iloc[:: max(len(rows) // 3, 1)]], ignore_index=True)
        for number in range(min(kinds["bad_rows"], len(rows))):
            rows.loc[number * 7 % len(rows), ["who", "at"][number % 2]] = ["", "no time"][number % 2]
        return rows

    def _times(self, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Of each event, its customer's number and its day."""
        customers, length, times = self.chosen["customers"], self.chosen["days"], self.chosen["times"]
        if times == "one_each":
            return np.arange(customers), random.uniform(0, length, customers)
        if times == "one_class":  # everybody every day
            owners, days = np.meshgrid(np.arange(customers), np.arange(length) + 0.5, indexing="ij")
            return owners.ravel(), days.ravel()
        owners = np.repeat(np.arange(customers), random.poisson(length / 6, customers) + 1)
        days = random.uniform(0, length, len(owners))
        if times == "same":
            days[:] = length / 2
        elif times == "recent":
            days = length - (length - days) / 8
        elif times == "weekdays":
            days = np.where(days.astype(int) % 7 >= 5, days - 2, days).clip(0)
        order = np.argsort(days, kind="stable")
        return owners[order], days[order]

    def _customer(self, number: int) -> str:
        return {
            "number": f"{number}",
            "point_zero": f"{1000 + number}.0",
            "email": f"Person.{number}@Example.org",
            "unicode": f"Žofie {number} 客",
            "comma": f'O"Neil, {number}',
            "long": f"{number:0200d}",
        }[self.chosen["customer_ids"]]

    def _configuration(self, rows: pd.DataFrame) -> Iterator[str]:
        kinds = self.chosen
        columns = {"customer_id": "who", "event_time": "at"}
        columns |= {"amount": "eur"} if kinds["amounts"] != "unmapped" else {}
        columns |= {"event_type": "what"} if kinds["types"] != "unmapped" else {}
        columns |= {"event_id": "id"} if kinds["ids"] != "unmapped" else {}
        columns |= {"extra": "extra"} if kinds["attribute"] != "none" else {}
        yield '[source]\nkind = "csv"\npath = "events.csv"'
        if kinds["attribute"] in ("constant", "null", "mixed"):
            yield 'categorical = ["extra"]'
        yield "[source.columns]"
        yield from (f'{name} = "{column}"' for name, column in columns.items())
        yield f"[question]\nactive_within = {kinds['active_within']}\nhorizons = {list(kinds['horizons'])}"
        yield f"gap = {kinds['gap']}\nnext_event = {str(kinds['next_event']).lower()}"
        for piece in PIECES:
            if kinds[piece] is not None:
                yield f"{piece} = {str(kinds[piece]).lower()}"
        if kinds["ends_with"]:
            yield f'ends_with = ["{"gone" if kinds["ends_with"] == "occurs" else "cancelled"}"]'
        if kinds["exclude"] == "customer":
            yield f"exclude_customers = ['{self._customer(0)}']"
        elif kinds["exclude"] == "type" and kinds["ends_with"] != "occurs":
            yield 'exclude_types = ["gone"]'
        yield f"[models]\nnames = {list(self.names)}\nmax_epochs = 1\n[serving]\nreasons_share = 0.5"


@dataclass
class Outcome:
    """How far the chain came, what refused it in words (None: nothing did), and what is wrong with that."""

    reached: str = "nothing"
    refused: str | None = None
    faults: list[str] = field(default_factory=list)


def empty_mlflow(folder: Path) -> Path:
    """An MLflow database without a run, for `work`."""
    from mlflow.tracking import MlflowClient

    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


def work(draw: Draw, folder: Path, mlflow: Path | None = None) -> Outcome:
    """The chain over `draw` in `folder`: two nights, a training as of the second, its scores, a review, a customer
    explained. `mlflow` is an MLflow database to begin with, which takes seconds to make.
    """
    outcome, rows = Outcome(), draw.write(folder)
    try:
        settings = load_settings(folder / "recur.toml")
        if mlflow is not None:
            settings.var.mkdir(parents=True)
            shutil.copyfile(mlflow, settings.var / "mlflow.db")
        for reached in _chain(settings, draw, rows, outcome):
            outcome.reached = reached
    except RecurError as error:
        outcome.refused = f"{type(error).__name__}: {error}"
        if "\n" in str(error) or len(str(error)) < 20:
            outcome.faults.append(f"no line for people: {error!r}")
    except Exception as error:  # what would be a traceback
        outcome.faults.append(f"after {outcome.reached}: {type(error).__name__}: {' '.join(str(error).split())[:300]}")
    return outcome


def _chain(settings: Settings, draw: Draw, rows: pd.DataFrame, outcome: Outcome) -> Iterator[str]:
    span = open_source(settings).span()
    yield "the span"
    try:
        require_askable(settings.question, span)
    except RecurError as error:  # what `recur run` would say; a source with `run.first_night` goes on
        outcome.refused = str(error)
    yield "the question"
    counts = []
    first = span.closed if outcome.refused else first_night(span, settings.run, settings.question)
    for cutoff in sorted({first, span.closed}):
        night = night_ending_at(settings.events, cutoff)
        for name in ("extract", "validate", "load"):
            figures = step(name)(settings, night)
        counts.append(figures)
    outcome.faults += _lost(settings, rows, counts, span.closed)
    yield "the nights"
    cutoff = span.closed
    step("snapshot")(settings, cutoff)
    yield "the examples"
    for name in settings.models.names:
        step("train")(settings, cutoff, name)
        yield f"{name} trained"
    step("compare")(settings, cutoff)
    yield "the comparison"
    step("promote")(settings, cutoff)
    yield "the gate"
    step("score")(settings, night)
    step("publish")(settings, night)
    yield "the scores"
    with contextlib.suppress(NothingToDo):
        step("review")(settings, night)
    columns, published = query(
        open_predictions(settings.predictions, settings.root),
        "select customer_id, churn_probability, expected_purchases, expected_spend from churn_predictions",
        Limits(60, 1_000_000),
    )
    outcome.faults += _wrong(draw, pd.DataFrame(published, columns=columns))
    explain(settings, str(published[0][0]))
    yield "a customer explained"


def _lost(settings: Settings, rows: pd.DataFrame, counts: list[dict[str, int]], closed: datetime) -> list[str]:
    """Rows in are events, rows set aside with their reason, and those of the day that is not closed."""
    open_day = int((pd.to_datetime(rows["at"], errors="coerce", utc=True) >= closed).sum())
    added, aside, repeated = (
        sum(count[f"rows_{kind}"] for count in counts) for kind in ("accepted", "quarantined", "already_known")
    )
    faults = []
    if added + aside + repeated + open_day != len(rows):
        faults.append(
            f"{len(rows)} rows in, {added} accepted, {aside} set aside, {repeated} known, {open_day} of an open day"
        )
    events = sum(open_store(settings).as_of(closed).event_types().values())
    if events > added:
        faults.append(f"{events} events of {added} rows")
    _, reasons = query(
        open_predictions(settings.predictions, settings.root),
        "select reason, rows from quarantine_summary",
        Limits(60, 1000),
    )
    if sum(row[1] for row in reasons) != aside or any(not row[0] for row in reasons):
        faults.append(f"{aside} rows set aside, but the reasons are {reasons}")
    return faults


def _wrong(draw: Draw, published: pd.DataFrame) -> list[str]:
    """What is wrong with the published predictions."""
    faults = []
    if not published["churn_probability"].between(0, 1).all():
        faults.append("a churn probability that is none")
    values = published[["expected_purchases", "expected_spend"]]
    if draw.chosen["amounts"] in ("unmapped", "null") and values.notna().any(axis=None):
        faults.append("values are expected where no event has an amount")
    return faults
