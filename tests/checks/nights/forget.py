"""`recur forget` at random instants of nights and trainings: beside a command at work, or after it was killed there.
Afterwards a planted customer's id, attribute and amount are nowhere under `var/`, as bytes (SQLite's log and free pages
included) or in decoded Parquet and Arrow; the next dump does not bring them back, and the comparison can be made again.

`FORGET_INSTANTS` sets how many (20), `FORGET_SEED` which. Models are conventional: the vocabulary of a network that was
trained keeps what it learned, as `recur forget` says.
"""

import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.plain_reading import ROOT
from tests.support.worlds.one_night import copy_world

WHO, SHOP, AMOUNT = "planted-4711-customer", "planted-0815-shop", 98765.43
NEEDLES = [
    *(text.encode() for text in (WHO, SHOP, str(AMOUNT))),
    struct.pack("<d", AMOUNT),
    struct.pack("<q", round(AMOUNT * 10_000)),
]
TOML = """
[source]
kind = "csv"
path = "events.csv"
categorical = ["shop"]
[source.columns]
customer_id = "who"
event_time = "when"
amount = "eur"
shop = "shop"
[question]
active_within = 56
horizons = [14]
cutoff_every = 7
[run]
first_night = 2020-08-01
[validation]
max_quarantined_share = 0.5
[models]
names = ["recency", "logistic_regression"]
"""
NIGHT, NEXT = "2020-08-02", "2020-08-03"
COMMANDS = (["ingest", "--until", NIGHT], ["train"], ["score"])


def main() -> bool:
    instants, seed = int(os.environ.get("FORGET_INSTANTS", "20")), int(os.environ.get("FORGET_SEED", "20171204"))
    draws, wrong, beside = random.Random(seed), list[str](), 0
    with tempfile.TemporaryDirectory() as scratch:
        pristine, folder = Path(scratch) / "pristine", Path(scratch) / "one"
        seconds = _make_world(pristine)
        assert _left(pristine / "var"), "the planted customer was never there"
        for number in range(instants):
            command = COMMANDS[number % len(COMMANDS)]
            shutil.rmtree(folder, ignore_errors=True)
            copy_world(pristine, folder)
            after, killed = draws.uniform(0, seconds[command[0]]), draws.random() < 0.5
            where = f"{command[0]}, {after:.1f} s after its start, {'killed' if killed else 'at work'}"
            process = _start(folder, command)
            time.sleep(after)
            if killed:
                process.send_signal(signal.SIGKILL)
                process.wait()
            beside += process.poll() is None
            forgotten = _start(folder, ["forget", WHO])
            statuses = {"forget": forgotten.wait(), command[0]: process.wait()}
            if statuses["forget"] or (statuses[command[0]] and not killed):
                wrong.append(f"{where}: exit statuses {statuses}: {_tail(folder)}")
            wrong += [f"{where}: {what}" for what in _left(folder / "var")]
            _write_events(folder, again=True)
            for again in (["ingest", "--until", NEXT], ["train"], ["score"]):
                if _start(folder, again).wait():
                    wrong.append(f"{where}: `recur {again[0]}` failed afterwards: {_tail(folder)}")
            wrong += [f"{where}: the next dump brought back {what}" for what in _left(folder / "var")]
            print(f"{number + 1}: {where}", flush=True)
    print("\n".join(wrong) or "nothing of them stays, and nothing comes back")
    print(f"beside a command at work: {beside} of {instants}")
    print(f"faults: {len(wrong)}")
    return not wrong and beside > 0


def _make_world(folder: Path) -> dict[str, float]:
    """A history, a night, a training and its scores, all with the planted customer; the seconds of each command."""
    folder.mkdir()
    (folder / "recur.toml").write_text(TOML)
    _write_events(folder)
    seconds = {}
    for command in (["ingest", "--until", "2020-08-01"], *COMMANDS[1:]):
        began = time.monotonic()
        assert _start(folder, command).wait() == 0, _tail(folder)
        seconds[command[0]] = time.monotonic() - began
    return seconds


def _write_events(folder: Path, again: bool = False) -> None:
    """Two months of 150 customers and the planted one; `again` with the days after, as the next dump has them."""
    drawn = np.random.default_rng(7)
    times = pd.Timestamp("2020-04-01") + pd.to_timedelta(np.sort(drawn.uniform(0, 130, 6000)), "D")
    rows = [
        f"{who},{moment:%Y-%m-%d %H:%M:%S},{amount:.2f},{shop}"
        for who, moment, amount, shop in zip(
            [f"cust-{number:03d}" for number in drawn.integers(0, 150, 6000)],
            times,
            drawn.gamma(2, 10, 6000),
            drawn.choice(["a", "b"], 6000),
            strict=True,
        )
        if moment < pd.Timestamp("2020-08-05")
    ]
    days = pd.date_range("2020-04-02", "2020-08-03" if again else "2020-08-02", freq="3D")
    rows += [f"{WHO},{day:%Y-%m-%d} 12:00:00,{AMOUNT},{SHOP}" for day in days]
    rows += [f"{WHO},never,{AMOUNT},{SHOP}", f"{WHO},2020-08-01 10:00:00,much,{SHOP}"]
    (folder / "events.csv").write_text("\n".join(["who,when,eur,shop", *rows]) + "\n")


def _start(folder: Path, command: list[str]) -> "subprocess.Popen[bytes]":
    program = [sys.executable, "-m", "pipeline.cli.app", "--config", str(folder / "recur.toml"), *command]
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(program, cwd=ROOT, stdout=output, stderr=output)


def _tail(folder: Path) -> str:
    return (folder / "output").read_text("utf-8", "replace")[-400:]


def _left(var: Path) -> list[str]:
    """The files that hold one of the needles, as bytes or decoded."""
    left = []
    for file in sorted(path for path in var.rglob("*") if path.is_file()):
        content = file.read_bytes()
        held = [needle for needle in NEEDLES if needle in content]
        held += [text for text in _decoded(file, content) if text in {WHO, SHOP, str(AMOUNT)}]
        if held:
            left.append(f"{file.relative_to(var)} holds {held[0]!r}")
    return left


def _decoded(file: Path, content: bytes) -> Iterator[str]:
    """The texts and numbers of a file in columns, as text; of texts, those that hold the customer or the shop."""
    if content[:4] == b"PAR1" and content[-4:] == b"PAR1":
        table = pq.read_table(file, partitioning=None)
    elif content[:6] == b"ARROW1":
        table = pa.ipc.open_file(pa.BufferReader(content)).read_all()
    else:
        return
    for column in table.columns:
        for value in column.to_pylist():
            text = str(value)
            yield next((needle for needle in (WHO, SHOP, str(AMOUNT)) if needle in text), text)
