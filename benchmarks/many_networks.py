"""Eight networks in one training against one network, and against eight trainings of one: a GRU on every weekly cutoff
of Complete Journey, training and predicting.

Networks of one training share their reader, their traced functions and the cores. `--networks`, `--epochs` and `--runs`
set the size; contenders take turns, and figures are medians over the runs.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import benchmarks.support.results
from benchmarks.support.journey import journey
from features.dataset import Dataset
from models.recurrent.cells.gru import GRU

SEED = 5


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="many-networks")
    options.add_argument("--folder", type=Path, help="where the examples lie, or are kept for the next time")
    options.add_argument("--networks", type=int, default=8)
    options.add_argument("--epochs", type=int, default=3)
    options.add_argument("--runs", type=int, default=3)
    asked = options.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        snapshot = journey(asked.folder or Path(scratch))
        train, test = snapshot.part("train"), snapshot.part("test")

    def fitted(networks: int, first: int = 0) -> GRU:
        model = GRU(train.horizons, SEED + first, max_epochs=asked.epochs, seeds=networks)
        model.fit(train, None)
        return model

    fitted(1)  # traced and warm
    many, one = "in_one_training", "one_network"
    contenders: dict[str, Callable[[], list[GRU]]] = {
        one: lambda: [fitted(1)],
        many: lambda: [fitted(asked.networks)],
        "in_turn": lambda: [fitted(1, number) for number in range(asked.networks)],
    }
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    for _ in range(asked.runs):
        for name, contender in contenders.items():
            seconds[name].append(_timed(contender, test))
            print(
                f"{name}: trained in {seconds[name][-1][0]:.1f} s, predicted in {seconds[name][-1][1]:.2f} s",
                flush=True,
            )

    def ratio(peer: str, of: int) -> float:
        return statistics.median(
            ours[of] / theirs[of] for ours, theirs in zip(seconds[many], seconds[peer], strict=True)
        )

    tasks = ("training", "predicting")
    figures = {
        f"{task}_seconds_{name}": statistics.median(each[of] for each in own)
        for name, own in seconds.items()
        for of, task in enumerate(tasks)
    }
    ratios = {f"{task}_against_{peer}": ratio(peer, of) for peer in (one, "in_turn") for of, task in enumerate(tasks)}
    sizes = {"examples": len(train), "networks": asked.networks, "epochs": asked.epochs}
    benchmarks.support.results.write("many-networks", sizes, figures, {}, ratios)


def _timed(contender: Callable[[], list[GRU]], test: Dataset) -> tuple[float, float]:
    """Wall seconds of training and of predicting `test`."""
    began = time.perf_counter()
    models = contender()
    trained = time.perf_counter()
    for model in models:
        model.predict(test)
    return trained - began, time.perf_counter() - trained
