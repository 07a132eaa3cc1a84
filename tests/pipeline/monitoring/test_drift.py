"""Before a horizon closes: drift and expected metrics of a real champion's night, and what they ask for."""

import pytest
from sqlalchemy import insert, update

from pipeline.config.sections import Review
from pipeline.monitoring.retraining import training_due
from pipeline.runtime.errors import NothingToDo
from pipeline.runtime.nights import DAY
from pipeline.serving.tables import night as nights
from pipeline.serving.tables import retraining_decision
from pipeline.serving.tables import review as reviews
from pipeline.steps.publish import publish
from pipeline.steps.review import review
from pipeline.steps.score import score
from pipeline.training.registry import open_registry
from tests.pipeline.conftest import World
from tests.support.published import predictions_of, query
from tests.support.worlds.trained_world import FIRST, NEXT, PRIMARY, night


@pytest.fixture
def scored_world(own_world: World) -> World:
    score(own_world.settings, night(NEXT))
    publish(own_world.settings, night(NEXT))
    return own_world


def test_a_night_is_monitored_before_its_horizon_closes(scored_world: World) -> None:
    settings = scored_world.settings.model_copy(update={"review": Review(max_drift=5.0, tolerance=0.5)})
    with pytest.raises(NothingToDo):  # nothing has closed, and nothing is to be done
        review(settings, night(NEXT))
    rows = query(settings, "select kind, name, value, reference from monitoring")[1]
    found = {(kind, name): (value, reference) for kind, name, value, reference in rows}
    probability = query(settings, "select avg(churn_probability) from churn_predictions")[1][0][0]
    assert found[("expected", "mean_predicted")][0] == pytest.approx(probability)
    test = query(settings, "select metric, value from model_comparison where model_name = 'logistic_regression'")[1]
    champion = open_registry(settings).champion()
    assert champion is not None
    if champion.name == "logistic_regression":
        assert found[("expected", "log_loss")][1] == dict(test)["log_loss"]
    assert found[("drift", "score")][1] == 5.0
    assert {name for kind, name in found if kind == "drift"} >= {"score", "days_since_last_event", "amount_28"}
    assert all(value >= 0 for (kind, _), (value, _) in found.items() if kind == "drift")
    assert query(settings, "select score_date, decision from review_decisions")[1] == [("2020-08-02", "fine")]


def test_drift_beyond_the_bound_alerts_and_says_of_what(scored_world: World) -> None:
    settings = scored_world.settings.model_copy(update={"review": Review(max_drift=1e-6)})
    found = review(settings, night(NEXT))
    assert found["decision"] == "alert"
    assert "what customers do has moved since training" in found["why"]
    assert not training_due(settings, NEXT)  # an alert trains nothing


def test_scores_worse_than_the_test_make_a_training_due(scored_world: World) -> None:
    settings, champion = scored_world.settings, open_registry(scored_world.settings).champion()
    assert champion is not None
    day = night(NEXT).score_date
    one = {"score_date": day, "horizon_days": PRIMARY, "customers": 100, "reviewed_at": NEXT}
    losses = {"log_loss": (3.0, 2.9, 3.1), "roc_auc": (0.6, 0.5, 0.7)}
    rows = [{**one, "metric": name, "value": v, "low": low, "high": high} for name, (v, low, high) in losses.items()]
    with predictions_of(settings).writing() as connection:
        connection.execute(update(nights).values(known_until=day))
        connection.execute(insert(reviews), rows)
    found = review(settings, night(NEXT))
    assert found["decision"] == "retrain"
    assert "the log loss of past scores, 3.000, is above" in found["why"]
    # What a training has just ended with is not tried again the next day, but a week later it is.
    assert not training_due(settings, NEXT)
    later = FIRST + settings.question.cutoff_every * DAY
    with predictions_of(settings).writing() as connection:
        connection.execute(update(retraining_decision).values(score_date=later.date()))
    assert training_due(settings, later)
