"""The analysts' pages: Datasette over the predictions, read-only, on loopback, with only the views shown.

Its first page is the dashboard of `pages/`, which also has a page for each customer; the views, the queries at hand
and the downloads are Datasette's own.

Datasette opens the file as it is and not as `immutable`: an immutable file is read without its write-ahead log, and so
without the night that was published last.
"""

import json
import sys
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import ConfigurationError
from pipeline.runtime.paths import StateFolder
from pipeline.serving.database import PredictionsStore
from pipeline.serving.pages import sign_in
from pipeline.serving.pages.copy import VARIABLE as COPY_OF
from pipeline.serving.pages.copy import Copying, copy_of
from pipeline.serving.queries import QUERIES
from pipeline.serving.tables import metadata as tables
from pipeline.serving.views import VIEWS

SETTINGS = {
    "default_page_size": 50,
    "max_returned_rows": 5000,
    "sql_time_limit_ms": 5000,
    "max_csv_mb": 50,
    "allow_download": "off",
    "suggest_facets": "off",  # each suggestion is one more pass over the view
    "truncate_cells_html": 240,
}

HOST = "127.0.0.1"
LOOPBACK = (HOST, "::1", "localhost")
PAGES = Path(__file__).parent / "pages"
_FIRST_ORDER = {  # in which a view opens; the others begin with the latest night
    "churn_predictions": {"sort_desc": "risk_percentile"},
    "model_comparison": {"sort": "metric"},
    "what_moves_risk": {"sort_desc": "weight"},
    "risk_by_silence": {"sort": "from_days"},
    "pipeline_runs": {"sort_desc": "started_at"},
}


def metadata(database_name: str) -> dict[str, Any]:
    """What Datasette shows of the database: titles, descriptions, columns in words, and the queries at hand."""
    shown = {
        name: {"title": view.title, "description": view.description, "columns": view.columns}
        | _FIRST_ORDER.get(name, {"sort_desc": "score_date"})
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


def command(predictions: PredictionsStore, state: StateFolder, port: int, host: str = HOST) -> list[str]:
    """The command line that serves the pages, for a process that the caller starts, with `environment` added to its
    own, and stops. Makes the database, empty if need be; of predictions in PostgreSQL, the copy in SQLite that the
    pages read. Whoever serves on another `host` than loopback sets RECUR_PAGES_PASSWORD, and readers sign in with it,
    whatever stands before the host. Raises ConfigurationError where that password is missing.
    """
    if host not in LOOPBACK and sign_in.password() is None:
        raise ConfigurationError(
            f"the pages on {host} could be read by anyone who reaches it: set {sign_in.VARIABLE} in the environment, "
            f"or serve them on {HOST}"
        )
    folder = state.path / "datasette"
    folder.mkdir(parents=True, exist_ok=True)
    served_store = predictions
    if predictions.on_postgresql:
        served_store = copy_of(state)
        Copying(predictions, served_store).refresh()
    path = Path(str(served_store.engine().url.database))
    description = folder / "metadata.json"
    description.write_text(json.dumps(metadata(path.stem), indent=2, ensure_ascii=False), "utf-8")
    pages = ["--plugins-dir", str(PAGES / "plugins"), "--template-dir", str(PAGES / "templates")]
    pages += ["--static", f"recur:{PAGES / 'static'}"]
    options = [word for name, value in SETTINGS.items() for word in ("--setting", name, str(value))]
    served = [str(path), "--host", host, "--port", str(port), "--metadata", str(description)]
    return [sys.executable, "-m", "datasette", "serve", *served, *pages, *options]


def environment(predictions: PredictionsStore) -> dict[str, str]:
    """What the process that serves the pages needs beside its own environment."""
    if not predictions.on_postgresql:
        return {}
    return {COPY_OF: predictions.address.render_as_string(hide_password=False)}
