"""Worlds whose true probability is known and whose pattern is in time: which share of what could be gained does each
kind of model gain, and do the verdict and the contribution say that a memory helps?

The path from a world to the decisions is the product's own (`tests/support/worlds/stated.py`): every conventional
contender, hazards on aggregates, the pools and the twin included, against a GRU. The networks have what a user would
give them who has plenty of examples (more epochs, little regularisation), and gates that start with memories as long as
training histories are (`chrono = "history"`): nobody tells them a lag. LightGBM is tuned once a world, on a draw of its
own.

`make check` runs two repeats of the worlds but the one with the longest histories; the bars, `recurrent` in 19 of 20
and `adds` in 19 of 20, need `python -m tests.checks.evidence.planted_worlds --repeats 0 20`, of all.
A repeat is a line of the ledger in the folder `--ledger`: what is there is not run again, and several processes fill it
side by side. `--write` publishes what the ledger holds to docs/results/planted_worlds.json, of which README's first
table of worlds is made. Its second is of docs/results/lags.json: `--lags --write`.

The test is as large as it takes to tell, whatever the customers to learn from: a verdict that fails for want of test
customers says nothing of models.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import model_class
from tests.support.ledger import Ledger
from tests.support.worlds.planted_worlds import WORLDS, Groups, planted_snapshot, share_of_gain
from tests.support.worlds.stated import Plan, Statements, Truth, stated, tuned_lightgbm

ROOT = Path(__file__).parents[3]
LEDGER, RESULTS = ROOT / "var" / "ledgers", ROOT / "docs" / "results"
NETWORK = {"max_epochs": 20, "patience": 6, "dropout": 0.0, "weight_decay": 0.01, "max_steps": 2_000, "batch_size": 64}
CONVENTIONAL = (
    *("recency", "logistic_regression", "random_forest", "lightgbm", "feed_forward"),
    *("hazard_logistic_regression", "hazard_lightgbm"),
)
MODELS = (*CONVENTIONAL, "gru")
LAGS, OF_LAGS = (
    ("signal-10-back", "signal-100-back", "signal-1000-back"),
    (*("logistic_regression", "random_forest", "lightgbm", "simple_rnn", "lstm", "gru"),),
)
CUSTOMERS, TESTED = 3_200, 8_000
OTHERWISE = {"growing-gaps-own-pace": 8_000, "signal-1000-back": 2_000}  # more to learn; long histories
TESTED_OTHERWISE = {  # small differences; long histories
    "growing-gaps-own-pace": 32_000,
    "signal-1000-back": 2_000,
    "regularity-in-bursts": 2_000,
}
# Windows of fixed lengths hold much of a trend, and where all histories span as many days the whole of it: there may be
# little to be ahead by, or nothing. What these say is published, whatever it is.
OPEN = ("growing-gaps", "growing-gaps-own-pace")
DEFAULT = tuple(name for name in WORLDS if name not in ("memoryless", "counts-only", "signal-100-back"))
QUICK = tuple(name for name in DEFAULT if name not in ("signal-1000-back", "regularity-in-bursts"))
SHARE, SAID, TRIALS = 0.90, 19 / 20, 50
KEY = ("world", "repeat")
TUNED, BETWEEN_WORLDS, FIRST_SEED = -1, 10_000, 1_000_000


def main(
    worlds: Sequence[str] = QUICK,
    models: Sequence[str] = MODELS,
    repeats: tuple[int, int] = (0, 2),
    book: Ledger | None = None,
    write: Path | None = None,
) -> bool:
    book = book or Ledger(LEDGER / "planted_worlds.jsonl", KEY)
    for world in worlds:
        for repeat in (TUNED, *range(*repeats)):
            if (world, repeat) not in book.read():
                began = time.monotonic()
                record = tuned(world) if repeat == TUNED else repeated(world, repeat, models, book)
                seconds = round(time.monotonic() - began, 1)
                book.add({"world": world, "repeat": repeat, "seconds": seconds, **record})
                print(f"{world:22s} {repeat:3d} {seconds:6.1f} s  {_shown(record)}", flush=True)
    holds, least = True, []
    for world in worlds:
        records = [each for (name, repeat), each in book.read().items() if name == world and repeat in range(*repeats)]
        if not records:
            continue
        decided = {word: _count(records, word) for word in ("recurrent", "adds")}
        shares = [_best_share(record) for record in records]
        fine = all(count >= SAID * len(records) for count in decided.values()) and float(np.mean(shares)) >= SHARE
        holds = holds and (fine or world in OPEN)
        least += [] if world in OPEN else [float(np.mean(shares))]
        word = "as it should be" if fine else "open" if world in OPEN else "FALLS SHORT"
        print(
            f"{world:22s} {word}: `recurrent` in {decided['recurrent']} and `adds` in {decided['adds']} of "
            f"{len(records)}; the best of the recurrent side gains {np.mean(shares):.2f}"
        )
    if write:
        write.write_text(json.dumps(published(book), indent=1) + "\n", "utf-8")
    if least:
        print(f"least share of the achievable gain by the best of the recurrent side: {min(least):.2f}")
    return holds


def tuned(world: str) -> dict[str, Any]:
    """What LightGBM's tuning finds in a draw of the world that no repeat has."""
    snapshot, _ = planted_snapshot(world, groups(world), _seed(world, TUNED))
    return {"lightgbm": tuned_lightgbm(snapshot, TRIALS, 0)}


def repeated(world: str, repeat: int, models: Sequence[str], book: Ledger) -> dict[str, Any]:
    """One repeat: the decisions, and each model's share of what can be gained."""
    lightgbm = book.read()[world, TUNED]["lightgbm"]
    snapshot, probability = planted_snapshot(world, groups(world), _seed(world, repeat))
    plan = Plan({name: lightgbm if name == "lightgbm" else recipe(name) for name in models})
    statements = stated(snapshot, plan, repeat)
    return {"shares": _shares(statements, probability), **Truth(statements, probability).to_json()}


def groups(world: str) -> Groups:
    customers = OTHERWISE.get(world, CUSTOMERS)
    held_out = customers // 5
    return Groups(customers - 2 * held_out, held_out, held_out, TESTED_OTHERWISE.get(world, TESTED))


def recipe(model: str) -> dict[str, Any]:
    """The parameters of a model: its defaults, but for networks."""
    defaults = model_class(model).defaults
    if "max_epochs" not in defaults:
        return {}
    recipe = {key: value for key, value in NETWORK.items() if key in defaults}
    return recipe | ({"chrono": "history"} if "chrono" in defaults else {})


def published(book: Ledger) -> dict[str, Any]:
    """By world: each model's shares and the decisions of both statements, one a repeat, and the records."""
    worlds: dict[str, Any] = {}
    for (world, repeat), record in book.read().items():
        content = worlds.setdefault(world, {"shares": {}, "decisions": [], "contributions": [], "records": []})
        if repeat == TUNED:
            content["lightgbm"] = record["lightgbm"]
            continue
        for model, share in record["shares"].items():
            content["shares"].setdefault(model, []).append(share)
        content["decisions"].append(record["verdict"])
        content["contributions"].append(record["contribution"])
        content["records"].append({key: value for key, value in record.items() if key not in ("world", "shares")})
    return {world: worlds[world] for world in WORLDS if world in worlds}


def _shares(statements: Statements, probability: np.ndarray) -> dict[str, float]:
    """By model, where anything can be gained."""
    shares = {
        result.name: share_of_gain(np.asarray(result.test_probability), probability) for result in statements.results
    }
    return {name: round(share, 3) for name, share in shares.items() if np.isfinite(share)}


def _best_share(record: Mapping[str, Any]) -> float:
    best = record["best_recurrent"]
    return float(record["shares"][best])


def _count(records: Iterable[Mapping[str, Any]], decision: str) -> int:
    return sum(decision in (record["verdict"], record["contribution"]) for record in records)


def _seed(world: str, repeat: int) -> int:
    return FIRST_SEED + BETWEEN_WORLDS * list(WORLDS).index(world) + repeat


def _shown(record: Mapping[str, Any]) -> str:
    if "lightgbm" in record:
        return f"LightGBM tuned: {record['lightgbm']}"
    gain, twin = record["pool_difference"], record["twin_difference"]
    shares = "  ".join(f"{model} {share:.2f}" for model, share in record["shares"].items())
    return (
        f"{shares}  {record['best_recurrent']} against {record['hardest']}: {record['verdict']} "
        f"{record['verdict_difference']['difference']:+.4f}; {record['contribution']} {gain['difference']:+.4f}, "
        f"to the twin {twin['difference']:+.4f}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS))
    parser.add_argument("--repeats", nargs=2, type=int, metavar=("FIRST", "PAST_LAST"))
    parser.add_argument("--lags", action="store_true", help="once, by how many steps back each cell remembers")
    parser.add_argument("--ledger", type=Path, default=LEDGER)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    name = "lags" if arguments.lags else "planted_worlds"
    holds = main(
        arguments.worlds or (LAGS if arguments.lags else DEFAULT),
        OF_LAGS if arguments.lags else MODELS,
        tuple(arguments.repeats or ((0, 1) if arguments.lags else (0, 2))),
        Ledger(arguments.ledger / f"{name}.jsonl", KEY),
        RESULTS / f"{name}.json" if arguments.write else None,
    )
    sys.exit(0 if holds else 1)
