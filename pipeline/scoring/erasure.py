"""Erases one customer from all carried state."""

import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.event_store.objects import object_digest
from pipeline.event_store.store import EventStore
from pipeline.runtime.paths import StateFolder, atomically
from pipeline.scoring.checkpoints import Plan, checkpoint_folders, read_plan, write_plan
from pipeline.scoring.shard import StateShard


def erase(store: EventStore, state: StateFolder, customer_id: str) -> int:
    """Removes `customer_id` from carried state and from the lists of who was not scored; returns from how many shards
    and lists. To be called once the event store is rid of the customer: its objects are taken as they are now, so that
    the others' state stays valid.
    """
    removed = 0
    for file in sorted((state.path / "not_scored").glob("*.parquet")):
        table = pq.read_table(file)
        others = table.filter(pc.not_equal(table["customer_id"], customer_id))
        if len(others) < len(table):
            removed += 1
            with atomically(file) as temporary:
                pq.write_table(others, temporary)
    for folder in checkpoint_folders(state):
        removed += _erase_from(store, folder, customer_id)
    return removed


def _erase_from(store: EventStore, folder: Path, customer_id: str) -> int:
    """Removes an incomplete or a damaged checkpoint, to be built again: a copy would seal the damage. Else a copy
    without the customer replaces the folder when it is complete; killed between the two, everything is recomputed.
    """
    if folder.name.startswith("."):
        shutil.rmtree(folder)
        return 0
    copy = folder.with_name(f"{folder.name}.erased")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(folder, copy, copy_function=os.link)
    plan = read_plan(folder)
    if plan.sealed and any(StateShard.damage(folder, number) for number in plan.shards):
        shutil.rmtree(copy)
        shutil.rmtree(folder)
        return 0
    removed = sum(_erase_from_shard(folder, copy, number, customer_id) for number in plan.shards)
    objects = {name: object_digest(store.path(date.fromisoformat(name))) for name in plan.objects}
    write_plan(copy, replace(plan, objects=objects, starts=_starts_without(plan, copy, customer_id)))
    shutil.rmtree(folder)
    copy.rename(folder)
    return removed


def _erase_from_shard(folder: Path, copy: Path, number: int, customer_id: str) -> bool:
    """Whether the shard held anything of the customer."""
    attributes = [str(attribute) for attribute in range(len(list(folder.glob(f"{number:04d}.seen.*"))))]
    shard = StateShard.read(folder, number, attributes if StateShard.has_sums(folder, number) else None)
    in_pending, in_shard = pc.equal(shard.pending["customer_id"], customer_id), pc.equal(shard.customers, customer_id)
    if not in_shard.true_count and not pc.any(in_pending).as_py():
        return False
    others = shard.aligned_to(shard.customers.filter(pc.invert(in_shard)), pa.array([customer_id]))
    replace(others, pending=shard.pending.filter(pc.invert(in_pending))).write(copy, number)
    return True


def _starts_without(plan: Plan, copy: Path, customer_id: str) -> list[str]:
    """A shard that began with the customer begins with the next that there is."""
    starts = list(plan.starts)
    if customer_id in starts:
        number = starts.index(customer_id)
        shard = StateShard.read(copy, number + 1, None)
        following = [*shard.customers.to_pylist(), *shard.pending["customer_id"].to_pylist(), *starts[number + 1 :]]
        starts[number : number + 1] = [min(following)] if following else []
    return starts
