"""A run that can come to nothing says why, and with what change it would."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from features.question import Question
from pipeline.cli.feasibility import require_askable, require_meaningful, require_something, source_checks
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import StepRun
from pipeline.runtime.errors import RecurError
from pipeline.sources.contract import Span
from pipeline.sources.factory import open_source
from pipeline.validation.leaks import CheckResult
from tests.support.published import predictions_of
from tests.support.worlds.csv_nights import configure

FIRST = datetime(2024, 1, 1, 0, 3, tzinfo=UTC)


def test_too_short_a_history_says_from_when_and_with_what_change() -> None:
    question = Question(active_within=42, horizons=(14,))
    with pytest.raises(RecurError) as refused:
        require_askable(question, Span(FIRST, datetime(2024, 1, 15, tzinfo=UTC)))
    assert "14 days, 2024-01-01 to 2024-01-14" in str(refused.value)
    since = question.askable_from(FIRST)
    assert f"as of {since.date()}; now it can be asked with horizons = [" in str(refused.value)
    require_askable(question, Span(FIRST, since))


def test_a_run_that_trained_and_served_nothing_fails_with_the_reason(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    StepRun("snapshot").write(predictions_of(settings), "skipped", "no training as of then: too early")
    with pytest.raises(RecurError, match="nothing could be trained, and nothing is served: no training as of then"):
        require_something(settings)


def test_what_is_said_of_each_column(tmp_path: Path) -> None:
    header = "who;when;eur;pts;kind;note"
    columns = {"customer_id": "who", "event_time": "when", "amount": "eur", "event_type": "kind"}
    days = [("0" if day % 2 else f"c{day % 9}", f"{day:02d}.01.2024;1.234,5{day % 10} €;{day}") for day in range(1, 32)]
    rows = [f"{who};{values};sale;" for who, values in days]
    rows += [f"0;0{day % 9 + 1}.02.2024;;1;sale;" for day in range(60)]
    rows += ["C2;01.03.2024;$5;1;refund;x", "c2;never;five;2;refund;", ";01.03.2024;1;3;sale;"]
    rows += ["c3;02.03.2024;1;;sale;y"]
    settings = configure(
        tmp_path, rows, header, columns=columns | {"points": "pts", "note": "note"}, categorical=("note",)
    )
    settings = settings.model_copy(update={"question": Question(active_within=7, horizons=(7,), ends_with=("gone",))})
    lines = source_checks(settings, open_source(settings))
    by_name: dict[str, list[CheckResult]] = {}
    for line in lines:
        by_name.setdefault(line.what, []).append(line)
    names = ["customer_id", "event_time", "event_type", "amount", "points", "note"]
    assert list(by_name) == [*names, "rows", "question"]
    ids, *doubts = [line.words for line in by_name["customer_id"]]
    assert ids == "11 ids in 94 rows"
    assert [words.split(":")[-1] for words in doubts] == [
        " where they are the same customers, set source.fold_case = true",
        ' where it means nobody, set source.nobody = ["0"]',
    ]
    [time] = by_name["event_time"]
    assert "day first, '31.01.2024' is 2024-01-31 00:00:00; 2024-01-01 to 2024-03-02" in time.words
    assert time.words.endswith("; 1 cannot be read, as 'never'")
    amount, money = by_name["amount"]
    assert "a decimal comma, '.' between thousands, in $ and €, '1.234,5" in amount.words
    assert amount.words.endswith("; 60 are empty; 1 cannot be read, as 'five'")
    assert money.state == "doubtful"
    assert by_name["event_type"][0].words == "sale (93), refund (2)"
    assert by_name["points"][0].words == "pts: whole numbers, '9' is 9; 1 are empty"
    assert by_name["note"][0].words == "empty (93), x (1), y (1)"
    [aside] = by_name["rows"]
    assert aside.words.startswith("95 rows; set aside: 1 since")
    assert "(event_time_unreadable), as 'never'" in aside.words
    assert "(customer_id_missing)" in aside.words
    [question] = by_name["question"]
    assert question.state == "wrong"
    assert "ends_with names 'gone', and no event is of that type; there are sale (92 events)" in question.words


def test_what_a_reader_should_look_at(tmp_path: Path) -> None:
    types = ("sale", "Sale", "refund")
    ids = ("1.23E+11", "c\u00a01", "c1")
    rows = [f"{ids[n % 3]},{n % 28 + 1}.01.2024,{n % 24:02d}:30,{types[n % 3]},{n // 2},-,yes" for n in range(300)]
    rows += ["Grand Total,31.01.2024,,sale,t,9000,no", "c1,14.06.2024,10:00,sale,u,1,no"]
    columns = {"customer_id": "who", "event_time": "day", "event_type": "kind", "event_id": "id", "amount": "eur"}
    columns["first"] = "first"
    settings = configure(tmp_path, rows, "who,day,TILL_TIME,kind,id,eur,first", columns=columns)
    checks = source_checks(settings, open_source(settings))
    lines = [f"{check.state} {check.what}: {check.words}" for check in checks]
    for words in (
        "doubtful customer_id: 1 ids are written as 1.23E+11",
        r"the 4 ids are 3 without blanks, marks and ways to write an accent, as 'c1' and 'c\xa01'",
        "doubtful customer_id: 'Grand Total' (1 rows) may mean nobody",
        "doubtful event_time: these times are whole days, and the column TILL_TIME holds clocks: with "
        'source.columns.event_time = ["day", "TILL_TIME"], ',
        "doubtful event_time: after 2024-01-31 no row comes for 135 days, and then 1 from 2024-06-14",
        "doubtful event_type: sale, Sale differ in case alone",
        "doubtful event_id: 150 ids, as '0', are of several rows (300) that differ",
        "'-' is empty; 300 are empty",
        'doubtful first: most of its values are no numbers: where it is text, set source.categorical = ["first"]',
        "right columns: not mapped: TILL_TIME",
        "wrong rows: 302 rows; set aside: 302 since first is no number (first_unreadable), as ",
    ):
        assert any(words in line for line in lines), (words, lines)


def test_a_question_that_decides_nothing_ends_a_run_before_its_nights() -> None:
    require_meaningful([CheckResult("right", "question", "can"), CheckResult("doubtful", "question", "absent")])
    with pytest.raises(RecurError, match="no such type"):
        require_meaningful([CheckResult("wrong", "rows", "many"), CheckResult("wrong", "question", "no such type")])


def test_each_row_with_an_id_of_its_own(tmp_path: Path) -> None:
    settings = configure(tmp_path, [f"c{n},2024-01-{n % 28 + 1:02d},1" for n in range(60)])
    words = [line.words for line in source_checks(settings, open_source(settings)) if line.state == "doubtful"]
    assert [line.split(",")[0] for line in words] == ["each of the 60 rows has an id of its own"]


def test_what_is_said_of_a_history_that_is_too_short(tmp_path: Path) -> None:
    settings = configure(tmp_path, ["a,2024-01-01,1", "z,2024-01-14,1"])
    [line] = [line for line in source_checks(settings, open_source(settings)) if line.what == "question"]
    assert line.state == "wrong"
    assert "can be asked with horizons" in line.words
