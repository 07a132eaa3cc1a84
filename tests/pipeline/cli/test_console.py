"""Tables and figures as the command line shows them, and what it writes for other programs."""

import io
import json
import math
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from rich.console import Console

from pipeline.cli.console import MOST_ROWS, formatted, print_table
from pipeline.cli.output import write_csv, write_json
from pipeline.runtime.errors import ConfigurationError


def shown(columns: list[str], rows: list[tuple[object, ...]], width: int = 80) -> str:
    file = io.StringIO()
    print_table(Console(file=file, width=width), columns, rows)
    return file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (0.123456, "0.1235"),
        (1234567.5, "1234567.5"),
        (0.0, "0"),
        (-0.5, "-0.5"),
        (0.0000123, "1.23e-05"),
        (date(2017, 12, 4), "2017-12-04"),
        ("no\x1b[31mred\nline", "no [31mred line"),
    ],
)
def test_figures(value: object, text: str) -> None:
    assert formatted(value) == text


def test_a_table_that_fits_is_a_table() -> None:
    assert shown(["name", "n"], [("ann", 1), ("[b]bob", 22)]).split("\n")[1:3] == ["ann      1", "[b]bob  22"]


def test_a_table_too_wide_is_shown_record_by_record() -> None:
    printed = shown([f"column_{number}" for number in range(9)], [tuple(range(9))])
    assert printed.splitlines()[3].split() == ["column_3", "3"]
    assert max(map(len, printed.splitlines())) <= 80


def test_a_long_text_is_folded_beside_the_others() -> None:
    printed = shown(
        ["customer", "reasons", "n"], [("ann", "no event for 23 days, usually every 6; " * 4, 1)]
    ).splitlines()
    assert printed[0].split() == ["customer", "reasons", "n"]
    assert printed[1].startswith("ann       no event for 23 days")
    assert len(printed) > 2
    assert max(map(len, printed)) <= 80


def test_a_long_table_says_how_much_more_there_is() -> None:
    assert "and 5 rows more" in shown(["n"], [(number,) for number in range(MOST_ROWS + 5)])


def test_csv_and_json_keep_every_digit() -> None:
    rows = [(0.1 + 0.2, None, date(2017, 12, 4), Decimal("1.5"), datetime(2017, 12, 4, tzinfo=UTC), 'a,"b', math.nan)]
    columns = list("abcdefg")
    csv, json_ = io.StringIO(), io.StringIO()
    write_csv(csv, columns, rows)
    write_json(json_, columns, rows)
    assert csv.getvalue().splitlines()[1] == '0.30000000000000004,,2017-12-04,1.5,2017-12-04 00:00:00+00:00,"a,""b",'
    assert json.loads(json_.getvalue()) == [
        {
            "a": 0.1 + 0.2,
            "b": None,
            "c": "2017-12-04",
            "d": 1.5,
            "e": "2017-12-04 00:00:00+00:00",
            "f": 'a,"b',
            "g": None,
        }
    ]


def test_two_columns_of_one_name_are_no_json_object() -> None:
    with pytest.raises(ConfigurationError, match="called n"):
        write_json(io.StringIO(), ["n", "n"], [(1, 2)])
