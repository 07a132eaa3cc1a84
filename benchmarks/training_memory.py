"""What training a recurrent network needs of memory, against the number of steps of its histories.

`--steps A,B,...` sets the sizes. A dataset is written in shards, read back and fitted for one epoch, each size in a
process of its own. Memory is the peak of what the process holds itself (`RssAnon`) over what it held with TensorFlow
imported: pages of long columns lie in files, and the system takes them back as it needs. Beside it stands what the
columns would be in memory. Linux only.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

import benchmarks.support.results

STEPS_A_HISTORY, EXAMPLES_A_HISTORY, DAY = 100, 2, 86_400_000_000
COLUMNS_A_STEP = 3 * 8 + 4  # bytes: time, amount, quantity, type


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog="training-memory")
    options.add_argument("--steps", default="1000000,4000000,16000000")
    options.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = options.parse_args(arguments)
    if asked.one:
        print(json.dumps(_measured(asked.one)))
        return
    sizes = [int(size) for size in asked.steps.split(",")]
    figures: dict[str, float] = {}
    for size in sizes:
        command = [sys.executable, "-m", "benchmarks", "training-memory", "--one", str(size)]
        answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
        found = json.loads(answer.splitlines()[-1])
        print(f"{size:,} steps: {found}", flush=True)
        figures |= {f"{name}_{size}": value for name, value in found.items()}
    first, last = (figures[f"peak_bytes_{size}"] for size in (sizes[0], sizes[-1]))
    ratios = {"memory_growth": last / first, "size_growth": sizes[-1] / sizes[0]}
    benchmarks.support.results.write("training-memory", {"steps": sizes[-1]}, figures, {}, ratios)


def _measured(steps: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as scratch:
        # Made by another process, whose memory is not ours.
        make = f"from benchmarks.training_memory import make; make({scratch!r}, {steps})"
        subprocess.run([sys.executable, "-c", make], check=True)
        from models.networks.training import train  # noqa: F401  # with it TensorFlow, whose own memory is not counted
        from models.recurrent.cells.gru import GRU
        from pipeline.datasets.dataset_files import read_dataset

        before, peak, stop = _held(), [0], threading.Event()

        def watch() -> None:
            while not stop.wait(0.05):
                peak[0] = max(peak[0], _held())

        watcher = threading.Thread(target=watch)
        watcher.start()
        began = time.monotonic()
        data = read_dataset(Path(scratch))
        model = GRU(data.horizons, 0, max_epochs=1)
        model.fit(data, None)
        seconds = time.monotonic() - began
        stop.set()
        watcher.join()
    channels = len(model.encoder.numeric_channels) * 4 + len(model.encoder.vocabularies) * 4
    return {"peak_bytes": peak[0] - before, "columns_bytes": steps * (COLUMNS_A_STEP + channels), "seconds": seconds}


def _held() -> int:
    """The bytes of anonymous memory that this process holds."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("/proc/self/status tells no RssAnon: this benchmark needs Linux")


def make(folder: str, steps: int) -> None:
    """A dataset of random histories, and examples at their ends."""
    import pyarrow as pa

    from features.dataset import Labels, Sequences
    from features.examples.shard import ShardExamples
    from pipeline.datasets.shard_files import write_shard

    random, histories = np.random.default_rng(0), steps // STEPS_A_HISTORY
    gaps = random.integers(1, 10 * DAY, (histories, STEPS_A_HISTORY))
    time_of = np.cumsum(gaps, axis=1)
    examples = histories * EXAMPLES_A_HISTORY
    history = np.repeat(np.arange(histories), EXAMPLES_A_HISTORY)
    length = np.tile([STEPS_A_HISTORY // 2, STEPS_A_HISTORY], histories)
    cutoff = time_of[history, length - 1] + DAY
    labels = [random.random((examples, 1)) for _ in range(2)]
    shard = ShardExamples(
        customer_id=pa.array([f"c{number:08d}" for number in history]),
        cutoff=cutoff,
        aggregates={},
        sequences=Sequences(
            offsets=np.arange(histories + 1) * STEPS_A_HISTORY,
            event_time=time_of.ravel(),
            numeric={"amount": random.gamma(2, 20, steps), "quantity": random.integers(1, 9, steps).astype(float)},
            categorical={"event_type": (random.integers(0, 3, steps).astype(np.int32), ["a", "b", "c"])},
            history=history,
            length=length,
        ),
        labels=Labels((labels[0] > 0.5).astype(float), *labels),
        earlier=None,
        customers=pa.array([], pa.string()),
        last_event=np.zeros(0, np.int64),
    )
    write_shard(Path(folder), shard, (28,))
