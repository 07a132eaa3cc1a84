"""The closing report of the main job, and the comparison as `recur compare` prints it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

from pipeline.cli.console import formatted, print_table
from pipeline.config.settings import Settings
from pipeline.runtime.errors import RecurError
from pipeline.serving.database import PredictionsStore, open_predictions
from pipeline.steps.compare import last_comparison, last_report

MOST_AT_RISK = 10
WIDE, WIDEST = 100, 110  # columns from which there is room for more metrics, and for more space between them
REVIEWED = {
    "base_rate": "churned",
    "mean_predicted": "mean predicted",
    "roc_auc": "AUC",
    "log_loss": "log loss",
    "brier": "Brier",
    "calibration_error": "calibration error",
    "lift_at_10_percent": "lift at 10 %",
}
SEGMENTS = """
select horizon_days, segment, member, customers,
       max(case when metric = 'mean_predicted' then value end), max(case when metric = 'base_rate' then value end),
       max(case when metric = 'roc_auc' then value end), max(case when metric = 'log_loss' then value end)
from segment_review as s
where score_date = (select max(score_date) from segment_review where horizon_days = s.horizon_days)
group by horizon_days, segment, member, customers order by horizon_days, segment, customers desc, member
"""


def print_report(settings: Settings, console: Console) -> None:
    """The comparison table, the verdict, the last review, the customers most at risk, and where to look next. What is
    not there yet is a line that says so.
    """
    predictions = open_predictions(settings.predictions, settings.root)
    _print_heading(console, "Models on the same test set")
    report: Path | None = None
    try:
        print_comparison(last_comparison(settings.state), console)
        report = last_report(settings.state)
    except RecurError as error:  # nothing was compared yet
        console.print(str(error))
    _print_heading(console, "Earlier scores against what happened")
    print_review(predictions, console)
    _print_heading(console, "Customers most at risk")
    customer = _print_most_at_risk(predictions, console)
    _print_heading(console, "Where to look next")
    _print_next(console, customer, report, settings.state.data_docs_page)


def print_comparison(comparison: Mapping[str, Any], console: Console) -> None:
    """A comparison as `recur compare --format json` prints it, as a table, best log loss first, and its verdict."""
    windows = "; ".join(
        f"{w['start'][:10]} to {w['end'][:10]}, {w['examples']:,} examples" for w in comparison["windows"]
    )
    console.print(f"test window {windows}; test set {comparison['test_digest']}", soft_wrap=True)
    wide = console.width >= WIDE
    grid = Table(box=None, padding=(0, 2 if console.width >= WIDEST else 1, 0, 0), pad_edge=False, header_style="bold")
    numbers = ["log loss", "95 % int.", "AUC", *(["avg. prec.", "Brier"] if wide else []), "calib.", "lift", "fit s"]
    for name in ("model", "family"):
        grid.add_column(name, no_wrap=True)
    for name in numbers:
        grid.add_column(name, no_wrap=True, justify="right")
    verdict = comparison["verdict"]
    best = {verdict["best_recurrent"], verdict["best_conventional"]}
    for model in sorted(comparison["models"], key=lambda model: (_value(model, "log_loss"), model["name"])):
        loss = model["metrics"]["log_loss"]
        cells = [
            _fixed(loss["value"], 4),
            f"{_fixed(loss['low'], 3)}-{_fixed(loss['high'], 3)}",
            _fixed(model["metrics"]["roc_auc"]["value"], 3),
            *([_fixed(model["metrics"][name]["value"], 3) for name in ("average_precision", "brier")] if wide else []),
            _fixed(model["metrics"]["calibration_error"]["value"], 3),
            _fixed(model["metrics"]["lift_at_10_percent"]["value"], 2),
            _fixed(model["fit_seconds"], 1),
        ]
        grid.add_row(model["name"], model["family"], *cells, style="bold" if model["name"] in best else "")
    console.print(grid)
    console.print()
    console.print("Verdict: " + comparison["verdict"]["sentence"])
    console.print("Contribution: " + comparison["contribution"]["sentence"])
    for statement, figures in comparison["apart"].items():
        adjusted, ranking = figures["intercept_adjusted_log_loss"], figures["roc_auc"]
        if adjusted["difference"] is not None:
            console.print(
                f"The {statement} with levels set right: {_signed(adjusted, 4)}; by ranking alone, AUC "
                f"{_signed(ranking, 3)}."
            )
    if comparison.get("left_out"):
        console.print(f"Left out here: {'; '.join(comparison['left_out'])}.")


def print_review(predictions: PredictionsStore, console: Console) -> None:
    """The latest review of each horizon: what was predicted, what happened, and how well it fits; its segments; and the
    last decision about retraining.
    """
    with predictions.reading() as connection:
        rows = connection.execute(
            text(
                "select r.score_date, r.horizon_days, r.metric, r.value, r.low, r.high, r.customers, r.model_name "
                "from outcome_review as r where r.score_date = (select max(score_date) from outcome_review "
                "where horizon_days = r.horizon_days) order by r.horizon_days, r.metric"
            )
        ).all()
        segments = connection.execute(text(SEGMENTS)).all()
        decision = connection.execute(
            text("select score_date, decision, why from review_decisions order by score_date desc limit 1")
        ).first()
    if not rows:
        console.print("No horizon of a published night has closed yet, so there is nothing to review.")
    for horizon in sorted({row.horizon_days for row in rows}):
        metrics = {row.metric: row for row in rows if row.horizon_days == horizon}
        first = next(iter(metrics.values()))
        console.print(
            f"Scores of {first.score_date} by {first.model_name}, {first.customers:,} customers, {horizon} days, "
            "now closed (95 % intervals):"
        )
        figures = [_in_interval(words, metrics[name]) for name, words in REVIEWED.items() if name in metrics]
        console.print("  " + "; ".join(figures))
        _print_segments(console, [row for row in segments if row.horizon_days == horizon])
    if decision:
        console.print(f"As of {decision.score_date}: {decision.decision}: {decision.why}.")


def _print_segments(console: Console, rows: Sequence[Any]) -> None:
    if rows:
        heads = ("of them", "customers", "predicted", "churned", "AUC", "log loss")
        cells = [
            (
                row.member if row.segment == "treatment" else f"{row.segment} {row.member}",
                row.customers,
                *(None if value is None else round(value, 3) for value in row[4:]),
            )
            for row in rows
        ]
        print_table(console, heads, cells)


def print_explanation(console: Console, explanation: Mapping[str, Any]) -> None:
    """What `explain` gives: the score of one customer, its reasons, what moved it, and the published history."""
    console.print(f"Customer {formatted(explanation['customer_id'])}, as of {explanation['score_date']}", style="bold")
    if explanation["churn_probability"] is None:
        console.print("not eligible now: no event recent enough for the question, but scored before")
    else:
        expected = [
            f"expected {name} {_fixed(explanation[f'expected_{name}'], 2)}"
            for name in ("purchases", "spend")
            if explanation[f"expected_{name}"] is not None
        ]
        churn = f"churn within {explanation['horizon_days']} days {explanation['churn_probability']:.3f}"
        console.print("; ".join([churn, *expected]) + f"; by {explanation['model']}")
        for reason in explanation["reasons"] or ["nothing raises the risk above that of a usual customer"]:
            console.print(f"  - {formatted(reason)}")
    if explanation["contributions"]:
        console.print()
        console.print("What moves the score (change of the log odds of churn):", style="bold")
        rows = [(group, round(change, 3)) for group, change in explanation["contributions"].items()]
        print_table(console, ["inputs", "change"], rows)
    if explanation["history"]:
        shown = ("score_date", "churn_probability", "risk_percentile", "risk_band", "risk_change", "model_name")
        console.print()
        console.print("Published scores, latest first:", style="bold")
        heads = ("date", "churn", "percentile", "band", "change", "model")
        print_table(console, heads, [[row[name] for name in shown] for row in explanation["history"]])


def _print_most_at_risk(predictions: PredictionsStore, console: Console) -> str | None:
    """The customers most at risk on the last published night, with their reasons; gives the first of them."""
    with predictions.reading() as connection:
        rows = connection.execute(
            text(
                "select customer_id, score_date, horizon_days, churn_probability, risk_change, days_since_last_event, "
                "reasons, model_name, model_version from churn_predictions order by risk_percentile desc "
                f"limit {MOST_AT_RISK}"
            )
        ).all()
        customers = connection.scalar(text("select count(*) from churn_predictions"))
    if not rows:
        console.print("Nothing is published yet: there is no champion to score with.")
        return None
    first = rows[0]
    console.print(
        f"{first.score_date}, the next {first.horizon_days} days, {customers:,} customers, by {first.model_name} "
        f"version {first.model_version}"
    )
    grid = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
    grid.add_column("customer", no_wrap=True, max_width=20)
    for name in ("churn", "change", "days silent"):
        grid.add_column(name, justify="right", no_wrap=True)
    grid.add_column("reasons")
    for row in rows:
        change = "" if row.risk_change is None else f"{row.risk_change:+.3f}"
        grid.add_row(
            Text(formatted(row.customer_id)),
            f"{row.churn_probability:.3f}",
            change,
            _fixed(row.days_since_last_event, 1),
            Text(formatted(row.reasons)),
        )
    console.print(grid)
    return str(first.customer_id)


def _print_next(console: Console, customer: str | None, report: Path | None, data_docs: Path) -> None:
    steps = [
        ("make up", "Airflow, MLflow and the analysts' page"),
        ('recur query "select * from churn_predictions"', "SQL over the views; `recur query` alone lists them"),
        ("recur compare --format json", "every metric with its interval"),
        *([(f"recur explain {customer}", "one customer's score, history and reasons")] if customer else []),
        *([(str(report), "the whole evidence on one page")] if report else []),
        *([(str(data_docs), "what validation found, night by night")] if data_docs.exists() else []),
    ]
    for command, meaning in steps:
        console.print(f"  {command}", style="bold", soft_wrap=True)
        console.print(f"      {meaning}")


def _print_heading(console: Console, words: str) -> None:
    console.print()
    console.print(words, style="bold underline" if console.is_terminal else "")
    if not console.is_terminal:
        console.print("-" * len(words))


def _in_interval(words: str, row: Any) -> str:
    interval = "" if row.low is None else f" ({_fixed(row.low, 3)} to {_fixed(row.high, 3)})"
    return f"{words} {_fixed(row.value, 3)}{interval}"


def _value(model: Mapping[str, Any], metric: str) -> float:
    value = model["metrics"][metric]["value"]
    return float("inf") if value is None else float(value)


def _signed(difference: Mapping[str, Any], decimals: int) -> str:
    value, low, high = (difference[key] for key in ("difference", "low", "high"))
    if value is None:
        return "undefined"
    interval = "" if low is None else f" ({low:+.{decimals}f} to {high:+.{decimals}f})"
    return f"{value:+.{decimals}f}{interval}"


def _fixed(value: float | None, decimals: int) -> str:
    return "-" if value is None else f"{value:.{decimals}f}"
