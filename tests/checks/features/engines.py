"""DuckDB, Spark (a real one, on this machine) and pandas on random small worlds with late, corrected and deleted
events, and on Complete Journey, CDNOW and Online Retail II: the two engines agree in every bit, and with a plain-pandas
reading in every count and, in floats, within 1e-9. Installs pyspark, and Java where apt may.
"""

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from features.dataset import Dataset
from features.examples.merging import together
from features.examples.request import BuildRequest
from features.question import Question
from features.spec import FeatureSpec
from features.time import microseconds
from pipeline.config.settings import load_settings
from pipeline.datasets.engine import open_engine
from pipeline.event_store.store import EventStore, open_store
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import midnight
from pipeline.runtime.paths import StateFolder
from pipeline.training.leak_probes import differences
from tests.checks.nights.online_retail import DATA as ONLINE_RETAIL
from tests.checks.nights.online_retail import EXAMPLE
from tests.features.test_shard import CUTOFFS, QUESTIONS, bits
from tests.support.oracle import hold_against_the_plain_reading
from tests.support.plain_reading import recur
from tests.support.stored import stored
from tests.support.worlds.event_worlds import ATTRIBUTES, END, FREQUENT, revisions

WORLDS_A_QUESTION = 3
LAST_CUTOFFS, READ_BY_PANDAS = 3, 400  # of real data: how many cutoffs, and about how many examples pandas reads
REAL = {
    "complete journey": ('[source]\nkind = "complete_journey"\n[run]\nfirst_night = 2017-12-04\n', "2017-12-04"),
    "cdnow": ('[source]\nkind = "cdnow"\n[question]\nhorizons = [45]\n[run]\nfirst_night = 1998-07-01\n', "1998-07-01"),
    "online retail": (EXAMPLE.read_text("utf-8").replace("2009-12-08", "2011-12-01"), "2011-12-01"),
}


def main() -> bool:
    if missing := install_spark():
        print(missing)
        print("disagreements: not looked for")
        return False
    wrong = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, question in QUESTIONS.items():
            for seed in range(WORLDS_A_QUESTION):
                rows = revisions(seed)
                store = stored(folder / f"{name} {seed}", rows)
                found = _compared(store, CUTOFFS, END, question, question.spec(ATTRIBUTES, FREQUENT), rows, every=1)
                wrong += [f"world {seed}, {name}: {words}" for words in found]
        print(
            f"{len(QUESTIONS)} questions on {WORLDS_A_QUESTION} random worlds each: {len(wrong)} disagreements",
            flush=True,
        )
        for name in REAL:
            for words in _on_real_data(name, folder / name):
                print(words, flush=True)
                wrong += [words] if words.startswith("wrong") else []
    print("\n".join(wrong) or "both engines agree in every bit, and with pandas within 1e-9")
    print(f"disagreements: {len(wrong)}")
    return not wrong


def install_spark() -> str | None:
    """Brings what is missing where that is possible; what is still missing, in words."""
    if importlib.util.find_spec("pyspark") is None:
        print("installing pyspark", flush=True)
        command = [sys.executable, "-m", "pip", "install", "--quiet", "pyspark>=4.0.5,<4.1"]
        if subprocess.run(command, check=False).returncode:
            return "pyspark cannot be installed: see above"
        importlib.invalidate_caches()
    from pipeline.datasets.spark_engine import require_java

    try:
        require_java()
    except RecurError as error:
        if os.geteuid() or not shutil.which("apt-get"):
            return str(error)
        print("installing default-jre-headless", flush=True)
        if subprocess.run(["apt-get", "install", "-y", "-qq", "default-jre-headless"], check=False).returncode:
            return str(error)
    return None


def _on_real_data(name: str, folder: Path) -> Iterator[str]:
    """What was compared and what differs, the latter beginning with "wrong"."""
    toml, night = REAL[name]
    if name == "online retail" and not ONLINE_RETAIL.is_dir():
        yield f"{name}: skipped: {ONLINE_RETAIL} is not there, and the project does not ship it"
        return
    if name == "cdnow" and importlib.util.find_spec("lifetimes") is None:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "lifetimes==0.11.3"]
        if subprocess.run(command, check=False).returncode:
            yield f"{name}: skipped: the package lifetimes, which holds its data, cannot be installed"
            return
    folder.mkdir()
    for file in ONLINE_RETAIL.glob("*.parquet") if name == "online retail" else ():
        (folder / file.name).symlink_to(file)
    (folder / "recur.toml").write_text(toml)
    recur("ingest", "--until", night, config=folder / "recur.toml")
    settings = load_settings(folder / "recur.toml")
    store, until = open_store(settings), midnight(datetime.fromisoformat(night).date())
    rows = pd.concat([pd.read_parquet(store.path(each)) for each in store.nights()], ignore_index=True)
    cutoffs = settings.question.cutoffs(rows["event_time"].min().to_pydatetime(), until)[-LAST_CUTOFFS:]
    found = _compared(store, cutoffs, until, settings.question, store.spec(settings.question), rows)
    yield f"{name}: {len(rows):,} events, cutoffs up to {cutoffs[-1].date()}: {len(found)} disagreements"
    yield from (f"wrong: {name}: {words}" for words in found)


def _compared(
    store: EventStore,
    cutoffs: list[datetime],
    until: datetime,
    question: Question,
    spec: FeatureSpec,
    rows: pd.DataFrame,
    every: int | None = None,
) -> list[str]:
    """Where the engines differ from each other, and DuckDB from the plain reading of one example in `every`."""
    built: dict[str, Dataset] = {}
    moments = np.array([microseconds(cutoff) for cutoff in cutoffs])
    request = BuildRequest(moments, spec, microseconds(until))
    for name in ("duckdb", "spark"):
        engine = open_engine(name, "local[*]", StateFolder(store.folder.parent / "var"))
        built[name] = together(engine.shards(store.as_of(until), request), question.horizons)
    one, other = built["duckdb"], built["spark"]
    wrong = [f"the engines differ in {what}" for what in differences(one, other)]
    if bits(one) != bits(other):
        wrong.append("the engines differ in a bit")
    try:
        step = every or max(len(one) // READ_BY_PANDAS, 1)
        hold_against_the_plain_reading(one, rows, cutoffs, until, question, store.attributes, spec.told_apart, step)
    except AssertionError as error:
        wrong.append(f"pandas reads otherwise: {' '.join(str(error).split())[:300]}")
    return wrong
