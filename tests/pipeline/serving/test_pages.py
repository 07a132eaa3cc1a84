"""The dashboard and the customer page: what they read, what they draw, and that nothing of a source gets into the HTML
as markup.
"""

import base64
import re
import sqlite3
from pathlib import Path

import pandas as pd
import pytest
from datasette.app import Datasette

from features.question import Question
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError
from pipeline.serving import database, datasette, queries
from pipeline.serving.pages import charts, reading, shown, sign_in
from pipeline.serving.query import open_read_only
from pipeline.steps.publish import publish
from tests.support.published import predictions_of, query
from tests.support.worlds.published_world import leave_scores, night_of, publish_nights, write_evidence


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(root=tmp_path_factory.mktemp("pages"), question=Question(horizons=(28, 56), primary_horizon=28))
    publish_nights(made, 4, 200, (28, 56))
    write_evidence(made)
    return made


def pages_of(settings: Settings) -> Datasette:
    return Datasette(
        [str(settings.var / "predictions.db")],
        metadata=datasette.metadata("predictions"),
        plugins_dir=str(datasette.PAGES / "plugins"),
        template_dir=str(datasette.PAGES / "templates"),
        static_mounts=[("recur", str(datasette.PAGES / "static"))],
        settings=datasette.SETTINGS,
    )


def fetched(settings: Settings, path: str) -> str:
    import asyncio

    response = asyncio.run(pages_of(settings).client.get(path))
    assert response.status_code == 200, response.text
    return str(response.text)


def test_the_bands_are_those_of_the_predictions(published: Settings) -> None:
    counted = query(
        published,
        "select score_date, horizon_days, risk_band, count(*), round(avg(churn_probability), 9), "
        "min(churn_probability), max(churn_probability) from prediction_history group by 1, 2, 3 order by 1, 2, 3",
    )[1]
    columns = "score_date, horizon_days, risk_band, customers, round(mean_probability, 9), lowest_probability"
    kept = query(published, f"select {columns}, highest_probability from risk_bands order by 1, 2, 3")[1]
    assert kept == counted
    assert len(kept) == 4 * 2 * 3


def test_the_bands_of_an_earlier_recur_are_counted_when_its_store_is_opened(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    publish_nights(settings, 2, 30)
    before = query(settings, "select risk_band, customers, lowest_probability from risk_bands order by 1, 3")
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql("delete from band")
        connection.exec_driver_sql("update schema_version set digest = 'earlier'")
    database._engines.clear()
    predictions_of(settings).engine()
    assert query(settings, "select risk_band, customers, lowest_probability from risk_bands order by 1, 3") == before


def test_the_dashboard_reads_one_state_of_the_store(published: Settings) -> None:
    connection = open_read_only(published.var / "predictions.db")
    read = reading.dashboard(connection)
    assert not connection.in_transaction
    assert read["night"]["score_date"] == night_of(3).name
    assert {row["score_date"] for row in read["bands"]} == {night_of(number).name for number in range(4)}
    assert len(read["most_at_risk"]) == reading.CUSTOMERS_SHOWN
    assert len(read["reviews"]) == 3
    assert [row["model_name"] for row in read["models"]] == ["lightgbm", "gru"]
    assert read["loads"][0]["rows_quarantined"] == 7
    assert read["failed"] == []


def test_a_failure_is_shown_until_the_step_ends_well(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    publish_nights(settings, 1, 20)
    path = leave_scores(settings, 1, 20)
    path.write_bytes(b"no scores")
    with pytest.raises(Exception, match=r"."):
        publish(settings, night_of(1))
    page = fetched(settings, "/")
    assert f"publish of {night_of(1).name} failed." in page
    assert f"The scores below are of {night_of(0).name}" in page
    publish_nights(settings, 1, 20, first=1)
    assert "failed." not in fetched(settings, "/")


def test_every_part_of_the_dashboard_is_there(published: Settings) -> None:
    page = fetched(published, "/")
    for heading in (
        "Risk bands over time",
        "Customers most at risk",
        "Who rose since the night before",
        "What moves risk",
        "How good past scores were",
        "not treated",
        "Have a look.",
        "Models compared",
        "Last night&#39;s data",
        "Ask",
    ):
        assert heading.replace("&#39;", "'") in page
    assert page.count("<svg") == 3 + 2 + 2  # the bands, recency, the reviews; a row each of two inputs, two models


def test_the_dashboard_without_a_night_says_what_to_do(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    predictions_of(settings).engine()
    assert "recur run" in fetched(settings, "/")


def test_a_customers_page_has_curve_history_and_reasons(published: Settings) -> None:
    worst = query(published, "select customer_id from churn_predictions order by risk_percentile desc limit 1")[1][0][0]
    page = fetched(published, f"/customer?customer_id={worst}")
    assert "<li>no event for 40 days, usually every 6</li><li>spend fell from 210 to 40</li>" in page
    assert page.count("<svg") == 2
    assert page.count("<td>2024-01-0") == 4
    assert re.findall(r"<tr><td>(\d+)</td>", page) == ["7", "14", "21", "28", "35", "42", "49", "56"]
    assert page.count("stay away: has no event") + page.count("<title>has no event") == 57  # today, and each day


def test_a_model_without_a_curve_says_so_and_draws_none(tmp_path: Path) -> None:
    """Of scores that an earlier recur left, too."""
    settings = Settings(root=tmp_path)
    path = leave_scores(settings, 0, 20)
    pd.read_parquet(path).drop(columns="curve").to_parquet(path)
    publish(settings, night_of(0))
    page = fetched(settings, "/customer?customer_id=c0000005")
    assert "gru tells of no day between: it gives no curve" in page
    assert page.count("<svg") == 1
    assert re.findall(r"<tr><td>(\d+)</td>", page) == ["28"]
    first = pages_json(settings, "/predictions/staying_away_for.json?_shape=array&days=14")[0]
    end = query(settings, f"select probability from survival_curve where customer_id = '{first['customer_id']}'")[1]
    assert first["probability"] == pytest.approx((1 + end[0][0]) / 2, abs=1e-3)


def test_a_customer_who_is_no_longer_scored_has_the_last_score(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    publish_nights(settings, 1, 30)
    publish_nights(settings, 1, 20, first=1)
    page = fetched(settings, "/customer?customer_id=c0000025")
    assert f"Not among the customers who were scored on {night_of(1).name}" in page
    assert f"The last score is of {night_of(0).name}" in page


def test_what_an_address_brings_is_no_markup(published: Settings) -> None:
    page = fetched(published, "/customer?customer_id=%3Cscript%3Ealert(1)%3C/script%3E")
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_customers_id_leads_to_the_customers_page(published: Settings) -> None:
    page = fetched(published, "/predictions/most_at_risk")
    assert re.search(r'<td class="col-customer_id"><a href="/customer\?customer_id=c\d+">c\d+</a></td>', page)


def test_the_pages_of_datasette_are_in_the_houses_frame(published: Settings) -> None:
    for path in ("/predictions", "/predictions/churn_predictions", "/predictions/customer?customer_id=c0000001"):
        page = fetched(published, path)
        assert '<html lang="en">' in page
        assert "<h3" not in page
    assert 'aria-label="filter by column"' in fetched(published, "/predictions/churn_predictions")


def test_a_query_with_parameters_answers(published: Settings) -> None:
    rows = pages_json(published, "/predictions/in_a_band.json?_shape=array&risk_band=high&at_least=0.3")
    assert rows
    assert all(row["churn_probability"] >= 0.3 for row in rows)
    assert len(pages_json(published, "/predictions/in_a_band.json?_shape=array&risk_band=medium&at_least=")) == 60
    assert pages_json(published, "/predictions/with_a_reason.json?_shape=array&words=usually every 6")
    days = pages_json(published, "/predictions/survival_of_a_customer.json?_shape=array&customer_id=c0000001")
    assert [row["day"] for row in days] == list(range(1, 57))
    middle = pages_json(published, "/predictions/staying_away_for.json?_shape=array&days=42")[0]
    who = middle["customer_id"]
    ends = query(
        published,
        f"select probability from survival_curve where customer_id = '{who}' and score_date = "
        f"'{night_of(3).name}' order by day",
    )[1]
    assert middle["probability"] == pytest.approx(ends[41][0], abs=6e-4)
    assert pages_json(published, "/predictions/staying_away_for.json?_shape=array&days=99") == []
    assert len(pages_json(published, "/predictions/staying_away_for.json?_shape=array&days=")) == 200
    new = pages_json(published, "/predictions/new_in_the_high_band.json?_shape=array")
    bands = "select customer_id from prediction_history where horizon_days = 28 and risk_band = 'high' and score_date ="
    now, before = ({who for (who,) in query(published, f"{bands} '{night_of(n).name}'")[1]} for n in (3, 2))
    assert {row["customer_id"] for row in new} == now - before
    moved = pages_json(published, "/predictions/moved_since_training.json?_shape=array")
    assert [row["name"] for row in moved] == ["amount_28"]
    night = pages_json(published, f"/predictions/on_a_night.json?_shape=array&score_date={night_of(1).name}")
    assert {row["score_date"] for row in night} == {night_of(1).name}


def pages_json(settings: Settings, path: str) -> list[dict[str, object]]:
    import json

    return list(json.loads(fetched(settings, path)))


def test_what_a_query_asks_is_read_from_its_sql() -> None:
    assert queries.parameters("in_a_band") == ["risk_band", "at_least"]
    assert queries.parameters("most_at_risk") == []


def test_a_line_goes_through_its_points() -> None:
    drawn = str(
        charts.lines("what", [charts.Line("a", "high", [(0, 0.0), (10, 0.4)])], [(0, "from"), (10, "to")], str_of)
    )
    assert '<path class="line high" d="M20.0 292.0L980.0 8.0"/>' in drawn
    assert "<title>a: 10 0.4</title>" in drawn
    assert "<span>40 %</span><span>20 %</span><span>0</span>" in drawn


def str_of(x: float, y: float) -> str:
    return f"{x} {y}"


def test_a_chart_without_points_is_nothing() -> None:
    assert charts.lines("what", [], [], str_of) == ""


@pytest.mark.parametrize(
    ("share", "words"), [(None, "-"), (0.5, "50 %"), (0.031, "3.1 %"), (0.1, "10 %"), (0.02, "2 %")]
)
def test_percent(share: float | None, words: str) -> None:
    assert charts.percent(share) == words


@pytest.mark.parametrize(("change", "words"), [(None, "new"), (0.1, "+10.0"), (-0.00001, "0.0"), (-0.004, "-0.4")])
def test_points(change: float | None, words: str) -> None:
    assert shown.points(change) == words


def test_the_pages_cannot_write(published: Settings) -> None:
    import asyncio

    with sqlite3.connect(published.var / "predictions.db") as connection:
        before = connection.execute("select count(*) from prediction").fetchone()
        client = pages_of(published).client
        for sql in ("delete from prediction", "pragma user_version = 5"):
            assert asyncio.run(client.get("/predictions", params={"sql": sql})).status_code == 400
        assert connection.execute("select count(*) from prediction").fetchone() == before


def test_off_loopback_a_password_is_required(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sign_in.VARIABLE, raising=False)
    with pytest.raises(ConfigurationError, match=sign_in.VARIABLE):
        datasette.command(predictions_of(published), published.state, 8001, "0.0.0.0")
    monkeypatch.setenv(sign_in.VARIABLE, "an old password")
    assert "0.0.0.0" in datasette.command(predictions_of(published), published.state, 8001, "0.0.0.0")


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        (None, 401),
        (("anyone", "another"), 401),
        (("anyone", ""), 401),
        (("anyone", "ü: old"), 200),
    ],
)
def test_pages_with_a_password_open_to_it_alone(
    published: Settings,
    monkeypatch: pytest.MonkeyPatch,
    authorization: tuple[str, str] | None,
    status: int,
) -> None:
    import asyncio

    monkeypatch.setenv(sign_in.VARIABLE, "ü: old")
    headers = {}
    if authorization:
        headers["authorization"] = "Basic " + base64.b64encode(":".join(authorization).encode()).decode()
    client = pages_of(published).client
    for path in ("/", "/predictions/most_at_risk.csv", "/predictions.json"):
        assert asyncio.run(client.get(path, headers=headers)).status_code == status
    assert asyncio.run(client.get("/-/versions.json")).status_code == 200


@pytest.mark.parametrize("header", ["Basic", "Basic !", "Bearer b2xk", "Basic b2xk"])
def test_a_header_that_is_none_opens_nothing(published: Settings, monkeypatch: pytest.MonkeyPatch, header: str) -> None:
    import asyncio

    monkeypatch.setenv(sign_in.VARIABLE, "old")
    assert asyncio.run(pages_of(published).client.get("/", headers={"authorization": header})).status_code == 401
