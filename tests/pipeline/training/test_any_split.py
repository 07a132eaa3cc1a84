"""The same events in any split into nights, in any order, with repeats, are the same events as of the end, known time
apart; the same split makes the same bytes.
"""

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.store import open_store
from tests.support.stored import rows_of
from tests.support.worlds.csv_nights import day, ingest

DAYS, SLOWEST = 4, 3
ROWS = [
    (f"e{place}", f"c{place % 5}", 1 + place % DAYS, f"2020-01-0{1 + place % DAYS} {place % 24:02d}:00:00", place % 3)
    for place in range(14)
] + [("e90", "c1", 2, "2020-01-02 05:00:00", 1), ("e91", "c1", 2, "2020-01-02 05:00:00", 1)]  # alike but for their ids
TOML = """
[source]
kind = "csv"
path = "events-*.csv"
[source.columns]
customer_id = "who"
event_time = "when"
amount = "eur"
"""
LAST = 1 + DAYS + SLOWEST

splits = st.fixed_dictionaries(
    {
        "delays": st.lists(st.integers(0, SLOWEST), min_size=len(ROWS), max_size=len(ROWS)),
        "repeats": st.lists(st.tuples(st.integers(0, len(ROWS) - 1), st.integers(2, LAST)), max_size=6),
        "order": st.permutations(range(len(ROWS))),
        "nights": st.sets(st.integers(2, LAST - 1), max_size=4),
    }
)


def loaded(folder: Path, split: dict, with_ids: bool) -> Settings:
    """The rows arrive by days, each so many days after its own, some of them twice, and the nights take them in."""
    folder.mkdir()
    (folder / "recur.toml").write_text(TOML + ('event_id = "id"\n' if with_ids else ""))
    settings = load_settings(folder / "recur.toml")
    delays = split["delays"]
    if not with_ids:  # of alike rows that come in two files it cannot be known whether one is a repeat
        delays = [*delays[:-1], delays[-2]]
    arrivals = [(place, ROWS[place][2] + delays[place]) for place in split["order"]]
    arrivals += split["repeats"] if with_ids else []
    written = 0
    for night in sorted({*split["nights"], LAST}):
        rows = [ROWS[place] for place, arrived in arrivals if written < arrived + 1 <= night]
        lines = [f"{name},{who},{when},{eur}" for name, who, _, when, eur in rows] + ["end,z,2020-01-31 00:00:00,1"]
        (folder / f"events-{night:02d}.csv").write_text("\n".join(["id,who,when,eur", *lines]) + "\n")
        ingest(settings, f"2020-01-{night:02d}")
        written = night
    return settings


def current(settings: Settings) -> pd.DataFrame:
    events = rows_of(open_store(settings).as_of(day(f"2020-01-{LAST:02d}")))
    assert (events.event_time < events.known_time).all()
    events = events[events.superseded_time.isna()].drop(columns=["known_time", "superseded_time"])
    return events.sort_values("event_id", ignore_index=True)


@pytest.mark.parametrize("with_ids", [True, False])
@hypothesis_settings(max_examples=3, deadline=None)
@given(split=splits)
def test_any_split_gives_the_same_events(tmp_path_factory, with_ids, split):
    folder = tmp_path_factory.mktemp("split")
    with pytest.MonkeyPatch.context() as patch:
        # The night rules have tests of their own, say nothing of single rows, and take most of a night's time.
        patch.setattr("pipeline.steps.validate.expect", lambda *arguments: [])
        whole = {"delays": [0] * len(ROWS), "repeats": [], "order": range(len(ROWS)), "nights": set()}
        expected = current(loaded(folder / "whole", whole, with_ids))
        first, second = (loaded(folder / name, split, with_ids) for name in ("first", "second"))
    assert len(expected) == len(ROWS)
    pd.testing.assert_frame_equal(current(first), expected)
    for file in first.events.iterdir():
        assert file.read_bytes() == (second.events / file.name).read_bytes(), file.name
