"""Airflow as this project runs it by itself: its home under `var/`, SQLite, loopback, few processes at once.

`docker/` holds the production shape, which sets the same things for its own services.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.runtime.nights import DAY
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.runtime.secret_files import secret

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun
    from airflow.sdk import DAG, DagRunState

PROJECT = Path(__file__).resolve().parents[2]
DAGS = PROJECT / "dags"
TRAINING_POOL = "training"


def environment(state: StateFolder, configuration: Path | None, port: int = 8080) -> dict[str, str]:
    """The variables under which Airflow must be imported or started. `configuration` is the file that its tasks read,
    None for the defaults; `port` is that of Airflow's web page and API.

    Two tasks run at once, a night and a training, since each may hold TensorFlow in memory. Everything is set, so that
    an environment left over from another Airflow changes nothing here.
    """
    home, logs = state.airflow, state.logs / "airflow"
    (home / "secret").unlink(missing_ok=True)  # an earlier recur's, one for all purposes
    _write_password(home / "passwords.json", secret(state, "airflow_admin"))
    named = {"RECUR_CONFIG": str(configuration)} if configuration else {}
    return named | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW_CONFIG": str(home / "airflow.cfg"),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__SECRET_KEY": secret(state, "airflow_api"),
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": secret(state, "airflow_jwt"),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(DAGS / "plugins"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(logs),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(logs / "dag_processor"),
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        # Networks train and shards are scored side by side: splitting their small products too would cost more.
        "TF_NUM_INTRAOP_THREADS": "1",
        # Services run in var/, whose folder of served models would else stand before the package of that name.
        "PYTHONSAFEPATH": "1",
    }


def prepare() -> None:
    """Airflow's database and the training pool, made or migrated where missing. The environment must be set."""
    from airflow.models.pool import Pool
    from airflow.utils.db import initdb

    initdb()
    Pool.create_or_update_pool(TRAINING_POOL, 1, "networks train one at a time", include_deferred=False)


def load_dags() -> "dict[str, DAG]":
    """The project's DAGs by name, read from the very files that the scheduler reads. The environment must be set."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(str(DAGS))
    if bag.import_errors:
        raise RuntimeError(f"a DAG cannot be imported: {bag.import_errors}")
    return bag.dags


def run_in_process(dag: "DAG", cutoff: datetime) -> "DagRunState":
    """One run of `dag` in this process, task by task, for the night that ends at `cutoff`. It bears the logical date of
    the scheduled run for that night, the interval's start, so that a later backfill sees it as done; run again, it
    takes the place of the run before it.
    """
    from airflow.models.dagrun import DagRun
    from sqlalchemy import event

    logical_date = cutoff - DAY
    event.listen(DagRun, "before_insert", _start_now)
    try:
        run = dag.test(logical_date=logical_date, run_conf={"cutoff": cutoff.date().isoformat()})
    finally:
        event.remove(DagRun, "before_insert", _start_now)
    state: DagRunState = run.state
    return state


def _start_now(_mapper: Any, _connection: Any, run: "DagRun") -> None:
    """`DAG.test` has a run start at its logical date, which its page would count the duration from."""
    if run.start_date is not None and run.start_date == run.logical_date:
        run.start_date = datetime.now(UTC)


def _write_password(file: Path, password: str) -> None:
    """Airflow would make one itself, and print it into its log."""
    content = json.dumps({"admin": password})
    if not file.exists() or file.read_text("utf-8").strip() != content:
        with atomically(file) as temporary:
            temporary.touch(mode=0o600)
            temporary.write_text(content, "utf-8")


if __name__ == "__main__":
    prepare()
