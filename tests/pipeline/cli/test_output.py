"""What is written for other programs."""

import csv
import io
import json
import uuid
from datetime import date, timedelta
from decimal import Decimal

import pytest

from pipeline.cli.output import write_csv, write_json
from tests.support.bad_rows import FORMULA


def written(value: object) -> str:
    file = io.StringIO()
    write_csv(file, ["customer_id"], [[value]])
    return list(csv.reader(io.StringIO(file.getvalue())))[1][0]


@pytest.mark.parametrize("text", [FORMULA, "=1+1", "@SUM(A1)", "+cmd|'x'!A0", "-2+3+cmd|'x'!A0", "\t=1"])
def test_a_formula_is_no_formula_in_csv(text):
    assert written(text) == f"'{text}"


@pytest.mark.parametrize("text", ["+49 151 2345", "@anna", "-5", "c1", "a=b", "3(x)"])
def test_ids_that_only_look_like_one_are_left(text):
    assert written(text) == text


def test_numbers_are_left_and_json_has_every_text_as_it_is():
    assert written(-0.5) == "-0.5"
    file = io.StringIO()
    write_json(file, ["customer_id"], [[FORMULA]])
    assert FORMULA in file.getvalue()


def test_json_has_what_a_database_gives() -> None:
    """PostgreSQL's arrays, objects, intervals and numbers that are none."""
    values = [
        [date(2017, 12, 4), Decimal("NaN")],
        {"a": timedelta(days=1)},
        Decimal("1E+400"),
        b"\xff",
        uuid.UUID(int=1),
    ]
    file = io.StringIO()
    write_json(file, ["value"], [[value] for value in values])
    assert [row["value"] for row in json.loads(file.getvalue())] == [
        ["2017-12-04", None],
        {"a": "1 day, 0:00:00"},
        None,
        "ff",
        "00000000-0000-0000-0000-000000000001",
    ]
