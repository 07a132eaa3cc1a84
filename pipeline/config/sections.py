"""The tables of `recur.toml` other than `[source]` and `[question]`, with their keys, defaults and meaning."""

from datetime import date
from typing import Annotated, Literal

from pydantic import Field, field_validator

from models import MODELS, POOLED, POOLS, has_memory
from pipeline.config.source import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Run(Section):
    """Which nights there are, what engine works on features, and the seed of everything random."""

    first_night: date | None = None
    """The first cutoff: what happened before it loads in one pass. By default the source's last closed day less the
    primary horizon, so that the first scores can be reviewed at the end.
    """
    engine: Literal["duckdb", "spark"] = "duckdb"
    """What runs the feature work: DuckDB within the process, or Apache Spark (which needs Java and the package pyspark)
    at `addresses.spark`. Features are the same on both.
    """
    seed: Annotated[int, Field(ge=0)] = 20171204
    """The seed of everything random."""
    keep_staged: Annotated[int, Field(gt=0)] = 35
    """How many days the staged and accepted rows of a loaded night are kept. A night that is loaded again is read from
    these rows; once they are gone it is read from the source, where that can say what it knew then.
    """


class Validation(Section):
    """When a night as a whole is refused."""

    max_quarantined_share: Share = 0.05
    """The largest share of a night's rows that may be set aside."""
    expected_reasons: tuple[str, ...] = ()
    """Reasons that are normal for the source, as `customer_id_missing` where guests buy too: rows are set aside for
    them as for others, but do not count towards `max_quarantined_share`.
    """
    min_volume_share: Share = 0.2
    """The least a night may hold, as a share of the median of the last weeks' nights."""
    max_volume_share: Annotated[float, Field(gt=1)] = 5.0
    """The most a night may hold, as a multiple of the median of the last weeks' nights."""
    max_future_share: Share = 0.01
    """The largest share of a night's rows whose event time may lie after the night's end."""
    max_repeated_share: Share = 0.2
    """The largest share of a night's rows, of a source without `columns.event_id`, that may equal another row of it."""
    max_silent_days: Annotated[float, Field(gt=0)] = 14.0
    """For how many days up to a night's end there may be no event, where days without one are unusual."""
    max_mix_drift: Share = 0.5
    """How far a night's mix of event types may lie from that of the last weeks: half the sum of the distances between
    each type's share then and now (0: the same mix; 1: no type in common), beyond what chance makes of few events.
    """
    max_absent_rise: Share = 0.5
    """By how much the share of events without an amount, a quantity or an attribute may rise above the last weeks'."""


class Models(Section):
    """Which recipes compete, and how the networks among them are trained."""

    names: tuple[str, ...] = (
        "recency",
        "logistic_regression",
        "random_forest",
        "lightgbm",
        "feed_forward",
        "simple_rnn",
        "lstm",
        "gru",
        "survival_gru",
        "hybrid_gru",
        "conventional_pool",
        "recurrent_pool",
        "twin_pool",
    )
    """The models that compete. A pool averages others, which must be among them: `conventional_pool` logistic
    regression, forest and LightGBM, `recurrent_pool` these and the recurrent model that helps them most before any
    test, `twin_pool` these and that model's twin without a memory.
    """
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    """The optimizer of the networks: AdamW, Adam (without weight decay), or SGD with momentum."""
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """The networks' learning rate; by default each network's own."""
    max_epochs: Annotated[int, Field(gt=0)] = 12
    """The most epochs that a network trains; validation may stop it earlier."""
    trials: Annotated[int, Field(ge=0)] = 0
    """The trials by which each model is tuned, the same number for all: fits on the oldest window, judged by its
    validation part. 0 takes the defaults, which are trial 0 of any tuning and give way only to what is clearly better.
    """
    margin: Annotated[float, Field(gt=0)] = 0.002
    """The difference in log loss below which two models count as equivalent."""
    retrain_after: Annotated[int, Field(gt=0)] | None = None
    """Training is due when at least this many days have passed since the last; by default when more than the primary
    horizon has.
    """

    @property
    def in_order(self) -> tuple[str, ...]:
        """The models in the order in which they are trained: pools after what they average."""
        return tuple(sorted(self.names, key=lambda name: name in POOLS))

    @field_validator("names")
    @classmethod
    def _names_are_known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in MODELS]
        if unknown or not names or len(set(names)) != len(names):
            fault = f"there is no model {unknown[0]!r}" if unknown else "each model is named once, and at least one"
            raise ValueError(f"{fault}: choose among {', '.join(MODELS)}")
        if pools := [name for name in POOLS if name in names]:
            if absent := [name for name in POOLED if name not in names]:
                raise ValueError(f"{pools[0]} averages {absent[0]}, which is not named: name both or neither")
            if pools != ["conventional_pool"] and not any(map(has_memory, names)):
                raise ValueError(f"{pools[-1]} takes in a recurrent model, and none is named: add one, as hybrid_gru")
        return names


class Evidence(Section):
    """How much evidence the comparison rests on."""

    windows: Annotated[int, Field(gt=0)] = 1
    """The most forward test periods, each with a training of its own; fewer where the history allows no more."""
    seeds: Annotated[int, Field(gt=0)] = 1
    """How often every recipe is fitted on each window, each time from another seed; every figure is over all fits."""
    calibration: Literal["chosen", "none", "platt", "beta", "isotonic"] = "chosen"
    """The map that calibrates every model's probabilities on the calibration part: one of these for all, or (`chosen`)
    for each model the simplest that, fitted on validation, no other beats beyond doubt on the calibration part.
    """
    retrained_ablations: bool = False
    """Whether each recurrent recipe is also trained, with three seeds, on histories that are altered as the ablations
    have it: what cannot be learnt without order, gaps, early events or the state. It takes some fifteen fits a model.
    """
    refit_map: Literal["levelled", "carried", "cross_fitted"] = "levelled"
    """The map of what is refitted on all that is known when a test begins: that of the fit before, with its level set
    anew on the latest examples that are known (`levelled`) or as it was (`carried`), or one that is taught by
    predictions of fits that had not seen the customer, over five folds of the customers (five more fits).
    """
    contact_cost: Share = 0.1
    """The cost of approaching a customer, as a share of what a churner found is worth; the figures of profit use it."""


class Serving(Section):
    """How scores are presented and kept: risk bands from the top, the share of customers whose reasons are written, the
    control group, how many nights, and whether as files too; and how much a statement of `recur query` may take.
    """

    high_share: Share = 0.1
    """The share of customers, from the most at risk, in the band `high`."""
    medium_share: Share = 0.3
    """The share after them in the band `medium`; the rest is `low`."""
    reasons_share: Share = 0.05
    """The share of customers, from the most at risk, whose reasons are written every night. So are those of the hundred
    who rose most since the night before.
    """
    control_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """The share of customers, random and the same every night, in the control group: leave them as they are, and
    reviews show what acting on the others' scores does. It is drawn by `run.seed`.
    """
    nights_kept: Annotated[int, Field(gt=0)] | None = None
    """The published nights whose predictions are kept; by default all. A night's predictions go only once every horizon
    of it is reviewed; its reviews and risk bands stay for ever.
    """
    parquet: str | None = "published"
    """The folder, relative to `paths.var`, that also gets each published night as Parquet, as
    `score_date=2017-12-04/predictions.parquet`; `""` for none.
    """
    query_seconds: Annotated[float, Field(gt=0)] = 60.0
    """The longest that a statement of `recur query` may take."""
    query_rows: Annotated[int, Field(gt=0)] = 2_000_000
    """The most rows that a statement of `recur query` may give; they may take 1 GiB of memory in all."""


class Review(Section):
    """How past scores are reviewed, and when a review alerts or asks for a training."""

    segments: tuple[str, ...] = ()
    """Categorical attributes by which reviews are also broken down; a customer's value is that of the last event before
    the cutoff.
    """
    max_drift: Annotated[float, Field(gt=0)] = 0.25
    """The population stability index of an input or of the scores, against training, from which to alert."""
    tolerance: Annotated[float, Field(ge=0)] = 0.02
    """By so much may the log loss of past scores, beyond chance, lie above that of the test before a training is due;
    and the share that churned beside the one predicted before an alert.
    """


class Addresses(Section):
    """The stores. Without an address, all state lies under `paths.var`. `$NAME` is read from the environment, so that
    no secret stands in the file.
    """

    source: str | None = None
    """The database that `[source] table` lies in, as an SQLAlchemy address (SQLite, PostgreSQL)."""
    events: str | None = None
    """The folder of the event store."""
    predictions: str | None = None
    """The predictions store, as an SQLAlchemy address."""
    mlflow: str | None = None
    """MLflow's tracking address."""
    alerts: str | None = None
    """Where failed tasks, and reviews that call for action, are reported: an address that takes a POST of JSON with
    `text`, as the webhooks of chat programs do.
    """
    spark: str | None = None
    """With `run.engine = "spark"`: the cluster's master, as `spark://host:7077`, `yarn` or `k8s://...`. By default
    `local[*]`, this machine. A cluster must find the event store under the same path as this machine.
    """


class Paths(Section):
    """The one folder under which all local state lies."""

    var: str = "var"
    """The folder, relative to the configuration's."""
