"""Every night: extract, validate, load, score, publish, review, over an explicit data interval.

A night is the interval `[previous loaded cutoff, cutoff)`; a night past a finished source's end is skipped. Without a
champion, score and publish are skipped, and review still holds earlier predictions against what happened.
"""

from typing import Any

from airflow.sdk import CronDataIntervalTimetable, TriggerRule, dag, get_current_context, task

from dags._shared import DAG_ARGUMENTS, EVENTS, alert_on_gap, alert_on_review, current_cutoff, run_step
from pipeline.config.settings import load_settings


@dag(schedule=CronDataIntervalTimetable("0 0 * * *", timezone="UTC"), doc_md=__doc__, **DAG_ARGUMENTS)
def nightly_predictions() -> None:
    @task(on_success_callback=alert_on_gap)
    def extract() -> dict[str, Any]:
        """Stage what the source holds of the night."""
        return run_step("extract")

    @task
    def validate() -> dict[str, Any]:
        """Set aside the rows that break a rule; refuse a broken night. Gives the address of the Data Docs too."""
        return run_step("validate") | {"data_docs": load_settings().state.data_docs_page.as_uri()}

    @task(outlets=[EVENTS])
    def load() -> dict[str, Any]:
        """Write the night's object into the event store, and start the DAGs that wait for events."""
        figures = run_step("load")
        get_current_context()["outlet_events"][EVENTS].extra = {"cutoff": current_cutoff().date().isoformat()}
        return figures

    @task
    def score() -> dict[str, Any]:
        """Ask the champion about every eligible customer."""
        return run_step("score")

    @task
    def publish() -> dict[str, Any]:
        """Put the night's scores before the analysts, in one transaction."""
        return run_step("publish")

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS, on_success_callback=alert_on_review)
    def review() -> dict[str, Any]:
        """Hold predictions whose horizon has closed against what happened, also when there was nothing to publish; look
        for drift; decide whether to retrain. Its callback posts the alert.
        """
        return run_step("review")

    loaded, published = load(), publish()
    extract() >> validate() >> loaded >> score() >> published
    [loaded, published] >> review()


nightly_predictions()
