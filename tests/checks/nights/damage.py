"""Every kind of file below `paths.var` is damaged in turn: deleted, emptied, cut in half, one bit flipped. The commands
that follow (a query, the comparison, the scores of a loaded night, the night after it and its scores) either answer as
they do without the damage, or stop with one line: no other answer with exit status 0, no traceback, no death by a
signal.

The kinds are those that are there after a training and a few nights: a file's path with its numbers and ids left out.
`DAMAGE_MODELS` names the champions, a world for each, one with a source in a file, one with a table; `DAMAGE_KINDS`
takes only the kinds that match this pattern, `DAMAGE_AT` sets where a file is cut, or a bit of it flipped, as a share
of its length (0.5). `DAMAGE_WAYS=more` harms in other ways: with garbage, a dangling link, a folder in the file's
place, and without the right to read (which root has all the same). Every command is a process that forgets what it
read; the commands of one damage follow one another over the same state.
"""

import faulthandler
import logging
import multiprocessing
import os
import re
import shutil
import sqlite3
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pandas as pd

from tests.support.worlds.damage import DAMAGES, FILE, MORE_DAMAGES, SOURCES, harm, send
from tests.support.worlds.one_night import import_everything

MODELS = {"lightgbm": "csv", "gru": "sql"}  # an artefact of their own each; a network carries state
NIGHTS, NEXT, AFTER = ("2020-08-02", "2020-08-03"), "2020-08-04", "2020-08-05"
HISTORY = (
    "select customer_id, score_date, horizon_days, churn_probability, risk_band, risk_change, reasons "
    "from prediction_history where score_date <= '2020-08-03' order by score_date, horizon_days, customer_id"
)
COMMANDS = (
    ("query", "--format", "csv", HISTORY),
    ("compare", "--format", "json"),
    ("score",),
    ("ingest", "--until", AFTER),
    ("score",),
)
LEFT_OUT = {"logs", "locks", "local_site"}  # nothing reads them; the last are pages for people
LIMIT_SECONDS = 600  # of the clock: a machine that does other things too has taken three minutes for one score
REASONS, EXACT, TOLERANCE = (
    4,
    5,
    1e-5,
)  # carried state that is made again agrees so far, as the check carried-state asks
SECONDS = re.compile(r"^.* \d+ s( so far.*)?\n", re.MULTILINE)  # what a slow machine says besides
ID, NUMBER, PICTURE = re.compile(r"[0-9a-f]{32}|[0-9a-f]{16}"), re.compile(r"\d+"), re.compile(r"[^/]+[.]png$")

Answer = tuple[int, str, str]
"""How a command ended: its exit status (that of a signal is negative), its standard output, its standard error."""
Rows = list[tuple[Any, ...]]
Answers = tuple[list[Answer], Rows]
"""Those of the commands, and the predictions that are then in the database."""


def main() -> bool:
    import_everything()
    outcomes: Counter[str] = Counter()
    for model in os.environ.get("DAMAGE_MODELS", " ".join(MODELS)).split():
        with tempfile.TemporaryDirectory() as scratch:
            outcomes += _damaged(Path(scratch), model)
    print(", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items())))
    faults = outcomes["OTHER ANSWER"] + outcomes["TRACEBACK"] + outcomes["SIGNAL"]
    print(f"other answers, tracebacks and signals: {faults}")
    return outcomes["same"] > 0 and not faults


def _damaged(scratch: Path, model: str) -> Counter[str]:
    """Damages every kind of a world whose champion is a `model`; counts the outcomes."""
    pattern, at = os.environ.get("DAMAGE_KINDS", ""), float(os.environ.get("DAMAGE_AT", "0.5"))
    folder, pristine, outcomes = scratch / "world", scratch / "pristine", Counter[str]()
    if status := _status(_make_world, folder, model):
        raise AssertionError(f"the world could not be made: {status}")
    shutil.copytree(folder / "var", pristine, symlinks=True)
    kinds = {kind: file for kind, file in kinds_below(pristine).items() if re.search(pattern, kind)}
    expected = _answers(folder)
    assert all(status == 0 for status, _, _ in expected[0]), expected
    print(f"{model}: {len(kinds)} kinds of files", flush=True)
    for kind, file in kinds.items():
        print(kind)
        for damage in DAMAGES if os.environ.get("DAMAGE_WAYS") != "more" else MORE_DAMAGES:
            if damage in ("emptied", "truncated", "one bit") and not (pristine / file).stat().st_size:
                continue  # it is empty
            shutil.rmtree(folder / "var")
            shutil.copytree(pristine, folder / "var", symlinks=True)
            harm(folder / "var" / file, damage, at)
            verdict = _verdict(expected, _answers(folder))
            outcomes.update(word.split(":")[0] for word in verdict)
            print(f"    {damage}: {', '.join(verdict)}", flush=True)
    return outcomes


def kinds_below(var: Path) -> dict[str, Path]:
    """The last file of every kind below `var`, relative to it. A kind is a path without its numbers and ids, and for a
    picture without its name.
    """
    files = sorted(file.relative_to(var) for file in var.rglob("*") if file.is_file() and not file.is_symlink())
    files = [file for file in files if LEFT_OUT.isdisjoint(file.parts) and not file.name.endswith(("-wal", "-shm"))]
    return {PICTURE.sub("PICTURE", NUMBER.sub("N", ID.sub("ID", file.as_posix()))): file for file in files}


def _verdict(expected: Answers, answered: Answers) -> list[str]:
    verdict, stopped = [], any(status for status, _, _ in answered[0])
    for command, right, (status, output, errors) in zip(COMMANDS, expected[0], answered[0], strict=True):
        last = " ".join(errors.split())[-300:]
        if status < 0:
            verdict.append(f"SIGNAL: {command[0]} {-status} {errors[-2000:]}")
        elif "Traceback" in output + errors:
            verdict.append(f"TRACEBACK: {command[0]} {last}")
        elif status:
            line = [each for each in errors.splitlines() if each.startswith("recur: ")]
            verdict.append(
                f"stopped: {command[0]}, {last}" if line else f"TRACEBACK: {command[0]} stopped without a line {last}"
            )
        elif command[0] == "score" and (difference := _difference(expected[1], answered[1], stopped)):
            verdict.append(f"OTHER ANSWER: {command[0]}, {difference}")
        elif command[0] != "score" and SECONDS.sub("", output) != SECONDS.sub("", right[1]):
            verdict.append(f"OTHER ANSWER: {command[0]}")
        else:
            verdict.append("same")
    return verdict


def _answers(folder: Path) -> Answers:
    """Of every command, and what is then published."""
    answers = []
    for command in COMMANDS:
        output, errors = folder / "stdout", folder / "stderr"
        status = _status(_command, folder, *command)
        answers.append((status, output.read_text("utf-8", "replace"), errors.read_text("utf-8", "replace")))
    return answers, _published(folder)


def _published(folder: Path) -> Rows:
    columns = "score_date, horizon_days, customer_id, risk_band, reasons, churn_probability, risk_change"
    try:
        with closing(sqlite3.connect(f"file:{folder}/var/predictions.db?mode=ro", uri=True)) as connection:
            return connection.execute(f"select {columns} from prediction order by 1, 2, 3").fetchall()
    except sqlite3.Error as error:
        return [(str(error),)]


def _difference(right: Rows, rows: Rows, stopped: bool) -> str:
    """How other rows differ; nothing where their numbers agree within `TOLERANCE` and all else is equal. Where a
    command `stopped`, its night may lack, and with it the changes of the night after and the reasons of who rose.
    """
    if stopped:
        nights = {row[0] for row in rows}
        right = [(*row[: EXACT - 1], None, *row[EXACT:-1], None) for row in right if row[0] in nights]
        rows = [(*row[: EXACT - 1], None, *row[EXACT:-1], None) for row in rows]
    ours, theirs = ([row[:EXACT] for row in each] for each in (right, rows))
    if ours != theirs:
        return f"{len(set(ours) ^ set(theirs))} other rows of {len(ours)}"
    pairs = zip(right, rows, strict=True)
    values = [(a or 0, b or 0) for one, two in pairs for a, b in zip(one[EXACT:], two[EXACT:], strict=True)]
    largest = max((abs(a - b) for a, b in values), default=0)
    return f"by {largest:.1e}" if largest > TOLERANCE else ""


def _command(folder: Path, *arguments: str) -> None:
    for stream, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream)
    sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
    faulthandler.dump_traceback_later(LIMIT_SECONDS - 10)  # where it hangs, before it is killed
    _recur(folder, *arguments)


def _recur(folder: Path, *arguments: str) -> None:
    """Ends this process where the command fails."""
    from pipeline.cli.app import main as recur

    try:
        recur(["--config", str(folder / "recur.toml"), *arguments])
    except SystemExit as end:
        if end.code:
            raise


def _make_world(folder: Path, model: str) -> None:
    from pipeline.config.settings import load_settings
    from pipeline.steps.promote import promote_version
    from pipeline.training.registry import open_registry
    from tests.support.worlds.trained_world import FIRST, NAMES, made_up_events, make_world, run_training

    make_world(folder, made_up_events(), cutoffs=[FIRST])
    config, kind = folder / "recur.toml", MODELS[model]
    text = config.read_text("utf-8").replace(str(list(NAMES)), f'["{model}"]\nmax_epochs = 1')
    config.write_text(text.replace(FILE, SOURCES[kind]), "utf-8")
    settings = load_settings(config)
    with (folder / "events.csv").open("a", encoding="utf-8") as file:
        file.writelines(f"bad{day},cust-001,{day} 11:00:00,much,a\n" for day in ("2020-08-01", "2020-08-02"))
    everything = pd.read_csv(folder / "events.csv", dtype=str)
    send(folder, kind, everything[everything["when"] < NEXT])
    run_training(settings, FIRST)
    promote_version(open_registry(settings), 1)  # the model, whether the gate passed it or not
    _recur(folder, "score")
    for day in (*NIGHTS, NEXT):
        if day == NEXT:
            send(folder, kind, everything)  # so that the source was read more than once
        _recur(folder, "ingest", "--until", day)
        if day != NEXT:
            _recur(folder, "score")


def _status(work: Callable[..., None], folder: Path, *arguments: str) -> int:
    process = multiprocessing.get_context("fork").Process(target=_run, args=(work, folder, *arguments))
    process.start()
    process.join(LIMIT_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    return process.exitcode or 0


def _run(work: Callable[..., None], folder: Path, *arguments: str) -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.INFO)
    work(folder, *arguments)
