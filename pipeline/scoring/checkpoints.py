"""The checkpoints of carried state: a folder for each model version and cutoff. It is built under a hidden name, shard
by shard, and renamed when it is complete; the shards of a killed process are used again. What is damaged is dropped,
since it can be computed again.
"""

import logging
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipeline.runtime.nights import parse_cutoff
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import DamagedError, read_sealed, write_sealed
from pipeline.scoring.shard import StateShard
from pipeline.training.registry import Version

log = logging.getLogger("recur.score")
PLAN = "plan.json"
FORMAT = 1


@dataclass(frozen=True)
class Plan:
    """What a checkpoint is made from. `objects` are those of the event store that were read, by score date, each with
    a digest; `starts` the first customer of every shard but the first; `origin` the checkpoint that it continues.
    """

    objects: dict[str, str]
    starts: list[str]
    origin: str | None
    sealed: bool = field(default=True, compare=False)  # whether its shards have digests: an earlier recur's have none

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
        folders = [plan.parent for plan in sorted(self.folder.glob(f"????-??-??/{PLAN}"))]
        plans = ((folder, _plan_or_none(folder)) for folder in folders)
        return [Checkpoint(folder, plan) for folder, plan in plans if plan is not None]

    def of_cutoff(self, cutoff: datetime, objects: dict[str, str]) -> Checkpoint | None:
        """The complete checkpoint of `cutoff` that read exactly these `objects`, and is whole."""
        same = (made for made in self.complete() if made.cutoff == cutoff and made.plan.objects == objects)
        return next((made for made in same if _is_whole(made)), None)

    def latest_before(self, cutoff: datetime, objects: dict[str, str]) -> Checkpoint | None:
        """The latest complete checkpoint before `cutoff` that read exactly those of `objects` that end by its own, and
        is whole.
        """
        for checkpoint in reversed(self.complete()):
            earlier = {name: digest for name, digest in objects.items() if parse_cutoff(name) <= checkpoint.cutoff}
            if checkpoint.cutoff < cutoff and checkpoint.plan.objects == earlier and _is_whole(checkpoint):
                return checkpoint
        return None

    def interrupted_plan(self, cutoff: datetime, objects: dict[str, str], origin: str | None) -> Plan | None:
        """The plan of an earlier attempt at the same checkpoint that was broken off."""
        folder = self._building(cutoff)
        plan = _plan_or_none(folder)
        return plan if plan and (plan.objects, plan.origin) == (objects, origin) else None

    def begin(self, cutoff: datetime, plan: Plan) -> Path:
        """The folder in which the checkpoint is built, with the shards of an earlier attempt at the same plan."""
        building = self._building(cutoff)
        if building.exists() and _plan_or_none(building) != plan:
            shutil.rmtree(building, ignore_errors=True)
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
    """Raises DamagedError where it is not as it was written, and RecurError where a later recur wrote it."""
    content = read_sealed(folder / PLAN, FORMAT)
    try:
        return Plan(sealed=content.pop("format") > 0, **content)
    except TypeError:
        raise DamagedError(f"{folder / PLAN} is damaged: it does not hold what was written") from None


def write_plan(folder: Path, plan: Plan) -> None:
    write_sealed(folder / PLAN, {"objects": plan.objects, "starts": plan.starts, "origin": plan.origin}, FORMAT)


def _plan_or_none(folder: Path) -> Plan | None:
    """The plan of `folder`; None where there is none, or a damaged one, which goes with all that was made by it."""
    try:
        return read_plan(folder)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        _drop(folder, str(error))
        return None


def _is_whole(checkpoint: Checkpoint) -> bool:
    """Whether every shard is as it was written; else the checkpoint is dropped."""
    if not checkpoint.plan.sealed:
        return True
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        damaged = pool.map(lambda number: StateShard.damage(checkpoint.folder, number), checkpoint.plan.shards)
        fault = next((damage for damage in damaged if damage), None)
    if fault:
        _drop(checkpoint.folder, fault)
    return fault is None


def _drop(folder: Path, fault: str) -> None:
    log.warning("%s: this carried state is dropped, and computed again from the event store", fault)
    shutil.rmtree(folder, ignore_errors=True)
