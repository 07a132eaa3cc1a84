"""A year of nights with late, corrected, moved and deleted events: each night, predictions from carried state beside
those from whole histories.
"""

import tempfile
import time
from pathlib import Path

from pipeline.config.sections import Addresses, Paths
from pipeline.runtime.nights import DAY
from tests.support.untrained import untrained
from tests.support.worlds.carried_world import (
    START,
    difference,
    made_up_revisions,
    make_world,
    recomputed,
    updater,
    version,
    write_night,
)

MODELS = {"simple_rnn": {}, "lstm": {"seeds": 2}, "gru": {}, "survival_gru": {}, "hybrid_gru": {}}
BEFORE, NIGHTS = 120, 365  # days
CUSTOMERS, BUSIEST = 60, 4_000
TOLERANCE = 1e-5
SPREAD = 0.01  # the least standard deviation of a model's scores: constant ones would agree for nothing


def main() -> bool:
    with tempfile.TemporaryDirectory() as scratch:
        settings = make_world(Path(scratch))
        revisions = made_up_revisions(BEFORE + NIGHTS, CUSTOMERS, BUSIEST, seed=7)
        first, began = START + BEFORE * DAY, time.monotonic()
        write_night(settings, revisions, None, first)
        examples = recomputed(settings, first, [first - 28 * DAY])
        worst = dict.fromkeys(MODELS, 0.0)
        eligible, updaters = 0, {}
        models = {name: untrained(name, examples, units=7, **more) for name, more in MODELS.items()}
        spread = {name: float(model.predict(examples).churn_probability.std()) for name, model in models.items()}
        for name, model in models.items():
            changes = {"addresses": Addresses(events=str(settings.events)), "paths": Paths(var=f"var_{name}")}
            own = settings.model_copy(update=changes)
            updaters[name] = updater(own, version(own, name), model, events_a_shard=2_000)
        for night in range(NIGHTS):
            cutoff = first + night * DAY
            if night:
                write_night(settings, revisions, cutoff - DAY, cutoff)
            data = recomputed(settings, cutoff)
            eligible += len(data)
            for name, model in models.items():
                worst[name] = max(worst[name], difference(updaters[name], cutoff, data, model))
            if night % 30 == 0:
                print(f"{cutoff.date()}: {len(data)} customers, {time.monotonic() - began:.0f} s", flush=True)
        lengths = data.sequences.length
    ids = revisions["event_id"]
    late = revisions["known_time"] > revisions["event_time"].dt.ceil("D") + DAY
    print(f"{len(ids):,} revisions of {ids.nunique():,} events, {int(late.sum()):,} late or later corrections")
    print(
        f"{eligible:,} customers over {NIGHTS} nights; "
        f"histories of {lengths.min()} to {lengths.max():,} events at the end"
    )
    for name, most in worst.items():
        print(f"{name:14s} {most:.1e}, where the standard deviation of its scores is {spread[name]:.2f}")
    print(f"largest difference: {max(worst.values()):.1e}")
    return max(worst.values()) <= TOLERANCE and min(spread.values()) > SPREAD
