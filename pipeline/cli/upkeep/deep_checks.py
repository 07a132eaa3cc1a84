"""`recur check --deep`: every byte that the pipeline reads again is read now. A fault is told with what it costs and
the way back; `--repair` makes again what can be made again with the same result.
"""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import select

from pipeline.cli.upkeep.backup import MLFLOW, Stores
from pipeline.cli.upkeep.locations import ARTEFACTS, relocate, strays
from pipeline.config.settings import Settings
from pipeline.event_store import id_index
from pipeline.event_store.objects import OBJECTS, manifest_of
from pipeline.runtime.described import remove
from pipeline.runtime.errors import RecurError
from pipeline.runtime.manifest import NAME, WAY_BACK, Manifest
from pipeline.runtime.sealed import DamagedError
from pipeline.scoring.carried_sample import differing
from pipeline.scoring.champion import champion_or_none
from pipeline.scoring.checkpoints import carried_folder, checkpoint_folders, read_plan
from pipeline.scoring.inputs import ScoringInputs
from pipeline.scoring.shard import StateShard
from pipeline.serving import exports
from pipeline.serving.database import open_predictions
from pipeline.serving.night_digests import is_whole
from pipeline.serving.tables import prediction
from pipeline.sources.contents import read_contents
from pipeline.training.registry import open_registry
from pipeline.validation.leaks import CheckResult

COSTS = {
    "staged": "a night is read from the source again when it is loaded again",
    "accepted": "a night is validated again when it is loaded again",
    "quarantine": "its rows cannot be replayed: put it back from a backup",
    "scored": "its night cannot be published again: score it again",
    "snapshots": "its comparison cannot be made again: `recur train` as of its cutoff makes a new one",
    "source": "what the source sent cannot be told from what is new: put it back from a backup",
    "pulled": "a night of it cannot be read again: put it back from a backup",
}
"""What a damaged Parquet file costs, by its folder below `paths.var`."""
MADE_WITH_ITS_NIGHT = ("staged", "accepted")


NEEDS = {
    "every model": {"artefacts"},
    "a carried sample": {"every object", "artefacts", "every model", "carried state"},
}
"""What must be right for a look to say anything more."""


@dataclass(frozen=True)
class Fault:
    """What is damaged, what that costs and the way back; `repair`, where it can be made again."""

    words: str
    cost: str
    repair: Callable[[], object] | None = None


def deep_checks(settings: Settings, repair: bool = False) -> list[CheckResult]:
    """A line for every fault, and one for every kind of state that has none. With `repair`, what can be made again is.
    A step at work may be changing what is read here: run it between nights.
    """
    looks: dict[str, Callable[[Settings], Iterator[Fault]]] = {
        "every object": _objects,
        "every database": _databases,
        "artefacts": _artefacts,
        "every model": _models,
        "carried state": _carried,
        "a carried sample": _sample,
        "the id index": _id_index,
        "published nights": _nights,
        "published files": _published,
        "other files": _others,
    }
    results: list[CheckResult] = []
    with settings.state.writing(alone=repair):
        for what, look in looks.items():
            wrong = {result.what for result in results if result.state == "wrong"}
            if not wrong & NEEDS.get(what, set()):
                results += _results(what, look, settings, repair)
    return results


def _results(
    what: str, look: Callable[[Settings], Iterator[Fault]], settings: Settings, repair: bool
) -> Iterator[CheckResult]:
    right = True
    try:
        for fault in look(settings):
            right = False
            if repair and fault.repair:
                fault.repair()
                yield CheckResult("right", what, f"repaired: {fault.words}")
            else:
                way = "; `recur check --deep --repair` makes it again" if fault.repair else ""
                yield CheckResult("wrong", what, f"{fault.words}: {fault.cost}{way}")
    except (RecurError, OSError) as error:
        yield CheckResult("wrong", what, str(error))
        return
    if right:
        yield CheckResult("right", what, "as it was written")


def _objects(settings: Settings) -> Iterator[Fault]:
    manifest = manifest_of(settings.events)
    for name in manifest.damaged():
        file = settings.events / name
        words = "is damaged" if file.exists() else "is missing"
        yield Fault(f"{file} {words}", f"no night from {file.stem} on is scored or trained on; {WAY_BACK}")
    for file in sorted(settings.events.glob(OBJECTS)):
        if file.name not in manifest.entries:
            yield Fault(f"{file} is none of the store's", "no night is worked through; move it away")


def _databases(settings: Settings) -> Iterator[Fault]:
    costs = {
        "predictions.db": "readers may see other predictions than were published",
        "mlflow.db": "models and their comparison may be lost",
    }
    for name, file in Stores.of(settings).databases():
        try:
            with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as connection:
                [(verdict, *_), *_] = connection.execute("pragma integrity_check(1)").fetchall()
        except sqlite3.Error as error:
            verdict = str(error)
        if verdict != "ok":
            words = f"{file} is damaged ({' '.join(str(verdict).split())})"
            yield Fault(words, f"{costs.get(name, 'what reads it fails')}; put it back from a backup")


def _artefacts(settings: Settings) -> Iterator[Fault]:
    """MLflow's addresses are absolute: a state that was moved or copied writes where it lay before."""
    database = Stores.of(settings).paths.get(MLFLOW)
    if database is None:
        return
    for before in strays(database, settings.var):
        if not isinstance(before, Path):
            words, cost = f"{database} was taken out of a backup, where it names no folder", "no model can be read"
            yield Fault(words, cost, partial(relocate, database, before, settings.var))
            continue
        words, cost = f"MLflow's artefacts are those of {before}", "models are read from there, and written there"
        here, there = settings.var / ARTEFACTS, before / ARTEFACTS
        lacking = {path.name for path in there.glob("*")} - {path.name for path in here.glob("*")}
        if lacking:
            yield Fault(words, f"{cost}; copy {there} to {here}, and do this again with --repair")
        else:
            yield Fault(words, cost, partial(relocate, database, before, settings.var))


def _models(settings: Settings) -> Iterator[Fault]:
    registry = open_registry(settings)
    champion = champion_or_none(registry, open_predictions(settings.predictions, settings.root))
    for number in registry.numbers():
        reigns = champion is not None and champion.number == number
        try:
            registry.verify(registry.version(number))
        except RecurError as error:
            yield Fault(str(error), "no night is scored" if reigns else "it cannot become champion again")
            continue
        folder = registry.damaged_copy(registry.version(number))
        if folder is not None:
            words = f"{folder} is not the version {number} that was registered"
            yield Fault(words, "the next night fetches it again", partial(shutil.rmtree, folder))


def _carried(settings: Settings) -> Iterator[Fault]:
    cost = "the next night computes it again from the event store, which takes longer"
    for folder in checkpoint_folders(settings.state):
        if folder.name.startswith("."):  # not complete
            continue
        try:
            shards = read_plan(folder).shards if read_plan(folder).sealed else range(0)
            fault = next(filter(None, (StateShard.damage(folder, number) for number in shards)), None)
        except DamagedError as error:
            fault = str(error)
        if fault:
            yield Fault(fault, cost, partial(shutil.rmtree, folder))


def _sample(settings: Settings) -> Iterator[Fault]:
    registry = open_registry(settings)
    champion = champion_or_none(registry, open_predictions(settings.predictions, settings.root))
    if champion is None:
        return
    inputs = ScoringInputs.open(settings)
    compared, wrong = differing(inputs, champion, registry.load(champion))
    if wrong:
        yield Fault(
            f"of {compared} customers, {len(wrong)} are carried otherwise than their histories give, as {wrong[0]}",
            "their scores are other than those of a new computation",
            partial(shutil.rmtree, carried_folder(settings.state)),
        )


def _id_index(settings: Settings) -> Iterator[Fault]:
    folder = id_index.folder(settings.state)
    try:
        damaged = manifest.damaged() if (manifest := Manifest.read(folder)) else []
    except DamagedError:
        damaged = [NAME]
    if damaged:
        cost = "the next night makes it again from the event store"
        yield Fault(f"{folder / damaged[0]} is damaged", cost, partial(shutil.rmtree, folder))


def _nights(settings: Settings) -> Iterator[Fault]:
    predictions = open_predictions(settings.predictions, settings.root)
    with predictions.reading() as connection:
        damaged = [day for day in predictions.published_nights() if not is_whole(connection, day)]
    for day in damaged:
        words = f"{predictions.file}: the predictions of the night {day} are not what was published"
        yield Fault(words, f"readers see others; publish them again with `recur score --cutoff {day}`")


def _published(settings: Settings) -> Iterator[Fault]:
    folder, predictions = settings.published, open_predictions(settings.predictions, settings.root)
    if folder is None or not folder.exists():
        return

    def export(day: date) -> None:
        with predictions.reading() as connection:
            exports.export_again(folder, connection, day)

    cost = "readers of the files miss it or read something else; the database has it"
    with predictions.reading() as connection:
        nights = connection.scalars(select(prediction.c.score_date).distinct().order_by(prediction.c.score_date))
        damaged = [day for day in nights.all() if not exports.is_exported(folder, connection, day)]
    for day in damaged:
        yield Fault(f"{folder}, score_date={day}: is not what was published", cost, partial(export, day))


def _others(settings: Settings) -> Iterator[Fault]:
    described = set[Path]()
    for name, cost in COSTS.items():
        for manifest_file in sorted((settings.var / name).rglob(NAME)):
            folder = manifest_file.parent
            manifest, damaged = Manifest(folder), [NAME]
            with suppress(DamagedError):
                manifest = Manifest.read(folder) or manifest
                damaged = manifest.damaged()
            described |= {folder / each for each in manifest.entries}
            for each in damaged:
                repair = partial(remove, folder / each) if name in MADE_WITH_ITS_NIGHT and each != NAME else None
                yield Fault(f"{folder / each} is missing or damaged", cost, repair)
        for file in sorted((settings.var / name).rglob("*.parquet")):
            if file not in described and not _is_readable(file):
                yield Fault(f"{file} is damaged", cost)
    for folder in sorted((settings.var / "source").glob("*/")):
        read_contents(folder)


def _is_readable(file: Path) -> bool:
    """Whether a Parquet file can be read to its end."""
    try:
        with pq.ParquetFile(file) as parquet:
            return bool(sum(batch.num_rows for batch in parquet.iter_batches()) == parquet.metadata.num_rows)
    except (pa.ArrowException, OSError):
        return False
