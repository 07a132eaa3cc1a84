"""Worlds whose true probability is known: which share of what could be gained does each kind of model gain?

Small by default (one repeat of few models takes some twenty seconds on one core): the bars of 19 in 20 and of 2 in 40
repeats need `python -m tests.checks.evidence.planted_worlds --repeats 20`, and `--worlds memoryless counts-only
--repeats 40`; `--models`, `--customers` and the bars themselves are arguments too. The networks get what a user would
give them who expects long memory (chrono initialisation) and has plenty of examples (more epochs, little
regularisation); LightGBM has its defaults and stops on validation. The verdict is on the best of each side on
validation; the feed-forward network is of neither, and shows what a network gains without a memory.

With `--write FILE` what was found is kept there, in the place of what it held of these worlds. README's first table of
worlds is of `docs/results/planted_worlds.json`: `--repeats 20`, then `--worlds memoryless counts-only --repeats 40` and
`--worlds signal-1000-back --repeats 20`; its second of `docs/results/lags.json`: `--worlds signal-10-back
signal-100-back signal-1000-back --models lightgbm simple_rnn lstm gru`.

Where there is a pattern the test is as large as it takes to tell, whatever the customers to learn from: a verdict that
fails for want of test customers says nothing of models. Where there is none it has a fourth as many, since a large one
would tell differences of fit that are no pattern.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from models import MODELS as ALL_MODELS
from models import model_class
from models.evaluation.intervals import customer_weights
from models.evaluation.metrics import example_log_loss
from models.evaluation.result import Result
from models.evaluation.statements.verdict import Verdict, verdict
from tests.support.worlds.planted_worlds import IN_TIME, QUESTION, WORLDS, planted, share_of_gain

NETWORK = {"max_epochs": 20, "patience": 6, "dropout": 0.0, "weight_decay": 0.01, "max_steps": 2_000, "batch_size": 64}
CUSTOMERS, REPEATS = 3_200, 1
OTHERWISE = {"growing-gaps-own-pace": 8_000, "signal-1000-back": 2_000}  # more to learn; long histories
TESTED = 8_000
FEWER = {"signal-1000-back": 2_000}  # where histories are long
TEST_SEEDS = 1_000_000
MODELS = ("logistic_regression", "random_forest", "lightgbm", "feed_forward", "gru")
GATED = ("lstm", "gru", "survival_gru", "hybrid_gru")
# Windows of fixed lengths hold the trend of "growing-gaps", so that there is nothing to be ahead by.
DEFAULT = [name for name in WORLDS if name not in ("growing-gaps", "signal-100-back", "signal-1000-back")]
SHARE, AHEAD, MARGIN = 0.90, 0.30, 0.002
FAR_AHEAD = ("a-then-b", "signal-1000-back")  # where LightGBM must lie `AHEAD` behind


def main(
    worlds: Sequence[str] = DEFAULT,
    customers: int | None = None,
    repeats: int = REPEATS,
    models: Sequence[str] = MODELS,
    least_share: float = SHARE,
    least_ahead: float = AHEAD,
    said_of_twenty: int = 19,
    falsely_of_forty: int = 2,
    write: Path | None = None,
) -> bool:
    print(f"{repeats} repeat(s); of a world's customers 3/4 train, 1/4 validate, and others test")
    held, shares_in_time = True, []
    for name in worlds:
        shares: dict[str, list[float]] = {}
        decisions, best = [], []
        for repeat in range(repeats):
            began = time.monotonic()
            share, said = _compare(name, customers or OTHERWISE.get(name, CUSTOMERS), repeat, models)
            for model, value in share.items():
                if np.isfinite(value):
                    shares.setdefault(model, []).append(round(value, 3))
            decisions.append(said.decision)
            assert said.best_recurrent is not None
            assert said.best_conventional is not None
            best.append((share[said.best_recurrent], share[said.best_conventional]))
            told = "  ".join(f"{model} {value:.2f}" for model, value in share.items() if np.isfinite(value))
            told = told or "nothing can be gained;"
            print(
                f"{name:18s} {told}  {said.best_recurrent} against {said.best_conventional}: {said.decision} "
                f"{said.difference:+.4f} ({said.low:+.4f} to {said.high:+.4f}) ({time.monotonic() - began:.0f} s)",
                flush=True,
            )
        if write:
            _keep(write, name, {"shares": shares, "decisions": decisions})
        ahead = decisions.count("recurrent")
        if name in IN_TIME:
            recurrent, conventional = np.mean(best, axis=0)
            shares_in_time.append(recurrent)
            fine = recurrent >= least_share and recurrent > conventional and ahead >= said_of_twenty / 20 * repeats
            if name in FAR_AHEAD and "lightgbm" in shares:
                fine = fine and recurrent - float(np.mean(shares["lightgbm"])) >= least_ahead
        else:
            fine = ahead <= falsely_of_forty / 40 * repeats
        print(f"{name:18s} {'as it should be' if fine else 'FALLS SHORT'}: `recurrent` in {ahead} of {repeats}")
        held = held and fine
    if shares_in_time:
        print(f"least share of the achievable gain by the best recurrent model: {min(shares_in_time):.2f}")
    return held


def _keep(file: Path, world: str, found: dict[str, Any]) -> None:
    """Of each world the decisions, and by model the shares where anything can be gained: one a repeat."""
    held = json.loads(file.read_text("utf-8")) if file.exists() else {}
    file.write_text(json.dumps(held | {world: found}, indent=1) + "\n", "utf-8")


def recipe(name: str, model: str) -> dict[str, Any]:
    """Parameters for a world. A long memory is asked for where histories are longer than the default's."""
    if "max_epochs" not in model_class(model).defaults:
        return {}
    lag = int(name.split("-")[1]) if name.startswith("signal") else 40
    known = {key: value for key, value in NETWORK.items() if key in model_class(model).defaults}
    return {**known, "chrono": max(lag, 40)} if model in GATED else known


def _compare(name: str, customers: int, seed: int, models: Sequence[str]) -> tuple[dict[str, float], Verdict]:
    """Each model's share of what can be gained, and the verdict."""
    data, _ = planted(name, customers, 1_000 + seed)
    part = np.arange(len(data)) % 4
    train, valid = data.select(part < 3), data.select(part == 3)
    tested = FEWER.get(name, TESTED) if name in IN_TIME else customers // 4
    test, truth = planted(name, tested, TEST_SEEDS + seed)
    assert valid.labels is not None
    assert test.labels is not None
    results, shares = [], {}
    for model_name in models:
        model = model_class(model_name)(QUESTION.horizons, seed, **recipe(name, model_name))
        model.fit(train, valid)
        said = model.predict(test).churn_probability[:, 0]
        shares[model_name] = share_of_gain(said, truth)
        loss = example_log_loss(valid.labels.churn[:, 0], model.predict(valid).churn_probability[:, 0]).mean()
        results.append(Result(model_name, model.family, "", "", float(loss), said, 0.0, 0.0))
    weights = customer_weights(test.customer_id, 10_000, seed)
    return shares, verdict(results, test.labels.churn[:, 0], weights, MARGIN)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=DEFAULT)
    parser.add_argument(
        "--customers",
        type=int,
        help=f"to learn from: {CUSTOMERS:,} unless told, and otherwise for {', '.join(OTHERWISE)}",
    )
    parser.add_argument("--repeats", type=int, default=REPEATS)
    parser.add_argument("--models", nargs="+", choices=list(ALL_MODELS), default=MODELS)
    parser.add_argument("--least-share", type=float, default=SHARE)
    parser.add_argument("--least-ahead", type=float, default=AHEAD)
    parser.add_argument("--said-of-twenty", type=int, default=19)
    parser.add_argument("--falsely-of-forty", type=int, default=2)
    parser.add_argument("--write", type=Path)
    sys.exit(0 if main(**vars(parser.parse_args())) else 1)
