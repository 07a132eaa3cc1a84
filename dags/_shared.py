"""What every task shares: its cutoff, its night, and how the pipeline's errors become Airflow's.

Nothing heavy is imported when a DAG is parsed; every task is one call of a pipeline function.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, Param, get_current_context
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from pipeline.config.settings import load_settings
from pipeline.monitoring.alerts import alert
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import resolve_cutoff
from pipeline.runtime.secret_files import PRIVATE
from pipeline.steps import step

os.umask(PRIVATE)  # of every task's process

EVENTS = Asset("recur_events")
"""The event store. Each night that is loaded emits it, with its cutoff in the event's extra."""

TRAINING_POOL = "training"
"""One slot: networks that train side by side would not fit into memory."""


def alert_on_failure(context: Any) -> None:
    """An Airflow callback: posts to `addresses.alerts` that a task failed for good."""
    task, error = context["ti"], " ".join(str(context.get("exception")).split())
    alert(load_settings().alerts, f"recur: {task.dag_id}, {task.task_id} failed: {error}")


def alert_on_review(context: Any) -> None:
    """An Airflow callback: alerts of a review that calls for a training (due with the next night) or a look."""
    review = context["ti"].xcom_pull(task_ids=context["ti"].task_id) or {}
    if review.get("decision", "fine") != "fine":
        alert(load_settings().alerts, f"recur: {review['decision']}: {review['why']}")


def alert_on_gap(context: Any) -> None:
    """An Airflow callback of a night's first step: alerts where the night before was not published."""
    from pipeline.monitoring.published import not_published_before
    from pipeline.serving.database import open_predictions

    settings, cutoff = load_settings(), cutoff_of(context)
    if gap := not_published_before(open_predictions(settings.predictions, settings.root), cutoff.date()):
        alert(settings.alerts, f"recur: {gap}")


DAG_ARGUMENTS: dict[str, Any] = {
    "catchup": False,
    "max_active_runs": 1,
    "start_date": datetime(2000, 1, 1, tzinfo=UTC),
    "default_args": {
        "owner": "recur",
        "retries": 1,
        "retry_delay": timedelta(minutes=1),
        "on_failure_callback": alert_on_failure,
    },
    "params": {
        "cutoff": Param(
            None,
            type=["null", "string"],
            format="date",
            description="The night's cutoff, such as 2017-12-04. Empty: the end of the run's data interval.",
        )
    },
    "tags": ["recur"],
}


@contextmanager
def airflow_errors() -> Iterator[None]:
    """NothingToDo marks the task skipped. A RecurError, which a person has to fix, fails it at once, as a retry would
    fail again; any other error is retried.
    """
    try:
        yield
    except NothingToDo as reason:
        raise AirflowSkipException(str(reason)) from None
    except RecurError as error:
        raise AirflowFailException(str(error)) from None


def current_cutoff() -> datetime:
    """The cutoff of the running task's DAG run."""
    return cutoff_of(get_current_context())


def cutoff_of(context: Any) -> datetime:
    """The cutoff of the DAG run of a task's context."""
    run = context["dag_run"]
    extras = [event.extra for events in context["triggering_asset_events"].values() for event in events]
    return resolve_cutoff(context["params"], extras, run.data_interval_end, run.data_interval_start, run.run_after)


def run_step(name: str) -> dict[str, Any]:
    """`pipeline.steps.<name>.<name>(settings, night)`, imported now; its figures, small enough for XCom. The night ends
    at the running task's cutoff and begins where the store ends, so that one after a failed one takes both intervals.
    """
    from pipeline.event_store.store import night_ending_at

    with airflow_errors():
        settings = load_settings()
        figures: dict[str, Any] = step(name)(settings, night_ending_at(settings.events, current_cutoff()))
        return figures


def run_training_step(name: str, *arguments: str) -> Any:
    """`pipeline.steps.<name>.<name>(settings, cutoff, *arguments)`, imported now; its result, fit for XCom."""
    with airflow_errors():
        return step(name)(load_settings(), current_cutoff(), *arguments)
