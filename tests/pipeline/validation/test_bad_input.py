"""Every kind of bad input ends in its named reason or its named error, and no row is unaccounted for."""

import pytest

from tests.support import bad_files, bad_rows
from tests.support.bad_input import Sorted, faults_of_file, faults_of_row, faults_of_same_ids, sort_rows


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Sorted:
    return sort_rows(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("case", bad_rows.ROWS, ids=lambda case: case.kind)
def test_a_kind_of_row(rows, case):
    assert faults_of_row(rows, case) == []


def test_rows_that_share_an_event_id(rows):
    assert faults_of_same_ids(rows) == []


def test_no_row_is_unaccounted_for(rows):
    written = sum(1 for _ in bad_rows.lines()) - 2  # the header, and the row of a day not yet closed
    assert rows.figures["rows_read"] == written
    kept = sum(rows.figures[f"rows_{what}"] for what in ("accepted", "quarantined", "already_known"))
    assert kept == written


@pytest.mark.parametrize("case", bad_files.FILES, ids=lambda case: case.kind)
def test_a_kind_of_file(tmp_path, case):
    assert faults_of_file(tmp_path, case) == []
