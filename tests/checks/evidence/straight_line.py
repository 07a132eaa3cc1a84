"""Where a straight line on the aggregates is the truth, does the hybrid lose anything to the logistic regression, or
the recurrent pool to the conventional one?

The world is `tests/support/worlds/linear/straight_line.py`; losses are expected ones, under the true probabilities of
the test examples, of contenders as the product makes them.
`hybrid_gru` is tried with either head: taught by inter-event times,
its default, and by churn labels. The pool's member is the default. A repeat is a line of the ledger in the folder
`--ledger`: what is there is not run again, and several processes fill it side by side.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from features.arrays import Floats
from models import POOLED
from models.contender import Contender, Procedure, contend, pool
from models.evaluation.metrics import clip_probabilities
from models.spec import ModelSpec
from tests.support.ledger import Ledger
from tests.support.worlds.linear.straight_line import straight_line_snapshot

LEDGER = Path(__file__).parents[3] / "var" / "ledgers"
SIZES, REPEATS = (500, 5_000), (0, 2)
BY_CHURN = {"churn_weight": 1.0, "gap_weight": 0.0}
MOST = 0.001  # nats behind, the mean of the repeats
KEY = ("customers", "repeat")
BETWEEN_SIZES = 1_000


def main(sizes: tuple[int, ...] = SIZES, repeats: tuple[int, int] = REPEATS, ledger: Path = LEDGER) -> bool:
    book = Ledger(ledger / "straight_line.jsonl", KEY)
    for customers in sizes:
        for repeat in range(*repeats):
            if (customers, repeat) not in book.read():
                began = time.monotonic()
                record = repeated(customers, repeat)
                seconds = round(time.monotonic() - began, 1)
                book.add({"customers": customers, "repeat": repeat, "seconds": seconds, **record})
                print(f"{customers:5d} customers {repeat:3d} {seconds:6.1f} s  {record}", flush=True)
    holds = True
    for customers in sizes:
        records = [
            each for (size, number), each in book.read().items() if size == customers and number in range(*repeats)
        ]
        for name in ("hybrid", "hybrid_by_churn", "pool"):
            behind = float(np.mean([record[name] for record in records]))
            holds = holds and behind <= MOST
            print(f"{customers:5d} customers: {name} is {behind:+.4f} behind, the mean of {len(records)} repeats")
    return holds


def repeated(customers: int, repeat: int) -> dict[str, Any]:
    """By how much each is behind in one draw of the world, and the shares that the hybrids gave their states."""
    snapshot, truth = straight_line_snapshot(customers, BETWEEN_SIZES * customers + repeat)
    parts, procedure = snapshot.parts(0), Procedure(snapshot.question.horizons)
    specs = {name: ModelSpec(name, {}) for name in (*POOLED, "hybrid_gru")}
    specs["by_churn"] = ModelSpec("hybrid_gru", BY_CHURN)
    made = {name: contend(spec, parts, procedure, repeat) for name, spec in specs.items()}
    contenders = {name: contender for name, (contender, *_) in made.items()}
    for name, members in (("conventional_pool", POOLED), ("recurrent_pool", (*POOLED, "hybrid_gru"))):
        raw = pool([contenders[member].raw for member in members], procedure)
        contenders[name] = Contender.of(raw, parts, procedure)
    loss = {
        name: expected_loss(truth, contender.test.churn_probability[:, 0]) for name, contender in contenders.items()
    }
    return {
        "hybrid": round(loss["hybrid_gru"] - loss["logistic_regression"], 5),
        "hybrid_by_churn": round(loss["by_churn"] - loss["logistic_regression"], 5),
        "pool": round(loss["recurrent_pool"] - loss["conventional_pool"], 5),
        "shares": [round(made[name][1].parameters["state_share"], 3) for name in ("hybrid_gru", "by_churn")],
        "over_the_truth": round(loss["logistic_regression"] - expected_loss(truth, truth), 5),
    }


def expected_loss(truth: Floats, probability: Floats) -> float:
    """In nats, under the true probabilities `[examples]`."""
    clipped = clip_probabilities(probability)
    return float(-np.mean(truth * np.log(clipped) + (1 - truth) * np.log(1 - clipped)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--repeats", nargs=2, type=int, default=REPEATS, metavar=("FIRST", "PAST_LAST"))
    parser.add_argument("--ledger", type=Path, default=LEDGER)
    arguments = parser.parse_args()
    sys.exit(0 if main(tuple(arguments.sizes), tuple(arguments.repeats), arguments.ledger) else 1)
