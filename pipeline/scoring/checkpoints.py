"""The generations of carried state: each is a folder, of one model, one question and one known time. It is made beside
its place, block by block, and takes it when it is whole; what a killed process had made of it is gone on from.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipeline.config.settings import Settings
from pipeline.runtime.nights import midnight, parse_cutoff
from pipeline.runtime.paths import atomically
from pipeline.training.registry import Version

PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What a generation is made from. `objects` are those of the event store that were read, by score date, each with
    a digest; `starts` the first customer of every block but the first; `origin` the generation that it goes on from.
    """

    objects: dict[str, str]
    starts: list[str]
    origin: str | None

    @property
    def blocks(self) -> range:
        return range(len(self.starts) + 1)


@dataclass(frozen=True)
class Generation:
    """`folder` is named after the cutoff's date: nothing known later, nothing that happens at or after it, is read."""

    folder: Path
    plan: Plan

    @property
    def cutoff(self) -> datetime:
        return parse_cutoff(self.folder.name)


def room(settings: Settings) -> Path:
    return settings.var / "carried"


def of_version(settings: Settings, version: Version) -> Path:
    """The folder of all generations of a version."""
    return room(settings) / f"{version.run_id}-{version.question_digest}"


def whole(folder: Path) -> list[Generation]:
    """The generations in `folder`, oldest first."""
    return [Generation(plan.parent, read(plan.parent)) for plan in sorted(folder.glob(f"????-??-??/{PLAN}"))]


def origin(folder: Path, cutoff: datetime, objects: dict[str, str]) -> Generation | None:
    """The latest generation before `cutoff` that read just what the store still holds of its nights."""
    for generation in reversed(whole(folder)):
        if generation.cutoff < cutoff and generation.plan.objects == _until(objects, generation.cutoff):
            return generation
    return None


def begin(folder: Path, cutoff: datetime, plan: Plan) -> Path:
    """The folder in which the generation of `cutoff` is made; it holds the blocks of an earlier try at the same."""
    building = folder / f".{cutoff.date()}.building"
    if building.exists() and (not (building / PLAN).exists() or read(building) != plan):
        shutil.rmtree(building)
    building.mkdir(parents=True, exist_ok=True)
    write(building, plan)
    return building


def resumed(folder: Path, cutoff: datetime, objects: dict[str, str], origin: str | None) -> Plan | None:
    """The plan of an earlier try at the same that was broken off."""
    file = folder / f".{cutoff.date()}.building" / PLAN
    found = read(file.parent) if file.exists() else None
    return found if found and (found.objects, found.origin) == (objects, origin) else None


def finish(settings: Settings, building: Path, plan: Plan) -> Generation:
    """Puts the whole generation in its place. Kept beside it are the one that it goes on from, and the latest of its
    model: all others go.
    """
    folder = building.parent
    place = folder / building.name.removeprefix(".").removesuffix(".building")
    shutil.rmtree(place, ignore_errors=True)  # of a night that was loaded anew since
    building.rename(place)
    latest = whole(folder)[-1].folder
    kept = {place, latest, folder / (plan.origin or place.name)}
    for other in room(settings).glob("*"):
        for one in other.iterdir() if other == folder else [other]:
            if one not in kept:
                shutil.rmtree(one, ignore_errors=True)
    return Generation(place, plan)


def _until(objects: dict[str, str], cutoff: datetime) -> dict[str, str]:
    return {name: digest for name, digest in objects.items() if midnight(datetime.fromisoformat(name)) <= cutoff}


def read(folder: Path) -> Plan:
    return Plan(**json.loads((folder / PLAN).read_text("utf-8")))


def write(folder: Path, plan: Plan) -> None:
    with atomically(folder / PLAN) as file:
        file.write_text(json.dumps(asdict(plan)), "utf-8")


def every(settings: Settings) -> Iterator[Path]:
    """Every folder that holds blocks: generations, whole or not."""
    for plan in sorted(room(settings).glob(f"*/*/{PLAN}")):
        yield plan.parent
