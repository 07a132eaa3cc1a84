"""The quarantine: the rows that validation set aside, each with its reason, and another try at them after a fix."""

from typing import NamedTuple

from pipeline.engine import literal, session
from pipeline.extract import extract
from pipeline.load import load
from pipeline.nights import midnight
from pipeline.settings import Settings
from pipeline.store.event_store import loaded_nights, night_ending_at
from pipeline.validate import validate


class SetAside(NamedTuple):
    """Rows of one night set aside for one reason, and one of them as the source gave it (JSON)."""

    night: str
    reason: str
    rows: int
    example: str


def summary(settings: Settings) -> list[SetAside]:
    """What was set aside, by night and reason, refused nights included."""
    if not any((settings.var / "quarantine").glob("*.parquet")):
        return []
    files = literal(settings.var / "quarantine" / "*.parquet")
    grouped = f"""
        select night, reason, count(*), min(row) from read_parquet({files})
        group by night, reason order by night, reason
    """
    with session(settings) as connection:
        return [SetAside(*row) for row in connection.execute(grouped).fetchall()]


def replay(settings: Settings) -> dict[str, int]:
    """Takes every loaded night that has rows in quarantine from the source again, as it is and is mapped today, and
    returns how many rows each night's quarantine lost. What now passes counts as known since its own night. Refused
    nights are not loaded by this: they are due with the next run.
    """
    loaded = {night.isoformat(): night for night in loaded_nights(settings)}
    before = _rows_by_night(summary(settings))
    brought_back = {}
    for name in sorted(before.keys() & loaded.keys()):
        night = night_ending_at(settings, midnight(loaded[name]))
        extract(settings, night, afresh=True)
        validate(settings, night)
        outcome = load(settings, night)
        brought_back[name] = before[name] - outcome["rows_quarantined"]
    return brought_back


def _rows_by_night(found: list[SetAside]) -> dict[str, int]:
    rows: dict[str, int] = {}
    for one in found:
        rows[one.night] = rows.get(one.night, 0) + one.rows
    return rows
