"""200 draws of sources and questions, each worked through whole: no traceback, no row lost, refusals in one line.

`ANY_SOURCE_DRAWS` is another number of draws, `ANY_SOURCE_FIRST` the first seed.
"""

import os
import tempfile
from collections import Counter
from pathlib import Path

from tests.support.worlds.any_source import Draw, empty_mlflow, work

DRAWS = 200


def main() -> bool:
    first, draws = int(os.environ.get("ANY_SOURCE_FIRST", 0)), int(os.environ.get("ANY_SOURCE_DRAWS", DRAWS))
    reached, refusals, faulty = Counter[str](), Counter[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        mlflow = empty_mlflow(Path(scratch))
        for seed in range(first, first + draws):
            draw = Draw.of(seed, networks=True)
            with tempfile.TemporaryDirectory() as folder:
                outcome = work(draw, Path(folder), mlflow)
            reached[outcome.reached] += 1
            if outcome.refused:
                refusals[" ".join(outcome.refused.split()[:7])] += 1
                if "night" in outcome.refused:
                    print(f"{draw}\n  {outcome.refused}", flush=True)
            if outcome.faults:
                faulty += 1
                print(f"{draw}\n  {'; '.join(outcome.faults)}", flush=True)
    print("came as far as: " + ", ".join(f"{name} {count}" for name, count in reached.most_common()))
    for words, count in refusals.most_common():
        print(f"refused {count} times: {words}")
    print(f"faulty draws: {faulty} of {draws}")
    return not faulty
