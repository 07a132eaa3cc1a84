"""The tables behind the views. Analysts read views; only the pipeline knows these names.

Dates are dates, instants are UTC: PostgreSQL keeps them as such, SQLite as ISO text that sorts and that its date
functions read.
"""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Date,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
)
from sqlalchemy.types import TypeEngine


class Instant(TypeDecorator[datetime]):
    """An aware datetime, to the millisecond. SQLite, which has no such type, holds it as ISO text in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).isoformat(sep=" ", timespec="milliseconds")

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return datetime.fromisoformat(value) if isinstance(value, str) else value


class Day(TypeDecorator[date]):
    """A date. SQLite holds it as ISO text: declared as DATE it would compare as a number with `'2018'`."""

    impl = Date
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else Date())

    def process_bind_param(self, value: date | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name != "sqlite" else value.isoformat()

    def process_result_value(self, value: Any, dialect: Dialect) -> date | None:
        return date.fromisoformat(value) if isinstance(value, str) else value


metadata = MetaData()

schema_version = Table(
    "schema_version", metadata, Column("digest", String, primary_key=True), Column("version", Integer)
)

night = Table(
    "night",
    metadata,
    Column("score_date", Day, primary_key=True),
    Column("primary_horizon", Integer, nullable=False),
    Column("customers", Integer, nullable=False),
    Column("model_name", String, nullable=False),
    Column("model_version", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("question_digest", String, nullable=False),
    Column("scored_at", Instant, nullable=False),
    Column("known_until", Day),
    Column("digest", String),
)
"""One published night. What is true of all its predictions stands here once. `known_until` is the last night that was
loaded when this one was published: where it is later, the scores were backfilled. `digest` is that of the night's
predictions (`night_digests`); null where an earlier recur published it, or where they were removed since.
"""

prediction = Table(
    "prediction",
    metadata,
    Column("score_date", Day, primary_key=True),
    Column("horizon_days", Integer, primary_key=True, autoincrement=False),
    Column("customer_id", String, primary_key=True),
    Column("churn_probability", Float(53), nullable=False),
    Column("risk_percentile", Float(53), nullable=False),
    Column("risk_band", String, nullable=False),
    Column("risk_change", Float(53)),
    Column("expected_purchases", Float(53)),
    Column("expected_spend", Float(53)),
    Column("reasons", Text),
    Column("days_since_last_event", Float(53)),
    Column("control", Integer),
    Column("curve", JSON),
    Index("prediction_of_customer", "customer_id", "score_date"),
    Index("prediction_by_risk", "score_date", "horizon_days", "risk_percentile"),
    sqlite_with_rowid=False,
)
"""One score of one customer. Its key is its order on disk, so that a night is one range of it. No foreign key to its
night: PostgreSQL looks it up for every row, a third of the time that it takes to write one. `publish`, the only writer,
puts both in at once. `curve`, at the longest horizon, is the survival curve: an array of the probability of no event
before each of as many days, evenly spaced up to the horizon; null where the model has none. A digest rests on the order
of the columns: a new one goes last.
"""

band = Table(
    "band",
    metadata,
    Column("score_date", Day, ForeignKey("night.score_date", ondelete="CASCADE"), primary_key=True),
    Column("horizon_days", Integer, primary_key=True, autoincrement=False),
    Column("risk_band", String, primary_key=True),
    Column("customers", Integer, nullable=False),
    Column("mean_probability", Float(53), nullable=False),
    Column("lowest_probability", Float(53), nullable=False),
    Column("highest_probability", Float(53), nullable=False),
)
"""A night's risk bands, counted when it is published: a page that shows their course reads no prediction."""

review = Table(
    "review",
    metadata,
    Column("score_date", Day, ForeignKey("night.score_date", ondelete="CASCADE"), primary_key=True),
    Column("horizon_days", Integer, primary_key=True, autoincrement=False),
    Column("metric", String, primary_key=True),
    Column("value", Float(53)),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("customers", Integer, nullable=False),
    Column("reviewed_at", Instant, nullable=False),
)

review_of_segment = Table(
    "review_of_segment",
    metadata,
    Column("score_date", Day, ForeignKey("night.score_date", ondelete="CASCADE"), primary_key=True),
    Column("horizon_days", Integer, primary_key=True, autoincrement=False),
    Column("segment", String, primary_key=True),
    Column("member", String, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("value", Float(53)),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("customers", Integer, nullable=False),
)

monitored = Table(
    "watched",
    metadata,
    Column("score_date", Day, ForeignKey("night.score_date", ondelete="CASCADE"), primary_key=True),
    Column("kind", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", Float(53)),
    Column("reference", Float(53)),
)
"""What can be said of a night's scores before its horizon closes: drift of inputs and scores, expected metrics."""

retraining_decision = Table(
    "upkeep",
    metadata,
    Column("score_date", Day, primary_key=True),
    Column("decision", String, nullable=False),
    Column("why", Text, nullable=False),
    Column("model_name", String, nullable=False),
    Column("model_version", String, nullable=False),
    Column("decided_at", Instant, nullable=False),
)

comparison = Table(
    "comparison",
    metadata,
    Column("cutoff", Day, primary_key=True),
    Column("question_digest", String, nullable=False),
    Column("test_digest", String, nullable=False),
    Column("decision", String, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("compared_at", Instant, nullable=False),
)

comparison_metric = Table(
    "comparison_metric",
    metadata,
    Column("cutoff", Day, ForeignKey("comparison.cutoff", ondelete="CASCADE"), primary_key=True),
    Column("model_name", String, primary_key=True),
    Column("metric", String, primary_key=True),
    Column("family", String, nullable=False),
    Column("run_id", String, nullable=False),
    Column("value", Float(53)),
    Column("low", Float(53)),
    Column("high", Float(53)),
    Column("fit_seconds", Float(53)),
    Column("predict_customers_per_second", Float(53)),
)

global_importance = Table(
    "driver",
    metadata,
    Column("cutoff", Day, primary_key=True),
    Column("model_name", String, primary_key=True),
    Column("input", String, primary_key=True),
    Column("words", String, nullable=False),
    Column("weight", Float(53), nullable=False),
    Column("raises", Float(53), nullable=False),
)

recency = Table(
    "silence",
    metadata,
    Column("cutoff", Day, primary_key=True),
    Column("model_name", String, primary_key=True),
    Column("from_days", Integer, primary_key=True, autoincrement=False),
    Column("to_days", Integer),
    Column("customers", Integer, nullable=False),
    Column("predicted", Float(53), nullable=False),
    Column("happened", Float(53), nullable=False),
)

step_run = Table(
    "step_run",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("step", String, nullable=False),
    Column("score_date", Day),
    Column("started_at", Instant, nullable=False),
    Column("seconds", Float(53), nullable=False),
    Column("status", String, nullable=False),
    Column("message", Text),
    Column("peak_memory_bytes", BigInteger, nullable=False),
    Column("rows_read", BigInteger),
    Column("rows_accepted", BigInteger),
    Column("rows_quarantined", BigInteger),
    Column("rows_already_known", BigInteger),
    Column("rows_scored", BigInteger),
    Column("rows_published", BigInteger),
    Index("step_run_by_start", "started_at"),
)

quarantine = Table(
    "quarantine",
    metadata,
    Column("score_date", Day, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("row_count", BigInteger, nullable=False),
)
