"""An earlier night's features and scores can be made again after later nights, whatever these brought of its past."""

import shutil
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import select

from pipeline.event_store.objects import corrections
from pipeline.event_store.store import night_ending_at
from pipeline.runtime.nights import DAY
from pipeline.scoring.checkpoints import carried_folder
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.whole_histories import read_night
from pipeline.serving.tables import prediction
from pipeline.steps.extract import extract
from pipeline.steps.load import load
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.steps.validate import validate
from tests.pipeline.conftest import World
from tests.support.published import predictions_of
from tests.support.worlds.trained_world import LATER

NIGHT, AFTER = LATER + DAY, [LATER + 2 * DAY, LATER + 3 * DAY]


def write_source(world: World, events: pd.DataFrame) -> None:
    heading = {"event_id": "id", "customer_id": "who", "event_time": "when", "amount": "eur"}
    events.rename(columns=heading).to_csv(world.settings.source_path, index=False)


def work_through(world: World, cutoff: datetime) -> None:
    night = night_ending_at(world.settings.events, cutoff)
    for step in (extract, validate, load, score, publish):
        step(world.settings, night)


def published(world: World, cutoff: datetime) -> pd.DataFrame:
    with predictions_of(world.settings).reading() as connection:
        rows = connection.execute(select(prediction).where(prediction.c.score_date == cutoff.date())).mappings().all()
    return pd.DataFrame(rows).sort_values(["customer_id", "horizon_days"], ignore_index=True)


@pytest.mark.filterwarnings("ignore")
def test_a_night_made_again_after_later_ones_is_the_same(own_world: World) -> None:
    settings, events = own_world.settings, own_world.events.astype({"event_time": "datetime64[us, UTC]"})
    customers = sorted(events["customer_id"].unique())
    new = pd.DataFrame(
        {
            "event_id": [f"new{number:03d}" for number in range(100)],
            "customer_id": [customers[number % 40] for number in range(100)],
            "event_time": [pd.Timestamp(LATER) + pd.Timedelta(hours=number) for number in range(100)],
            "amount": 12.5,
            "shop": "a",
        }
    )
    source = pd.concat([events[events["event_time"] < LATER], new], ignore_index=True)
    write_source(own_world, source)
    work_through(own_world, NIGHT)
    night = night_ending_at(settings.events, NIGHT)
    inputs = ScoringInputs.open(settings)
    features, scored = read_night(inputs, NIGHT).data, settings.state.scored(night).read_bytes()
    seen = published(own_world, NIGHT)

    past = np.flatnonzero((source["event_time"] < NIGHT) & (source["event_time"] >= NIGHT - 20 * DAY))
    corrected = source.copy()
    corrected.loc[past[::7][:25], "amount"] = 999.0
    corrected.loc[past[3::11][:10], "customer_id"] = customers[0]
    late = source.iloc[past[1::5][:20]].assign(event_id=lambda rows: "late-" + rows["event_id"], amount=77.0)
    for cutoff, rows in zip(AFTER, (corrected, pd.concat([corrected, late])), strict=True):
        write_source(own_world, rows)
        work_through(own_world, cutoff)
    assert (corrections(settings.events / f"{AFTER[0].date()}.parquet") or 0) > 10
    changed = read_night(inputs, AFTER[1]).data
    assert (changed.aggregates["amount_max"] == 999).any()

    again = read_night(inputs, NIGHT).data
    assert again.customer_id.tolist() == features.customer_id.tolist()
    pd.testing.assert_frame_equal(again.aggregates, features.aggregates, check_exact=True)
    np.testing.assert_array_equal(again.sequences.event_time, features.sequences.event_time)
    for recomputed in (False, True):
        if recomputed:
            shutil.rmtree(carried_folder(settings.state))
        score(settings, night)
        assert settings.state.scored(night).read_bytes() == scored
    publish(settings, night)
    apart = ["run_id", "scored_at"]
    found = published(own_world, NIGHT)
    pd.testing.assert_frame_equal(
        found.drop(columns=apart, errors="ignore"), seen.drop(columns=apart, errors="ignore"), check_exact=True
    )
