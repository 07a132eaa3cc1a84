"""What the dashboard and the customer page show, read from the views in one transaction: a page is of one state of the
store, whatever is published meanwhile.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.serving.queries import QUERIES

NIGHTS_SHOWN, CUSTOMERS_SHOWN, RUNS_SHOWN, INPUTS_SHOWN = 90, 10, 7, 8
Row = dict[str, Any]


def dashboard(connection: sqlite3.Connection) -> Row:
    """The last published night (None where there is none), its customers most at risk and most risen, the bands of
    the nights up to it, reviews and the decision about retraining, what moves risk, the last comparison, and how the
    last loads and steps ended.
    """
    with _one_state(connection):
        night = _first(
            connection,
            "select score_date, primary_horizon, customers, model_name, model_version, scored_at from night "
            "order by score_date desc limit 1",
        )
        return {
            "night": night,
            "bands": _bands(connection, night) if night else [],
            "most_at_risk": _rows(connection, _shortened("most_at_risk")),
            "risen": _rows(connection, _shortened("risen_since_yesterday")),
            "reviews": _rows(connection, QUERIES["how_good_past_scores_were"][2])[:NIGHTS_SHOWN],
            "segments": [
                row
                for row in _rows(connection, QUERIES["past_scores_by_segment"][2])
                if night and row["horizon_days"] == night["primary_horizon"]
            ],
            "inputs": _rows(connection, QUERIES["what_moves_risk"][2])[:INPUTS_SHOWN],
            "recency": _rows(connection, QUERIES["risk_by_silence"][2]),
            "retraining": _first(
                connection, "select score_date, decision, why from review_decisions order by score_date desc limit 1"
            ),
            "models": _rows(connection, QUERIES["models_compared"][2]),
            "compared": _first(connection, "select cutoff, decision, verdict from comparison order by cutoff desc"),
            "loads": _rows(connection, QUERIES["data_quality"][2])[:RUNS_SHOWN],
            "quarantine": _rows(
                connection,
                "select reason, rows from quarantine_summary where score_date = (select max(score_date) from "
                "pipeline_runs where step = 'load') order by rows desc, reason",
            ),
            "steps": _last_steps(connection),
            "failed": _unresolved_failures(connection),
        }


def customer(connection: sqlite3.Connection, customer_id: str) -> Row:
    """The customer's scores at the shortest horizon of each night, latest first (`history`, at most `NIGHTS_SHOWN`),
    the latest survival curve (`curve`, by day) and its published horizons (`horizons`), and the date of the last
    published night (`last_night`).
    """
    with _one_state(connection):
        history = _rows(
            connection,
            "select h.* from prediction_history as h join night as n on n.score_date = h.score_date "
            "where h.customer_id = ? and h.horizon_days = n.primary_horizon order by h.score_date desc limit ?",
            (customer_id, NIGHTS_SHOWN),
        )
        latest = history[0]["score_date"] if history else ""
        # By the customer's index: of a date compared as it is, SQLite would read the whole night.
        of_latest = "where customer_id = ? and score_date || '' = ?"
        key = (customer_id, latest)
        return {
            "history": history,
            "curve": _rows(connection, f"select day, probability from survival_curve {of_latest} order by day", key),
            "horizons": [
                row["horizon_days"]
                for row in _rows(connection, f"select horizon_days from prediction_history {of_latest} order by 1", key)
            ],
            "last_night": _first(connection, "select max(score_date) as score_date from night"),
        }


def _bands(connection: sqlite3.Connection, night: Row) -> list[Row]:
    """The bands at the night's horizon, oldest night first."""
    return _rows(
        connection,
        "select score_date, risk_band, customers, mean_probability, lowest_probability, highest_probability "
        "from risk_bands where horizon_days = ? and score_date > (select coalesce(min(score_date), '') from "
        "(select score_date from night order by score_date desc limit 1 offset ?)) order by score_date, risk_band",
        (night["primary_horizon"], NIGHTS_SHOWN),
    )


def _last_steps(connection: sqlite3.Connection) -> list[Row]:
    """Each step of the last night that was loaded, as its latest run left it, in the order of work."""
    rows = _rows(
        connection,
        "select step, status, seconds, message, score_date, started_at from pipeline_runs "
        "where score_date = (select max(score_date) from pipeline_runs where step = 'load') "
        "order by started_at",
    )
    return list({row["step"]: row for row in rows}.values())


def _unresolved_failures(connection: sqlite3.Connection) -> list[Row]:
    """The latest failures, among the last 200 steps, after which the same step has not ended well."""
    return _rows(
        connection,
        "with last as (select * from pipeline_runs order by started_at desc limit 200) "
        "select step, score_date, message from last as f where status = 'failed' and not exists (select 1 from last "
        "as l where l.step = f.step and l.status <> 'failed' and l.started_at > f.started_at) "
        "order by started_at desc limit 3",
    )


def _shortened(name: str) -> str:
    return QUERIES[name][2].replace("limit 100", f"limit {CUSTOMERS_SHOWN}")


@contextmanager
def _one_state(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("begin")
    try:
        yield
    finally:
        connection.execute("rollback")


def _rows(connection: sqlite3.Connection, sql: str, values: tuple[Any, ...] = ()) -> list[Row]:
    cursor = connection.execute(sql, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def _first(connection: sqlite3.Connection, sql: str) -> Row | None:
    rows = _rows(connection, sql)
    return rows[0] if rows else None
