"""SIGKILL at random instants across a night's work (extract, validate, load, score, publish, with a conventional
champion), then the same night again: the event store, the quarantine and the predictions are those of an uninterrupted
run, and nothing is left over.

`CRASH_KILLS` sets the number of kills (100), `CRASH_SEED` their instants. Every step is hit as often as every other, at
an instant drawn from the time that it last took; what it imports was imported before. A kill that finds the night's
work done is drawn again and does not count.
"""

import os
import random
import signal
import tempfile
import time
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection
from pathlib import Path

from tests.support.worlds.one_night import (
    DONE,
    STEPS,
    differences,
    finish,
    import_everything,
    make_world,
    restore,
    start,
    state,
    work_through,
)

LIMIT_MINUTES = 25


def main() -> bool:
    kills, seed = int(os.environ.get("CRASH_KILLS", "100")), int(os.environ.get("CRASH_SEED", "20171204"))
    import_everything()
    instants, began = random.Random(seed), time.monotonic()
    hit: Counter[str] = Counter()
    late, wrong = 0, []
    with tempfile.TemporaryDirectory() as scratch:
        pristine, folder = Path(scratch) / "pristine", Path(scratch) / "night"
        assert finish(start(make_world, pristine)[0]), "the world before the night could not be made"
        restore(pristine, folder)
        seconds = _work(folder)
        assert seconds, "the uninterrupted night failed"
        expected = state(folder)
        print("a night takes " + ", ".join(f"{step} {seconds[step]:.2f} s" for step in STEPS), flush=True)
        while hit.total() < kills:
            step = STEPS[hit.total() % len(STEPS)]
            restore(pristine, folder)
            after = instants.uniform(0, seconds[step])
            at = _killed(folder, step, after)
            if at == DONE:
                late += 1
                continue
            hit[at] += 1
            where = f"kill {hit.total()}, {after:.3f} s after the start of {step}, in {at}"
            again = _work(folder)
            if not again:
                wrong.append(f"{where}: the night could not be done again")
                continue
            seconds |= {step: again[step]}
            wrong += [f"{where}: {what}" for what in differences(expected, state(folder))]
    took = time.monotonic() - began
    print("killed in " + ", ".join(f"{step} {hit[step]}" for step in STEPS) + f"; drawn again, as too late, {late}")
    print("\n".join(wrong) or "store, quarantine and predictions are those of an uninterrupted night every time")
    print(f"seconds: {took:.0f}, at most {60 * LIMIT_MINUTES}")
    print(f"disagreements after {kills} kills: {len(wrong)}")
    return not wrong and all(hit[step] for step in STEPS) and took <= 60 * LIMIT_MINUTES


def _work(folder: Path) -> dict[str, float]:
    """Works through the night and gives the seconds of each step; nothing where it fails."""
    process, progress = start(work_through, folder)
    marks: list[tuple[str, float]] = []
    with suppress(EOFError):  # it failed
        while not marks or marks[-1][0] != DONE:
            marks.append(progress.recv())
    return {step: following - began for (step, began), (_, following) in pairwise(marks)} if finish(process) else {}


def _killed(folder: Path, step: str, after: float) -> str:
    """Starts the night, kills it `after` seconds into `step`, and gives the step in which the kill fell, or `DONE`."""
    process, progress = start(work_through, folder)
    at = _until(progress, step)
    time.sleep(after)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    with suppress(EOFError):  # the last lines before its end
        while progress.poll():
            at, _ = progress.recv()
    return at


def _until(progress: Connection, step: str) -> str:
    at = ""
    while at != step:
        at, _ = progress.recv()
    return at
