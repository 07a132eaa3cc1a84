"""The leak probes of `recur check --leaks`: a sound world passes, and what is planted is named."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from features.build import build_dataset
from pipeline.training import leak_probes as probes
from tests.pipeline.conftest import World
from tests.support.worlds.event_worlds import ATTRIBUTES, END, START, revisions, table


def test_a_sound_world_passes_every_probe(fresh_world: World) -> None:
    found = {finding.what: finding for finding in probes.probes(fresh_world.settings)}
    assert list(found) == [
        "events at or after the cutoff",
        "rows known only after the cutoff",
        "events past the horizon",
        "shuffled labels",
        "columns",
        "planted leak",
        "random split",
    ]
    assert {finding.state for finding in found.values()} == {"right"}
    assert "no feature moved" in found["events at or after the cutoff"].words


def test_features_that_look_past_the_cutoff_are_named(fresh_world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def looking_ahead(events, cutoffs, question, attributes, labelled_until=None):
        data = build_dataset(events, cutoffs, question, attributes, labelled_until)
        return replace(data, aggregates=data.aggregates.assign(amount_total=events.amount.sum().execute()))

    monkeypatch.setattr(probes, "build_dataset", looking_ahead)
    wrong = [finding for finding in probes.probes(fresh_world.settings) if finding.state == "wrong"]
    assert [finding.what for finding in wrong] == ["events at or after the cutoff", "rows known only after the cutoff"]
    for finding in wrong:
        assert "changed: amount_total, added: amount_total, removed: amount_total" in finding.words


def test_a_column_that_holds_the_label_is_named_and_others_are_not() -> None:
    random = np.random.default_rng(0)
    churn = (random.random(500) < 0.3).astype(float)
    values = np.column_stack([random.normal(size=500), 1 - churn + random.normal(0, 0.05, 500)])
    found = probes.telling(values, ["noise", "cancelled"], churn, np.arange(500))
    assert list(found) == ["cancelled"]
    assert found["cancelled"] > 0.99


def test_differences_name_the_columns_and_the_sequences() -> None:
    cutoff = START + timedelta(days=120)
    from tests.features.test_build import QUESTION

    one = build_dataset(table(revisions(3)), [cutoff], QUESTION, ATTRIBUTES, END)
    changed = revisions(3).assign(amount=lambda rows: rows["amount"] + 1)
    other = build_dataset(table(changed), [cutoff], QUESTION, ATTRIBUTES, END)
    assert probes.differences(one, one) == []
    found = probes.differences(one, other)
    assert "amount_total" in found
    assert "the sequences" in found
    assert "events_28" not in found
