"""The drill: a backup is made while a night is published, and restored into another folder. The next night there is the
next night of the original, whichever step the copy fell on; and nothing outside of that folder is touched.

`RESTORE_COPIES` sets how many backups are made (4), `RESTORE_SEED` the instants at which they begin. Every process is a
command of its own; the folder of the original is renamed away while the copy goes on, so that what still named it would
fail.
"""

import hashlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.config.settings import Settings, load_settings
from tests.support.plain_reading import ROOT
from tests.support.published import query
from tests.support.worlds.one_night import copy_world

NIGHT, NEXT = "2020-08-02", "2020-08-03"
HISTORY = (
    "select customer_id, score_date, horizon_days, churn_probability, expected_spend, risk_band, risk_change, reasons "
    "from prediction_history order by 1, 2, 3"
)


def main() -> bool:
    copies, draws = int(os.environ.get("RESTORE_COPIES", "4")), random.Random(int(os.environ.get("RESTORE_SEED", "17")))
    wrong, beside = list[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        pristine = Path(scratch) / "pristine"
        seconds = _make_world(pristine)
        for number in range(copies):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            original = folder / "original"
            copy_world(pristine, original)
            after = draws.uniform(0.4, 1) * seconds  # before that a command is only importing
            night = _start(original, "score", "--cutoff", NIGHT)
            time.sleep(after)
            beside += night.poll() is None
            backup = _start(original, "backup", str(folder / "backup"))
            statuses = [backup.wait(), night.wait()]
            wrong += [f"copy {number}: exit statuses {statuses}: {_tail(original)}"] * any(statuses)
            wrong += [f"copy {number}: {what}" for what in _drill(folder)]
            print(f"{number + 1}: {after:.1f} s after the night began", flush=True)
            shutil.rmtree(folder)
    print("\n".join(wrong) or "the next night of every copy is that of the original, and touches nothing else")
    print(f"begun while the night was at work: {beside} of {copies}")
    print(f"faults: {len(wrong)}")
    return not wrong and beside > 0


def _drill(folder: Path) -> list[str]:
    """What is wrong with the backup in `folder` and the state that is restored from it."""
    original, moved, other = folder / "original", folder / "moved", folder / "other"
    wrong = [f"the backup names the original: {file}" for file in _naming(folder / "backup", original)]
    original.rename(moved)
    other.mkdir()
    for name in ("recur.toml", "events.csv"):
        shutil.copy(moved / name, other)
    before = _digests(folder, but=other)
    # The night is scored again where the copy was made before it was published, as `recur run` would.
    for command in (
        ["restore", str(folder / "backup")],
        ["check", "--deep"],
        ["score", "--cutoff", NIGHT],
        ["ingest", "--until", NEXT],
        ["score"],
    ):
        if _start(other, *command).wait():
            wrong.append(f"`recur {command[0]}` failed: {_tail(other)}")
    wrong += [f"the restored state names the original: {file}" for file in _naming(other / "var", original)]
    after = _digests(folder, but=other)
    wrong += [
        f"{file} was touched" for file in sorted(before.keys() | after.keys()) if before.get(file) != after.get(file)
    ]
    moved.rename(original)
    for command in (["ingest", "--until", NEXT], ["score"]):
        if _start(original, *command).wait():
            wrong.append(f"`recur {command[0]}` of the original failed: {_tail(original)}")
    ours, theirs = (query(_settings(each), HISTORY)[1] for each in (original, other))
    if ours != theirs or not ours:
        wrong.append(f"other predictions: {len(set(ours) ^ set(theirs))} of {len(ours)} differ")
    return wrong


def _make_world(folder: Path) -> float:
    """A history, a training and its scores, and the night that is scored next; the seconds of scoring a night."""
    from tests.support.worlds.trained_world import FIRST, made_up_events, make_world, run_training

    settings = make_world(folder, made_up_events(), cutoffs=[FIRST])
    run_training(settings, FIRST)
    seconds = 0.0
    for command in (["score"], ["ingest", "--until", NIGHT]):
        began = time.monotonic()
        assert _start(folder, *command).wait() == 0, _tail(folder)
        seconds = seconds or time.monotonic() - began
    return seconds


def _start(folder: Path, *command: str) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-m", "pipeline.cli.app", "--config", str(folder / "recur.toml"), *command]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(program, cwd=ROOT, stdout=output, stderr=output)


def _settings(folder: Path) -> Settings:
    return load_settings(folder / "recur.toml")


def _tail(folder: Path) -> str:
    return (folder / "output").read_text("utf-8", "replace")[-400:]


def _naming(folder: Path, original: Path) -> list[str]:
    """The files below `folder`, logs apart, that name the folder of the original."""
    files = (file for file in folder.rglob("*") if file.is_file() and "logs" not in file.parts)
    return [str(file.relative_to(folder)) for file in sorted(files) if bytes(original) in file.read_bytes()]


def _digests(folder: Path, but: Path) -> dict[str, str]:
    files = (file for file in folder.rglob("*") if file.is_file() and not file.is_relative_to(but))
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
