import numpy as np
import pytest
from sklearn.ensemble import RandomForestClassifier

from models.conventional.random_forest import Forest


def test_the_arrays_predict_what_scikit_learn_predicts():
    random = np.random.default_rng(2)
    rows = random.normal(size=(400, 5)).astype(np.float32)
    churn = (rows[:, 0] + rows[:, 1] * rows[:, 2] + random.normal(size=400) > 0).astype(float)
    grown = RandomForestClassifier(8, min_samples_leaf=3, random_state=1).fit(rows, churn)
    purchases = random.poisson(3, 400)
    forest = Forest.of(grown, rows, purchases[:, None].astype(float))
    unseen = random.normal(size=(300, 5)).astype(np.float32)
    assert forest.read(unseen)[:, 0] == pytest.approx(grown.predict_proba(unseen)[:, 1], abs=1e-12)
    leaves = grown.apply(rows)
    by_hand = np.mean(
        [purchases[leaves[:, tree] == leaf].mean() for tree, leaf in enumerate(grown.apply(unseen[:1])[0])]
    )
    assert forest.read(unseen[:1])[0, 1] == pytest.approx(by_hand)


def test_a_forest_that_saw_no_churn_expects_none():
    rows = np.arange(20, dtype=np.float32)[:, None]
    grown = RandomForestClassifier(3, random_state=1).fit(rows, np.zeros(20))
    assert not Forest.of(grown, rows, np.zeros((20, 2))).read(rows).any()
