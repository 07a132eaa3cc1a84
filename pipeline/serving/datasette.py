"""The analysts' pages: Datasette over the predictions, read-only, on loopback, with only the views shown.

Datasette opens the file as it is and not as `immutable`: an immutable file is read without its write-ahead log, and so
without the night that was published last.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.errors import RecurError
from pipeline.serving import database
from pipeline.serving.tables import metadata as tables
from pipeline.serving.views import VIEWS
from pipeline.settings import Settings

SETTINGS = {
    "default_page_size": 50,
    "max_returned_rows": 5000,
    "sql_time_limit_ms": 5000,
    "allow_download": "off",
    "suggest_facets": "off",  # each suggestion is one more pass over the view
    "truncate_cells_html": 240,
}

QUERIES: dict[str, tuple[str, str, str]] = {
    "most_at_risk": (
        "Customers most at risk",
        "The hundred customers most at risk on the last published night, and why.",
        """
select customer_id, round(churn_probability, 3) as churn_probability, risk_band, round(risk_change, 3) as risk_change,
       reasons, round(days_since_last_event, 1) as days_since_last_event,
       round(expected_spend, 2) as expected_spend
from churn_predictions order by risk_percentile desc limit 100
""",
    ),
    "risen_since_yesterday": (
        "Who rose since the night before",
        "The hundred customers whose churn probability rose most since the night before.",
        """
select customer_id, round(risk_change, 3) as risk_change, round(churn_probability, 3) as churn_probability, risk_band,
       reasons, round(days_since_last_event, 1) as days_since_last_event
from churn_predictions where risk_change > 0 order by risk_change desc, customer_id limit 100
""",
    ),
    "customer": (
        "One customer's history",
        "Every published score of the customer whose customer_id you give.",
        """
select score_date, horizon_days, round(churn_probability, 3) as churn_probability,
       round(risk_percentile, 1) as risk_percentile, risk_band, round(risk_change, 3) as risk_change, reasons,
       round(days_since_last_event, 1) as days_since_last_event, model_name, model_version
from prediction_history where customer_id = :customer_id order by score_date desc, horizon_days
""",
    ),
    "how_good_past_scores_were": (
        "How good past scores were",
        "One row for each night and horizon that has closed: what was predicted, what happened, and how well it fits.",
        """
select score_date, horizon_days, customers,
       round(max(case when metric = 'base_rate' then value end), 4) as churned,
       round(max(case when metric = 'mean_predicted' then value end), 4) as mean_predicted,
       round(max(case when metric = 'roc_auc' then value end), 3) as roc_auc,
       round(max(case when metric = 'log_loss' then value end), 4) as log_loss,
       round(max(case when metric = 'lift_at_10_percent' then value end), 2) as lift_at_10_percent, model_name
from outcome_review group by score_date, horizon_days, customers, model_name order by score_date desc, horizon_days
""",
    ),
    "models_compared": (
        "Models compared",
        "The last comparison, best log loss first, with the 95 % interval of the log loss.",
        """
select model_name, family, round(max(case when metric = 'log_loss' then value end), 4) as log_loss,
       round(max(case when metric = 'log_loss' then low end), 4) as low,
       round(max(case when metric = 'log_loss' then high end), 4) as high,
       round(max(case when metric = 'roc_auc' then value end), 3) as roc_auc,
       round(max(case when metric = 'calibration_error' then value end), 4) as calibration_error,
       round(max(case when metric = 'lift_at_10_percent' then value end), 2) as lift_at_10_percent, verdict
from model_comparison where cutoff = (select max(cutoff) from model_comparison)
group by model_name, family, verdict order by 3, 1
""",
    ),
    "data_quality": (
        "Data quality by night",
        "Rows read, accepted and set aside by each night's load, newest first.",
        """
select score_date, rows_read, rows_accepted, rows_quarantined, rows_already_known, status, message
from pipeline_runs where step = 'load' order by score_date desc, started_at desc limit 100
""",
    ),
}
_FIRST_ORDER = {  # the order in which a view opens
    "churn_predictions": {"sort_desc": "risk_percentile"},
    "prediction_history": {"sort_desc": "score_date"},
    "survival_curve": {"sort_desc": "score_date"},
    "model_comparison": {"sort": "metric"},
    "outcome_review": {"sort_desc": "score_date"},
    "pipeline_runs": {"sort_desc": "started_at"},
    "quarantine_summary": {"sort_desc": "score_date"},
}


def metadata(database_name: str) -> dict[str, Any]:
    """What Datasette shows of the database: titles, descriptions, columns in words, and the queries at hand."""
    shown = {
        name: {"title": view.title, "description": view.description, "columns": view.columns, **_FIRST_ORDER[name]}
        for name, view in VIEWS.items()
    }
    hidden = {name: {"hidden": True, "allow": False} for name in tables.tables}
    queries = {
        name: {"title": title, "description": description, "sql": sql.strip()}
        for name, (title, description, sql) in QUERIES.items()
    }
    return {
        "title": "Recur: what will each customer do next?",
        "description": "Scores of the last published night, their history and reasons, and how good such scores were.",
        "databases": {
            database_name: {
                "description": "Open a view, or begin with one of the queries below. Nothing can be written here.",
                "tables": {**shown, **hidden},
                "queries": queries,
            }
        },
    }


def command(settings: Settings, port: int, host: str = "127.0.0.1") -> list[str]:
    """The command line that serves the pages, for a process that the caller starts and stops. Makes the database, empty
    if need be. Raises RecurError where the predictions are not in SQLite, which is all that Datasette reads.
    """
    address = database.engine(settings).url
    if address.get_backend_name() != "sqlite":
        raise RecurError(
            f"Datasette reads SQLite, and the predictions are at {database.in_words(address)}: use its tools"
        )
    path = Path(str(address.database))
    folder = settings.var / "datasette"
    folder.mkdir(parents=True, exist_ok=True)
    description = folder / "metadata.json"
    description.write_text(json.dumps(metadata(path.stem), indent=2, ensure_ascii=False), "utf-8")
    options = [part for name, value in SETTINGS.items() for part in ("--setting", name, str(value))]
    served = [str(path), "--host", host, "--port", str(port), "--metadata", str(description)]
    return [sys.executable, "-m", "datasette", "serve", *served, *options]
