"""The analysts' pages as a stranger calls them: other hosts, guesses, gigabytes, frames, formulas."""

import asyncio
import base64
import csv
import io
import multiprocessing
import resource
from pathlib import Path
from typing import Any

import pytest
from datasette.app import Datasette

from features.question import Question
from pipeline.config.settings import Settings
from pipeline.runtime.errors import ConfigurationError
from pipeline.serving import datasette
from pipeline.serving.pages import airflow_guard, limits, protection, sign_in
from pipeline.serving.pages.application import refuse
from tests.support.published import predictions_of
from tests.support.worlds.published_world import publish_nights

FORMULA = '=HYPERLINK("http://evil","click")'


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    made = Settings(root=tmp_path_factory.mktemp("pages"), question=Question(horizons=(28,), primary_horizon=28))
    publish_nights(made, 1, 50, (28,))
    with predictions_of(made).writing() as connection:
        for number, name in enumerate((FORMULA, '-1+cmd|" /C calc"!A0', "@SUM(1)", "+49 151", "two\n=lines(1)")):
            connection.exec_driver_sql(
                "update prediction set customer_id = ? where customer_id = ?", (name, f"c{number:07d}")
            )
    return made


@pytest.fixture
def pages(published: Settings) -> Datasette:
    return pages_of(published)


def pages_of(published: Settings) -> Datasette:
    """Pages as they are served, but for an endless question's seconds, of which a test needs few."""
    return Datasette(
        [str(published.var / "predictions.db")],
        metadata=datasette.metadata("predictions"),
        plugins_dir=str(datasette.PAGES / "plugins"),
        template_dir=str(datasette.PAGES / "templates"),
        static_mounts=[("recur", str(datasette.PAGES / "static"))],
        settings={**datasette.SETTINGS, "sql_time_limit_ms": 500},
    )


def get(pages: Datasette, path: str, **headers: str) -> Any:
    return asyncio.run(pages.client.get(path, headers=headers))


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8001", "localhost", "LocalHost:8001", "[::1]:8001"])
def test_loopback_is_answered(pages: Datasette, host: str) -> None:
    assert get(pages, "/", host=host).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", "localhost.", ""])
def test_another_host_is_refused(pages: Datasette, host: str) -> None:
    for path in ("/", "/predictions.json", "/-/versions.json"):
        assert get(pages, path, host=host).status_code == 421


def test_the_name_of_a_proxy_is_answered(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(protection.HOSTS, "scores.example.org, other.example")
    pages = pages_of(published)
    assert get(pages, "/", host="scores.example.org").status_code == 200
    assert get(pages, "/", host="evil.example").status_code == 421


def test_every_answer_bears_the_headers(pages: Datasette) -> None:
    for path in ("/", "/predictions", "/nowhere", "/predictions/churn_predictions.json", "/-/static/app.css"):
        headers = get(pages, path).headers
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers.get_list("referrer-policy") == ["no-referrer"]
        assert headers["cache-control"] == "private, no-store"
    policy = get(pages, "/", host="evil.example").headers["content-security-policy"]
    assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
def test_nothing_but_reading(pages: Datasette, method: str) -> None:
    answer = asyncio.run(pages.client.request(method, "/predictions", content=b"x" * 100))
    assert answer.status_code == 405


def test_guesses_have_an_end(published: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(sign_in.VARIABLE, "the password")
    pages = pages_of(published)

    async def ask() -> list[int]:
        client = pages.client
        sent = [client.get("/", headers={"authorization": basic(f"guess {number}")}) for number in range(12)]
        return [(await each).status_code for each in [*sent, client.get("/"), client.get("/-/versions.json")]]

    assert asyncio.run(ask()) == [401] * sign_in.GUESSES + [429] * 2 + [429, 200]
    assert get(pages, "/", authorization=basic("the password")).status_code == 429
    monkeypatch.setattr(sign_in, "SECONDS", 0.0)
    assert get(pages, "/", authorization=basic("the password")).status_code == 200


def test_wrong_guesses_are_forgotten_of_those_who_guessed_longest_ago(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_in, "CLIENTS", 3)
    guesses = sign_in.WrongGuesses()
    for client in "abcd":
        for _ in range(sign_in.GUESSES):
            guesses.add(client)
    assert [guesses.wait(client) > 0 for client in "abcd"] == [False, True, True, True]


@pytest.mark.parametrize(
    "sql",
    [
        "select hex(zeroblob(500000000))",
        "select randomblob(900000000)",
        "with recursive n(i) as (select 1 union all select i + 1 from n) select hex(randomblob(400000)) from n",
        "with recursive n(i) as (select 1 union all select i + 1 from n) select group_concat(i) from n",
        "with recursive n(i) as (select 1 union all select i + 1 from n) select count(*) from n",
        f"select {', '.join(['hex(randomblob(400000))'] * 300)}",
        "select json_group_array(x) from (with recursive n(i) as (select 1 union all select i + 1 from n) "
        "select hex(randomblob(100000)) as x from n)",
    ],
)
def test_gigabytes_are_refused(pages: Datasette, sql: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for form in ("json", "csv"):
        answer = asyncio.run(pages.client.get(f"/predictions.{form}", params={"sql": sql, "_shape": "array"}))
        assert answer.status_code in (400, 500) or (form == "csv" and answer.text.strip() == "")
        assert len(answer.content) < 100_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < (limits.HEAP_BYTES >> 10) * 1.3


def test_many_requests_at_once_have_an_end(pages: Datasette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protection, "AT_ONCE", 3)

    async def ask() -> list[int]:
        client = pages.client
        return [answer.status_code for answer in await asyncio.gather(*(client.get("/predictions") for _ in range(9)))]

    statuses = asyncio.run(ask())
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 3
    assert get(pages, "/predictions").status_code == 200


@pytest.mark.parametrize("more", ["", "&_dl=1", "&_stream=on&_size=max", "&_header=off"])
def test_formulas_in_csv_are_guarded(pages: Datasette, published: Settings, more: str) -> None:
    for path in (
        f"/predictions/churn_predictions.csv?_sort=customer_id{more}",
        f"/predictions.csv?sql=select+customer_id+from+churn_predictions+order+by+1{more}",
    ):
        rows = list(csv.reader(io.StringIO(get(pages, path).text, newline="")))
        values = {value for row in rows for value in row}
        assert {f"'{FORMULA}", '\'-1+cmd|" /C calc"!A0', "'@SUM(1)", "+49 151", "two\n=lines(1)"} <= values
        assert not {FORMULA, "@SUM(1)"} & values
        assert len({len(row) for row in rows}) == 1
        assert len(rows) == 50 + (more != "&_header=off")


def test_without_a_password_nothing_is_served_off_loopback(
    published: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever stands before it: compose's pages listen on all of their network."""
    monkeypatch.delenv(sign_in.VARIABLE, raising=False)
    script = Path(datasette.__file__).parents[2] / "docker" / "serve_predictions.py"
    monkeypatch.setattr("pipeline.config.settings.load_settings", lambda: published)
    with pytest.raises(ConfigurationError, match=sign_in.VARIABLE):
        exec(compile(script.read_text(), str(script), "exec"), {"__name__": "__main__"})


def test_no_log_holds_the_password(
    published: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(sign_in.VARIABLE, "the password")
    signed = basic("the password")
    for path, status in (("/nowhere", 404), ("/predictions/churn_predictions?_sort=nothing", 500)):
        assert get(pages_of(published), path, authorization=signed).status_code == status
    output, errors = capfd.readouterr()
    assert signed.removeprefix("Basic ") not in output + errors
    assert "locals" not in output + errors


def test_a_function_without_end_ends_the_pages(
    published: Settings, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever keeps the process starts it again, as `make up` does."""
    monkeypatch.setattr(limits, "STUCK_SECONDS", 0.8)
    endless = "/predictions.json?sql=select+printf('%25.*c',2000000000,'a')"
    fork = multiprocessing.get_context("fork")
    process = fork.Process(target=lambda: get(pages_of(published), endless))
    process.start()
    process.join(30)
    assert process.exitcode == 1
    assert "the pages end: SQL has run for 0.8 seconds past all limits" in capfd.readouterr().err


def test_airflow_is_called_by_known_names_and_not_framed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(airflow_guard.HOSTS, "airflow-api-server, airflow.example")

    async def airflow(_scope: Any, _receive: Any, send: Any) -> None:
        await refuse(send, 200, "Airflow")

    def asked(host: str) -> tuple[int, dict[str, str]]:
        answer: list[Any] = []

        async def send(message: Any) -> None:
            answer.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", host.encode())]}
        asyncio.run(airflow_guard.guarded(airflow)(scope, None, send))
        return answer[0]["status"], {name.decode(): value.decode() for name, value in answer[0]["headers"]}

    for host in ("127.0.0.1:8080", "localhost", "airflow-api-server:8080", "AIRFLOW.example"):
        status, headers = asked(host)
        assert status == 200
        assert headers["x-frame-options"] == "DENY"
        assert headers["content-security-policy"] == "frame-ancestors 'none'"
    for host in ("evil.example", "127.0.0.1.evil.example", "", "airflow"):
        assert asked(host)[0] == 421
