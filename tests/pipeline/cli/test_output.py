"""What is written for other programs."""

import csv
import io

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
