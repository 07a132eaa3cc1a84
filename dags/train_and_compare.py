"""When a night's events have landed: snapshot, one task a model, pools of them after all others, compare, promote.

Whether a training is due is asked every night (`models.retrain_after`); a run with the parameter `cutoff` is not asked.
A cutoff that is already trained is skipped.
"""

from typing import Any

from airflow.sdk import TriggerRule, dag, get_current_context, task

from dags._shared import DAG_ARGUMENTS, EVENTS, TRAINING_POOL, airflow_errors, current_cutoff, run_training_step
from models import POOLS
from pipeline.config.settings import load_settings
from pipeline.runtime.errors import NothingToDo


@dag(schedule=[EVENTS], doc_md=__doc__, **DAG_ARGUMENTS)
def train_and_compare() -> None:
    @task
    def snapshot() -> list[str]:
        """Build the examples and both views as of the cutoff; give the names of the recipes that compete, but pools."""
        from pipeline.monitoring.retraining import training_due

        with airflow_errors():
            settings, cutoff = load_settings(), current_cutoff()
            if not get_current_context()["params"].get("cutoff") and not training_due(settings, cutoff):
                raise NothingToDo(f"no training is due as of {cutoff.date()}")
        run_training_step("snapshot")
        return [name for name in settings.models.names if name not in POOLS]

    @task(pool=TRAINING_POOL, map_index_template="{{ name }}")
    def train(name: str) -> str:
        """Fit one recipe and log it; give its run's id."""
        get_current_context()["name"] = name  # type: ignore[typeddict-unknown-key]
        run_id: str = run_training_step("train", name)
        return run_id

    @task(pool=TRAINING_POOL, map_index_template="{{ name }}")
    def pool(name: str) -> str:
        """Average the models of one pool and log it; give its run's id."""
        get_current_context()["name"] = name  # type: ignore[typeddict-unknown-key]
        with airflow_errors():
            if name not in load_settings().models.names:
                raise NothingToDo(f"{name} does not compete")
        run_id: str = run_training_step("train", name)
        return run_id

    @task(trigger_rule=TriggerRule.NONE_FAILED_MIN_ONE_SUCCESS)  # a pool that does not compete is skipped
    def compare() -> dict[str, Any]:
        """Score every model by the same function on the same examples; give the verdict."""
        verdict: dict[str, Any] = run_training_step("compare")
        return verdict

    @task
    def promote() -> dict[str, Any]:
        """Let the gate decide whether the best challenger becomes the champion."""
        outcome: dict[str, Any] = run_training_step("promote")
        return outcome

    trained, pooled = train.expand(name=snapshot()), pool.expand(name=list(POOLS))
    trained >> pooled
    [trained, pooled] >> compare() >> promote()


train_and_compare()
