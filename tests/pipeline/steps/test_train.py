"""What training a recipe leaves behind: predictions for the shared examples, and a run that shows all of it."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.optimize
import scipy.special

from models import MODELS, model_class
from models.information import PIECES
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import DAY
from pipeline.steps.train import train
from pipeline.training.fits import default_spec
from pipeline.training.registry import open_registry
from pipeline.training.snapshot import PARTS, microseconds
from tests.pipeline.conftest import World
from tests.support.worlds.trained_world import FIRST, NAMES, snapshot_of


@pytest.mark.parametrize("name", NAMES)
def test_every_later_example_and_horizon_has_a_prediction(trained_world: World, name: str) -> None:
    taken = snapshot_of(trained_world.settings)
    rows = pq.read_table(trained_world.settings.state.snapshot(FIRST) / "predictions" / f"{name}.parquet").to_pandas()
    for part in PARTS[1:]:
        expected = taken.part(part)
        assert expected.labels is not None
        for place, days in enumerate(taken.data.horizons):
            own = rows[(rows["slice"] == part) & (rows["horizon_days"] == days)]
            assert own["customer_id"].tolist() == expected.customer_id.tolist()
            assert [microseconds(cutoff) for cutoff in own["cutoff"]] == expected.cutoff.tolist()
            np.testing.assert_array_equal(own["churn"].to_numpy(), expected.labels.churn[:, place])
            assert own["churn_probability"].between(0, 1).all()


def test_the_run_shows_parameters_figures_curves_and_the_digest(trained_world: World) -> None:
    settings = trained_world.settings
    taken = snapshot_of(settings)
    folder = settings.state.snapshot(FIRST)
    for name in NAMES:
        result = json.loads((folder / "results" / f"{name}.json").read_text())
        run = open_registry(settings).tracking.client.get_run(result["run_id"])
        assert run.data.tags["mlflow.parentRunId"] == taken.run_id
        assert run.data.metrics["valid_log_loss"] == result["valid_log_loss"]
        assert run.data.params.keys() >= result["parameters"].keys() | {"seed", "horizons"}
        inputs = {entry.tags[0].value: entry.dataset.digest for entry in run.inputs.dataset_inputs}
        assert inputs["test"] == result["test_digest"] == taken.test_digest
        assert result["predict_customers_per_second"] > 0


def test_a_model_is_chosen_by_its_adjusted_log_loss_on_validation_and_calibration(trained_world: World) -> None:
    folder = trained_world.settings.state.snapshot(FIRST)
    rows = pq.read_table(folder / "predictions" / "recency.parquet").to_pandas()
    losses = []
    for part in ("valid", "calibrate"):
        own = rows[(rows["slice"] == part) & (rows["horizon_days"] == 14)]
        logits, truth = scipy.special.logit(own["churn_probability"].to_numpy()), own["churn"].to_numpy()
        rate = (truth.sum() + 0.5) / (len(truth) + 1)
        shift = scipy.optimize.brentq(lambda by: scipy.special.expit(logits + by).mean() - rate, -20, 20)  # noqa: B023
        shifted = scipy.special.expit(logits + shift)
        losses.append(-truth * np.log(shifted) - (1 - truth) * np.log(1 - shifted))
    expected = np.concatenate(losses).mean()
    result = json.loads((folder / "results" / "recency.json").read_text())
    assert result["valid_log_loss"] == pytest.approx(expected, abs=1e-7)


def test_the_settings_for_networks_reach_networks_alone(trained_world: World) -> None:
    update = {"optimizer": "sgd", "learning_rate": 0.05, "max_epochs": 3}
    settings = trained_world.settings
    settings = settings.model_copy(update={"models": settings.models.model_copy(update=update)})
    for name in MODELS:
        parameters = dict(default_spec(name, settings.models, dict.fromkeys(PIECES, False)).parameters)
        for piece in PIECES:
            assert parameters.pop(piece, None) is (False if piece in model_class(name).defaults else None)
        if "optimizer" in model_class(name).defaults:
            assert parameters == update
        else:
            assert not parameters


def test_an_unknown_model_is_told_with_those_there_are(trained_world: World) -> None:
    with pytest.raises(ConfigurationError, match="no model 'gruu'; there are recency, "):
        train(trained_world.settings, FIRST, "gruu")


def test_without_a_snapshot_nothing_is_trained(trained_world: World) -> None:
    with pytest.raises(RecurError, match="no snapshot as of 2020-07-31"):
        train(trained_world.settings, FIRST - DAY, "recency")
