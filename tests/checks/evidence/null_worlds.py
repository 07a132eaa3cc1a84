"""Worlds with nothing in time, whose true probabilities are known: how often is a decision false?

A decision is false when the expected difference of those very fits, under the true probabilities of the test examples,
does not have its sign: `recurrent` where the best of the recurrent side is not ahead of every opponent, `conventional`
where the best of the other side is not, `adds` where the member adds nothing to the pool or to the twin's, `harms`
where it does not take away. The path from a world to the decisions is the product's own
(`tests/support/worlds/stated.py`), with one forward window.

Without arguments: 40 repeats of each world at reduced size, of which at most `FALSELY` may be false in each decision.
`--size real --repeats 0 10` is the size of the real sets, with two seeds; LightGBM is tuned once a world and size, on a
draw of its own. A repeat is a line of the ledger in the folder `--ledger`: what is there is not run again, and several
processes fill it side by side (`--worlds bg-nbd memoryless` here, the others there, or `--repeats 0 20` and
`--repeats 20 40`). `--write` publishes what the ledger holds to docs/results/null_worlds.json.
"""

import argparse
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from models import model_class
from tests.support.ledger import Ledger
from tests.support.worlds.null_worlds import NULL_WORLDS, Size, null_snapshot
from tests.support.worlds.stated import Plan, Truth, stated, tuned_lightgbm

ROOT = Path(__file__).parents[3]
LEDGER, PUBLISHED = ROOT / "var" / "ledgers", ROOT / "docs" / "results" / "null_worlds.json"
SIZES = {"reduced": Size(300, 476, 28), "real": Size(4_000, 728, 14)}
SEEDS, TRIALS, REPEATS = {"reduced": 1, "real": 2}, {"reduced": 50, "real": 50}, {"reduced": 40, "real": 10}
MODELS = (
    *("recency", "logistic_regression", "random_forest", "lightgbm", "feed_forward"),
    *("hazard_logistic_regression", "hazard_lightgbm", "bg_nbd", "pareto_nbd"),
    *("gru", "survival_gru", "hybrid_gru"),
)
ONE_NETWORK = {"seeds": 1}  # at reduced size, of those who would average several
DECISIONS = ("recurrent", "conventional", "adds", "harms")
FALSELY = 2 / 40
KEY = ("world", "size", "repeat")
TUNED, BETWEEN_WORLDS = -1, 10_000


def main(
    worlds: Sequence[str] = tuple(NULL_WORLDS),
    size: str = "reduced",
    repeats: tuple[int, int] | None = None,
    ledger: Path = LEDGER,
    write: Path | None = None,
) -> bool:
    first, last = repeats or (0, REPEATS[size])
    book = Ledger(ledger / "null_worlds.jsonl", KEY)
    for world in worlds:
        for repeat in (TUNED, *range(first, last)):
            if (world, size, repeat) not in book.read():
                began = time.monotonic()
                record = tuned(world, size) if repeat == TUNED else repeated(world, size, repeat, book)
                seconds = round(time.monotonic() - began, 1)
                book.add({"world": world, "size": size, "repeat": repeat, "seconds": seconds, **record})
                print(f"{world:14s} {size} {repeat:3d} {seconds:6.1f} s  {_shown(record)}", flush=True)
    holds = True
    for world in worlds:
        records = [
            record
            for (name, of_size, repeat), record in book.read().items()
            if (name, of_size) == (world, size) and first <= repeat < last
        ]
        false = Counter(decision for record in records for decision in record["false"])
        holds = holds and all(false[decision] <= FALSELY * max(len(records), 40) for decision in DECISIONS)
        counts = ", ".join(f"{decision} {false[decision]}" for decision in DECISIONS)
        print(f"{world:14s} {size}: of {len(records)} repeats false: {counts}")
    if write:
        write.write_text(json.dumps(published(book), indent=1) + "\n", "utf-8")
    return holds


def tuned(world: str, size: str) -> dict[str, Any]:
    """What LightGBM's tuning finds in a draw of the world that no repeat has."""
    snapshot = null_snapshot(world, SIZES[size], _seed(world, TUNED))
    return {"lightgbm": tuned_lightgbm(snapshot, TRIALS[size], 0)}


def repeated(world: str, size: str, repeat: int, book: Ledger) -> dict[str, Any]:
    """One repeat: the decisions, and what the truth says of them."""
    plan = Plan(recipes(size, book.read()[world, size, TUNED]["lightgbm"]), SEEDS[size])
    snapshot = null_snapshot(world, SIZES[size], _seed(world, repeat))
    truth = NULL_WORLDS[world].truth(snapshot.parts(0).test)
    return Truth(stated(snapshot, plan, repeat), truth).to_json()


def recipes(size: str, lightgbm: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Parameters by model: the defaults, but for LightGBM's and for the networks of reduced size."""
    fewer = ONE_NETWORK if size == "reduced" else {}
    of_networks = {name: {key: fewer[key] for key in fewer if key in model_class(name).defaults} for name in MODELS}
    return of_networks | {"lightgbm": dict(lightgbm)}


def published(book: Ledger) -> dict[str, Any]:
    """By size and world: how many repeats there are, each decision's count and how many of it are false, in how many a
    member was chosen, and each repeat's record.
    """
    sizes: dict[str, Any] = {}
    for (world, size, repeat), record in book.read().items():
        of_world = sizes.setdefault(size, {}).setdefault(world, {"lightgbm": {}, "records": []})
        if repeat == TUNED:
            of_world["lightgbm"] = record["lightgbm"]
        else:
            of_world["records"].append({key: value for key, value in record.items() if key not in ("world", "size")})
    return {
        size: {
            world: {
                "repeats": len(content["records"]),
                "decided": {name: _count(content["records"], name) for name in DECISIONS},
                "false": {name: sum(name in record["false"] for record in content["records"]) for name in DECISIONS},
                "member_chosen": sum(record["member"] is not None for record in content["records"]),
                **content,
            }
            for world, content in worlds.items()
        }
        for size, worlds in sizes.items()
    }


def _count(records: Sequence[Mapping[str, Any]], decision: str) -> int:
    return sum(decision in (record["verdict"], record["contribution"]) for record in records)


def _seed(world: str, repeat: int) -> int:
    return BETWEEN_WORLDS * (1 + list(NULL_WORLDS).index(world)) + repeat


def _shown(record: Mapping[str, Any]) -> str:
    if "lightgbm" in record:
        return f"LightGBM tuned: {record['lightgbm']}"
    false = f"  FALSE: {', '.join(record['false'])}" if record["false"] else ""
    gain = record["pool_difference"]
    return (
        f"{record['best_recurrent']} against {record['hardest']}: {record['verdict']}; {record['best_ranked']} "
        f"({'chosen' if record['member'] else 'not chosen'}): {record['contribution']} {gain['difference']:+.4f} "
        f"(expected {gain['expected']:+.4f}){false}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", choices=list(NULL_WORLDS), default=list(NULL_WORLDS))
    parser.add_argument("--size", choices=list(SIZES), default="reduced")
    parser.add_argument("--repeats", nargs=2, type=int, metavar=("FIRST", "PAST_LAST"))
    parser.add_argument("--ledger", type=Path, default=LEDGER)
    parser.add_argument("--write", action="store_true")
    arguments = vars(parser.parse_args())
    write = PUBLISHED if arguments.pop("write") else None
    sys.exit(0 if main(**arguments, write=write) else 1)
