"""Compares the kinds of `bad_rows` and `bad_files` with the outcome of extract, validate and load."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.config.settings import load_settings
from pipeline.runtime.errors import RecurError
from tests.support import bad_files, bad_rows
from tests.support.bad_files import BadFile
from tests.support.bad_rows import BadRow
from tests.support.worlds.csv_nights import ingest, night_of


@dataclass(frozen=True)
class Sorted:
    """The counts of the load; by kind, the reasons that its rows were set aside for (None: accepted), and its accepted
    events.
    """

    figures: dict[str, int]
    reasons: dict[str, list[str | None]]
    events: dict[str, Any]


def sort_rows(folder: Path) -> Sorted:
    """The outcome of all kinds of rows, ingested as one night."""
    settings = load_settings(bad_rows.write(folder))
    figures = ingest(settings, bad_rows.CUTOFF)
    accepted = pd.read_parquet(settings.events)
    reasons: dict[str, list[str | None]] = {}
    for event in accepted.itertuples():
        reasons.setdefault(str(event.kind), []).append(None)
    aside = pd.read_parquet(settings.state.quarantine(night_of(settings, bad_rows.CUTOFF)))
    for quarantined in aside.itertuples():
        row = json.loads(str(quarantined.row))
        kind = row["kind"] or row["unreadable"].split(",")[0].replace("\\xE9", "\xe9")
        reasons.setdefault(kind, []).append(str(quarantined.reason))
    events = {str(event["kind"]): event for event in accepted.to_dict("records")}
    return Sorted(figures, reasons, events)


def faults_of_row(rows: Sorted, case: BadRow) -> list[str]:
    """How the outcome of a kind of row differs from the expected one."""
    reasons = rows.reasons.get(case.kind)
    if reasons != [case.reason]:
        return [f"{case.kind}: {reasons}, expected [{case.reason}]"]
    if case.reason:
        return []
    event = rows.events[case.kind]
    faults = []
    for name, value in case.event.items():
        actual = None if pd.isna(event[name]) else event[name]
        expected = pd.Timestamp(value, tz="UTC") if name == "event_time" else value
        if actual != expected:
            faults.append(f"{case.kind}: {name} is {actual!r}, expected {expected!r}")
    return faults


def faults_of_same_ids(rows: Sorted) -> list[str]:
    """Of three exact repeats one is an event and two are known; rows that differ are all set aside."""
    expected = {"an exact repeat": [None], "a conflicting repeat": ["event_id_conflict"] * 2}
    faults = [
        f"{kind}: {rows.reasons.get(kind)}, expected {reasons}"
        for kind, reasons in expected.items()
        if rows.reasons.get(kind) != reasons
    ]
    known = rows.figures["rows_already_known"]
    return faults + ([] if known == 2 else [f"an exact repeat: {known} rows already known, expected 2"])


def faults_of_file(folder: Path, case: BadFile) -> list[str]:
    """How the outcome of a kind of file differs from the expected one."""
    settings = load_settings(bad_files.write(case, folder))
    try:
        figures = ingest(settings, bad_files.CUTOFF)
    except RecurError as error:
        message = str(error)
        if not case.error or not re.search(case.error, message) or "\n" in message:
            return [f"{case.kind}: {message!r}, expected {case.error or 'no error'!r}"]
        return [] if not settings.events.exists() else [f"{case.kind}: an error, and yet something was loaded"]
    if case.error:
        return [f"{case.kind}: {figures}, expected the error {case.error!r}"]
    aside = pd.read_parquet(settings.state.quarantine(night_of(settings, bad_files.CUTOFF)))
    expected = {"rows_read": case.rows, "rows_quarantined": sum(case.aside.values()), "rows_already_known": 0}
    expected["rows_accepted"] = case.rows - expected["rows_quarantined"]
    faults = [] if figures == expected else [f"{case.kind}: {figures}, expected {expected}"]
    reasons = aside["reason"].value_counts().to_dict()
    return faults + ([] if reasons == dict(case.aside) else [f"{case.kind}: {reasons}, expected {dict(case.aside)}"])
