"""The variables of the pages' templates, from what was read: charts, words and figures."""

from datetime import date
from typing import Any

from pipeline.serving.pages import charts
from pipeline.serving.pages.charts import Line, percent
from pipeline.serving.pages.reading import Row
from pipeline.serving.queries import EXAMPLES, LABELS, QUERIES, parameters

BANDS = ("high", "medium", "low")


def dashboard(read: Row) -> Row:
    """The variables of the dashboard's template."""
    night, bands = read["night"], read["bands"]
    last = [row for row in bands if night and row["score_date"] == night["score_date"]]
    expected = sum(row["customers"] * row["mean_probability"] for row in last)
    return read | {
        "expected_to_leave": expected,
        "expected_change": _change(bands, night, expected),
        "needs_attention": bool(read["retraining"]) and read["retraining"]["decision"] != "fine",
        "inputs": _inputs(read["inputs"]),
        "recency_chart": _recency_chart(read["recency"]),
        "expected_share": expected / night["customers"] if night and night["customers"] else None,
        "bands_now": sorted(last, key=lambda row: BANDS.index(row["risk_band"])),
        "bands_chart": _bands_chart(bands),
        "bands_table": _bands_table(bands),
        "review_chart": _review_chart(read["reviews"]),
        "models": _models(read["models"]),
        "questions": [
            {"name": name, "title": title, "description": description, "parameters": _parameters(name)}
            for name, (title, description, _) in QUERIES.items()
        ],
    }


def customer(customer_id: str, read: Row) -> Row:
    """The variables of the customer page's template."""
    history, curve, horizons = read["history"], read["curve"], read["horizons"]
    latest = history[0] if history else None
    last_night = read["last_night"]["score_date"]
    course = _course(history[::-1], "churn_probability")
    days = [(0.0, 1.0), *((float(row["day"]), row["probability"]) for row in curve)]
    return {
        "customer_id": customer_id,
        "latest": latest,
        "is_current": latest is not None and latest["score_date"] == last_night,
        "last_night": last_night,
        "reasons": latest["reasons"].split("; ") if latest and latest["reasons"] else [],
        "history": history,
        "curve_table": [row for row in curve if row["day"] in horizons or row["day"] % 7 == 0],
        "history_chart": _by_night(
            f"The churn probability of customer {customer_id} on each of the last {len(course)} nights",
            [Line("churn probability", "high", course)],
        ),
        "curve_chart": charts.lines(
            f"How likely customer {customer_id} is to stay away for as many days",
            [Line("has no event", "medium", days)],
            [(day, f"{day:.0f} days" if day else "today") for day, _ in _thinned(days)],
            lambda x, y: f"before day {x:.0f}, {percent(y, 1)}",
            top=1.0,
        )
        if len(curve) > len(horizons)
        else "",
    }


def points(change: float | None) -> str:
    """A change of a probability in percentage points, signed; `new` where there is nothing to change from."""
    if change is None:
        return "new"
    rounded = round(100 * change, 1)
    return f"{rounded:+.1f}" if rounded else "0.0"


def _bands_chart(bands: list[Row]) -> str:
    courses = {name: _course([row for row in bands if row["risk_band"] == name], "mean_probability") for name in BANDS}
    return _by_night(
        "The mean churn probability of the high, medium and low risk bands, night by night",
        [Line(name, name, course) for name, course in courses.items() if course],
    )


def _bands_table(bands: list[Row]) -> list[Row]:
    """A row a night, latest first: its customers, and each band's mean churn probability."""
    nights: dict[str, Row] = {}
    for row in bands:
        night = nights.setdefault(row["score_date"], {"score_date": row["score_date"], "customers": 0})
        night["customers"] += row["customers"]
        night[row["risk_band"]] = row["mean_probability"]
    return list(reversed(nights.values()))


def _review_chart(reviews: list[Row]) -> str:
    """Predicted against happened, where more than one night has closed."""
    rows = [row for row in reversed(reviews) if row["churned"] is not None and row["mean_predicted"] is not None]
    horizon = rows[-1]["horizon_days"] if rows else 0
    rows = [row for row in rows if row["horizon_days"] == horizon]
    if len(rows) < 2:
        return ""
    return _by_night(
        "The mean churn probability that was predicted, and the share of customers who then churned, by night",
        [
            Line("predicted", "medium", _course(rows, "mean_predicted")),
            Line("happened", "high", _course(rows, "churned")),
        ],
    )


def _change(bands: list[Row], night: Row | None, expected: float) -> float | None:
    """How many more customers are expected to stay away than the night before; None where there is none before."""
    before = [row for row in bands if night and row["score_date"] < night["score_date"]]
    if not before:
        return None
    last = max(row["score_date"] for row in before)
    return expected - sum(
        float(row["customers"] * row["mean_probability"]) for row in before if row["score_date"] == last
    )


def _parameters(query: str) -> list[Row]:
    """The query's parameters, each with its label and an example."""
    return [
        {"name": name, "label": LABELS.get(name, name), "example": EXAMPLES.get(name, "")} for name in parameters(query)
    ]


def _inputs(inputs: list[Row]) -> list[Row]:
    """Each with its weight as a share of the weightiest."""
    most = max((row["weight"] for row in inputs), default=0.0)
    return [row | {"share": row["weight"] / most if most else 0.0} for row in inputs]


def _recency_chart(intervals: list[Row]) -> str:
    words = [
        f"{row['from_days']} to {row['to_days']} days" if row["to_days"] else f"{row['from_days']} days and more"
        for row in intervals
    ]
    return charts.lines(
        "The share of customers who churn, predicted and happened, by the time since their last event",
        [
            Line(name, style, [(float(number), row[name]) for number, row in enumerate(intervals)])
            for name, style in (("predicted", "medium"), ("happened", "high"))
        ],
        [(float(number), words[number]) for number in _thinned(list(range(len(intervals))))],
        lambda x, y: f"{words[int(x)]} since the last event, {percent(y, 1)}",
    )


def _models(models: list[Row]) -> list[Row]:
    """Each model with its place on the common axis of log loss."""
    ends = [row[end] for row in models for end in ("log_loss", "low", "high") if row[end] is not None]
    span = (min(ends), max(ends)) if ends else (0.0, 1.0)
    return [row | {"chart": _of_model(row, span)} for row in models if row["log_loss"] is not None]


def _of_model(row: Row, span: tuple[float, float]) -> Any:
    words = f"{row['model_name']}: log loss {row['log_loss']:.4f}"
    if row["low"] is not None and row["high"] is not None:
        words += f", 95 % interval {row['low']:.4f} to {row['high']:.4f}"
    return charts.interval(row["low"], row["log_loss"], row["high"], span, words)


def _course(rows: list[Row], figure: str) -> list[tuple[float, float]]:
    """The points of a line by night: the ordinal of each row's score date, and its `figure`."""
    return [(float(date.fromisoformat(row["score_date"]).toordinal()), row[figure]) for row in rows]


def _by_night(what: str, drawn: list[Line]) -> str:
    """A chart over nights of lines that `_course` makes."""
    nights = {x: date.fromordinal(int(x)) for x in sorted({x for line in drawn for x, _ in line.points})}
    ticks = [(x, str(nights[x])) for x in _thinned(list(nights))]
    return charts.lines(what, drawn, ticks, lambda x, y: f"{nights[x]}, {percent(y, 1)}")


def _thinned(values: list[Any]) -> list[Any]:
    """The first and the last, and the one between them."""
    return values if len(values) < 4 else [values[0], values[len(values) // 2], values[-1]]
