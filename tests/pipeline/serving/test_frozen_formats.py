"""Stores that an earlier version wrote are opened by this one, and the next night goes on from them."""

import tarfile
from pathlib import Path

import pytest

from pipeline.cli.upkeep import deep_checks
from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.objects import loaded_nights
from pipeline.runtime.sealed import DamagedError
from pipeline.steps.publish import publish
from tests.fixtures.frozen import FIXTURES, LOADED, NEXT
from tests.support.published import predictions_of, query
from tests.support.worlds.csv_nights import ingest
from tests.support.worlds.published_world import leave_scores, night_of, publish_nights

COUNTS = "select score_date, count(*) from prediction_history group by 1 order by 1"
PUBLISHED = [("2024-01-01", 8), ("2024-01-02", 8)]


@pytest.fixture(params=sorted(FIXTURES.glob("format_*.tar.xz")), ids=lambda file: file.name.split(".")[0])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    with tarfile.open(request.param) as packed:
        packed.extractall(tmp_path, filter="data")
    return load_settings(tmp_path / "recur.toml")


def test_a_store_of_events_goes_on(settings: Settings) -> None:
    assert [f"{day}" for day in loaded_nights(settings.events)] == list(LOADED)
    assert ingest(settings, NEXT)["rows_accepted"] == 1
    assert [f"{day}" for day in loaded_nights(settings.events)] == [*LOADED, NEXT]


def test_a_database_of_predictions_goes_on(settings: Settings) -> None:
    assert query(settings, COUNTS)[1] == PUBLISHED
    publish_nights(settings, 1, 4, (14, 28), first=2)
    assert query(settings, COUNTS)[1] == [*PUBLISHED, ("2024-01-03", 8)]
    changes = "select count(risk_change) from prediction_history where score_date = '2024-01-03'"
    assert query(settings, changes)[1] == [(8,)]


def test_a_changed_prediction_is_noticed_before_the_next_night_is_made_of_it(settings: Settings) -> None:
    publish_nights(settings, 1, 4, (14, 28), first=2)
    changed = "update prediction set churn_probability = churn_probability + 1e-15 where customer_id = 'c0000001' and "
    with predictions_of(settings).writing() as connection:
        connection.exec_driver_sql(f"{changed} score_date = '2024-01-03' and horizon_days = 28")
    [fault] = deep_checks._nights(settings)
    assert "the predictions of the night 2024-01-03 are not what was published" in fault.words
    leave_scores(settings, 3, 4, (14, 28))
    with pytest.raises(DamagedError, match=r"predictions of the night 2024-01-03 are not .* --cutoff 2024-01-03"):
        publish(settings, night_of(3))
    publish(settings, night_of(2))  # the advice
    publish(settings, night_of(3))
    publish(settings, night_of(2))  # corrects the night after it
    predictions_of(settings).erase("c0000001")
    publish_nights(settings, 1, 4, (14, 28), first=4)
    assert len(query(settings, COUNTS)[1]) == 5
    assert not list(deep_checks._nights(settings))
