"""The checkpoints of carried state: a folder for each model version and cutoff. It is built under a hidden name, shard
by shard, and renamed when it is complete; the shards of a killed process are used again.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from pipeline.runtime.nights import parse_cutoff
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.training.registry import Version

PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """What a checkpoint is made from. `objects` are those of the event store that were read, by score date, each with
    a digest; `starts` the first customer of every shard but the first; `origin` the checkpoint that it continues.
    """

    objects: dict[str, str]
    starts: list[str]
    origin: str | None

    @property
    def shards(self) -> range:
        return range(len(self.starts) + 1)


@dataclass(frozen=True)
class Checkpoint:
    """`folder` is named after the cutoff's date: nothing known later, nothing that happens at or after it, is read."""

    folder: Path
    plan: Plan

    @property
    def cutoff(self) -> datetime:
        return parse_cutoff(self.folder.name)


class Checkpoints:
    """The checkpoints of one model version and its question."""

    def __init__(self, state: StateFolder, version: Version) -> None:
        self._carried = carried_folder(state)
        self.folder = self._carried / f"{version.run_id}-{version.question_digest}"

    def complete(self) -> list[Checkpoint]:
        """Oldest first."""
        plans = sorted(self.folder.glob(f"????-??-??/{PLAN}"))
        return [Checkpoint(plan.parent, read_plan(plan.parent)) for plan in plans]

    def of_cutoff(self, cutoff: datetime, objects: dict[str, str]) -> Checkpoint | None:
        """The complete checkpoint of `cutoff` that read exactly these `objects`."""
        same = (made for made in self.complete() if made.cutoff == cutoff and made.plan.objects == objects)
        return next(same, None)

    def latest_before(self, cutoff: datetime, objects: dict[str, str]) -> Checkpoint | None:
        """The latest complete checkpoint before `cutoff` that read exactly those of `objects` that end by its own."""
        for checkpoint in reversed(self.complete()):
            earlier = {name: digest for name, digest in objects.items() if parse_cutoff(name) <= checkpoint.cutoff}
            if checkpoint.cutoff < cutoff and checkpoint.plan.objects == earlier:
                return checkpoint
        return None

    def interrupted_plan(self, cutoff: datetime, objects: dict[str, str], origin: str | None) -> Plan | None:
        """The plan of an earlier attempt at the same checkpoint that was broken off."""
        folder = self._building(cutoff)
        plan = read_plan(folder) if (folder / PLAN).exists() else None
        return plan if plan and (plan.objects, plan.origin) == (objects, origin) else None

    def begin(self, cutoff: datetime, plan: Plan) -> Path:
        """The folder in which the checkpoint is built, with the shards of an earlier attempt at the same plan."""
        building = self._building(cutoff)
        if building.exists() and (not (building / PLAN).exists() or read_plan(building) != plan):
            shutil.rmtree(building)
        building.mkdir(parents=True, exist_ok=True)
        write_plan(building, plan)
        return building

    def finish(self, cutoff: datetime, plan: Plan) -> None:
        """Renames the complete folder. It, its origin and its version's latest stay; all others, of any version, go."""
        final = self.folder / str(cutoff.date())
        shutil.rmtree(final, ignore_errors=True)  # of a night that was loaded again since
        self._building(cutoff).rename(final)
        kept = {final, self.complete()[-1].folder, self.folder / (plan.origin or final.name)}
        for version_folder in self._carried.glob("*"):
            for folder in version_folder.iterdir() if version_folder == self.folder else [version_folder]:
                if folder not in kept:
                    shutil.rmtree(folder, ignore_errors=True)

    def _building(self, cutoff: datetime) -> Path:
        return self.folder / f".{cutoff.date()}.building"


def carried_folder(state: StateFolder) -> Path:
    return state.path / "carried"


def checkpoint_folders(state: StateFolder) -> Iterator[Path]:
    """Every folder that holds shards, of all versions: checkpoints, complete or not."""
    for plan in sorted(carried_folder(state).glob(f"*/*/{PLAN}")):
        yield plan.parent


def read_plan(folder: Path) -> Plan:
    return Plan(**json.loads((folder / PLAN).read_text("utf-8")))


def write_plan(folder: Path, plan: Plan) -> None:
    with atomically(folder / PLAN) as file:
        file.write_text(json.dumps(asdict(plan)), "utf-8")
