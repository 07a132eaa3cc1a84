"""SIGKILL in the middle of scoring and publishing, 50 times: yesterday's answer or today's, never a mix, and the rerun
ends right.

Forty kills strike the publishing of 8,000 customers, ten a whole `recur score` of a small trained world, at moments
spread over the time that each takes when it is left alone.
"""

import hashlib
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.steps.publish import publish
from tests.support.plain_reading import ROOT
from tests.support.published import query
from tests.support.worlds.published_world import leave_scores, night_of

CUSTOMERS, OF_PUBLISHING, OF_SCORING = 8_000, 40, 10
SHOWN = ("churn_predictions", "prediction_history", "survival_curve", "risk_bands")


def main() -> bool:
    wrong: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, kills, strike in (("publishing", OF_PUBLISHING, _publishing), ("scoring", OF_SCORING, _scoring)):
            states = strike(Path(scratch) / name, kills)
            print(f"{kills} kills while {name}: {dict(sorted(states.items()))}")
            wrong += [f"{name}: {state}" for state in states if state not in ("yesterday", "today", "after a rerun")]
            wrong += [f"{name}: no kill struck before the end"] * (states["yesterday"] == 0)
            wrong += [f"{name}: the rerun ended otherwise"] * (states["after a rerun"] != kills)
    print("\n".join(wrong) or "never a mix, and every rerun ended right")
    print(f"faults: {len(wrong)}")
    return not wrong


def _publishing(folder: Path, kills: int) -> Counter[str]:
    """Nights of made-up scores, published in a process of their own that is killed."""
    settings, states = Settings(root=folder), Counter[str]()
    known = Settings(root=folder / "known")
    for number in range(2):
        leave_scores(known, number, CUSTOMERS)
        publish(known, night_of(number))
    today = _state(known)
    leave_scores(settings, 0, CUSTOMERS)
    publish(settings, night_of(0))
    yesterday = _state(settings)
    leave_scores(settings, 1, CUSTOMERS)
    context = multiprocessing.get_context("fork" if sys.platform != "darwin" else "spawn")

    def start() -> int:
        process = context.Process(target=publish, args=(settings, night_of(1)))
        process.start()
        return int(process.pid or 0)

    seconds = _alone(start)
    for kill in range(kills):
        _take_back(settings, yesterday)
        _kill(start(), seconds * (kill + 0.5) / kills)
        states[_name(_state(settings), yesterday, today)] += 1
        publish(settings, night_of(1))
        states["after a rerun" if _state(settings) == today else "another end"] += 1
    return states


def _scoring(folder: Path, kills: int) -> Counter[str]:
    """`recur score` of a trained world, in a process of its own that is killed."""
    from tests.support.worlds.trained_world import FIRST, NEXT, made_up_events, make_world, run_training

    settings, states = make_world(folder, made_up_events(), (FIRST, NEXT)), Counter[str]()
    run_training(settings, FIRST)

    def start(cutoff: str = f"{NEXT:%Y-%m-%d}") -> int:
        config = str(settings.root / "recur.toml")
        line = [sys.executable, "-m", "pipeline.cli.app", "--config", config, "score", "--cutoff", cutoff]
        return subprocess.Popen(line, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid

    os.waitpid(start(f"{FIRST:%Y-%m-%d}"), 0)
    yesterday = _state(settings)
    seconds = _alone(start)
    today = _state(settings)
    for kill in range(kills):
        _take_back(settings, yesterday)
        _kill(start(), seconds * (0.4 + 0.6 * (kill + 0.5) / kills))  # before that it is only importing
        states[_name(_state(settings), yesterday, today)] += 1
        os.waitpid(start(), 0)
        states["after a rerun" if _state(settings) == today else "another end"] += 1
    return states


def _alone(start: Callable[[], int]) -> float:
    """How long the work takes when it is left alone."""
    started = time.monotonic()
    os.waitpid(start(), 0)
    return time.monotonic() - started


def _kill(process: int, seconds: float) -> None:
    time.sleep(seconds)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)


def _take_back(settings: Settings, yesterday: str) -> None:
    """Removes the last night, so that it can be published again. Raises RuntimeError where that gives not yesterday."""
    from sqlalchemy import delete, func, select

    from pipeline.serving.tables import night, prediction
    from tests.support.published import predictions_of

    with predictions_of(settings).writing() as connection:
        dates = connection.execute(select(func.min(night.c.score_date), func.max(night.c.score_date))).one()
        if dates[0] != dates[1]:
            for table in (prediction, night):
                connection.execute(delete(table).where(table.c.score_date == dates[1]))
    if _state(settings) != yesterday:
        raise RuntimeError("the night was not taken back")


def _state(settings: Settings) -> str:
    """A digest of all that readers are shown, the instant of scoring apart."""
    digest = hashlib.sha256()
    for view in SHOWN:
        columns, _ = query(settings, f"select * from {view} limit 0")
        kept = ", ".join(column for column in columns if column != "scored_at")
        digest.update(repr(query(settings, f"select {kept} from {view} order by {kept}")[1]).encode())
    return digest.hexdigest()


def _name(state: str, yesterday: str, today: str) -> str:
    return {yesterday: "yesterday", today: "today"}.get(state, "a mix")
