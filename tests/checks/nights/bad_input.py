"""Every known kind of bad input, through extract, validate and load: each ends in its named reason or its named error,
real oddities are accepted, and no row is unaccounted for. Prints the table of kinds.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.support import bad_files, bad_rows
from tests.support.bad_input import faults_of_file, faults_of_row, faults_of_same_ids, sort_rows


def main() -> bool:
    outcomes = dict(_outcomes())
    wrong = [fault for faults, _ in outcomes.values() for fault in faults]
    for kind, (faults, outcome) in outcomes.items():
        print(f"{'held ' if not faults else 'WRONG'} {kind}: {outcome}")
    print("\n".join(wrong) or "each kind ends as it should, and every row is accounted for")
    print(f"kinds held: {sum(not faults for faults, _ in outcomes.values())} of {len(outcomes)}")
    return not wrong


def _outcomes() -> Iterator[tuple[str, tuple[list[str], str]]]:
    """Each kind, with its faults and its expected outcome."""
    with tempfile.TemporaryDirectory() as scratch:
        rows = sort_rows(Path(scratch))
    for row in bad_rows.ROWS:
        yield row.kind, (faults_of_row(rows, row), row.reason or "accepted")
    yield "rows that share an event id", (faults_of_same_ids(rows), "already known, or event_id_conflict")
    written = sum(1 for _ in bad_rows.lines()) - 2  # the header, and the row of a day not yet closed
    kept = sum(rows.figures[f"rows_{what}"] for what in ("accepted", "quarantined", "already_known"))
    lost = [] if written == kept == rows.figures["rows_read"] else [f"{written} rows written, {kept} accounted for"]
    yield "all of these rows together", (lost, f"{written:,} rows accounted for")
    for file in [*bad_files.FILES, bad_files.MILLION]:
        with tempfile.TemporaryDirectory() as scratch:
            aside = ", ".join(f"{reason} ({count})" for reason, count in file.aside.items()) or "accepted"
            outcome = f"error: {file.error}" if file.error else aside
            yield file.kind, (faults_of_file(Path(scratch), file), outcome)
