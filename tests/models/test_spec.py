"""A spec is known by its recipe, not by what a fit found."""

import pytest

from models.spec import ModelSpec


def test_what_fitting_found_is_no_part_of_the_identity():
    fitted = ModelSpec("lightgbm", {"leaves": 15, "rounds": {"churn_28": 40}})
    plain = ModelSpec("lightgbm", {})
    assert fitted.identity == plain.identity
    assert plain.identity != ModelSpec("lightgbm", {"leaves": 31}).identity
    assert plain.identity.startswith(
        'lightgbm {"bags": 3, "calendar": true, "categories": true, "extra_trees": false, "l2": 10.0, '
    )
    assert "rounds" not in fitted.recipe.parameters


def test_it_builds_the_model_with_all_its_parameters():
    model = ModelSpec("lightgbm", {"rounds": {"churn_28": 40}}).build((28,), 5)
    assert (model.horizons, model.parameters["rounds"]) == ((28,), {"churn_28": 40})
    with pytest.raises(ValueError, match="no parameters"):
        ModelSpec("recency", {"leaves": 3}).build((28,), 5)
