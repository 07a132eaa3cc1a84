"""The leak probes of `recur check --leaks`: a sound world passes, and what is planted is named."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow.compute as pc
import pytest

from features.examples.shard import build_shard
from pipeline.training import leak_probes as probes
from tests.features.test_shard import QUESTION
from tests.pipeline.conftest import World
from tests.support.worlds.event_worlds import START, build, revisions


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
    def looking_ahead(events, request):
        shard = build_shard(events, request)
        total = np.full(len(shard.cutoff), pc.sum(events["amount"]).as_py())
        return replace(shard, aggregates=shard.aggregates | {"amount_total": total})

    monkeypatch.setattr(probes, "build_shard", looking_ahead)
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
    one = build(revisions(3), [cutoff], QUESTION)
    changed = revisions(3).assign(amount=lambda rows: rows["amount"] + 1)
    other = build(changed, [cutoff], QUESTION)
    assert probes.differences(one, one) == []
    found = probes.differences(one, other)
    assert "amount_total" in found
    assert "the sequences" in found
    assert "events_28" not in found
