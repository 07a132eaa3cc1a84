"""Erases one customer from all carried state."""

import os
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.config.settings import Settings
from pipeline.event_store.night_events import digest
from pipeline.event_store.store import open_store
from pipeline.runtime.paths import atomically
from pipeline.scoring import checkpoints as generations
from pipeline.scoring.shard import Block


def erase(settings: Settings, customer_id: str) -> int:
    """Removes `customer_id` and returns from how many blocks and lists. To be called once the event store is rid of the
    customer: its objects are taken as they are now, so that the others' state stays as it is.
    """
    removed = 0
    for file in sorted((settings.var / "not_scored").glob("*.parquet")):
        table = pq.read_table(file)
        kept = table.filter(pc.not_equal(table["customer_id"], customer_id))
        if len(kept) < len(table):
            removed += 1
            with atomically(file) as temporary:
                pq.write_table(kept, temporary)
    for folder in generations.every(settings):
        removed += _erase_from(settings, folder, customer_id)
    return removed


def _erase_from(settings: Settings, folder: Path, customer_id: str) -> int:
    """What is not whole goes, to be made again. Else a folder without the customer takes the place when it is whole;
    killed between the two, all is read anew.
    """
    if folder.name.startswith("."):
        shutil.rmtree(folder)
        return 0
    other = folder.with_name(f"{folder.name}.erased")
    shutil.rmtree(other, ignore_errors=True)
    shutil.copytree(folder, other, copy_function=os.link)
    store, plan, removed = open_store(settings), generations.read(folder), 0
    for number in plan.blocks:
        has_sums, seen = Block.has_sums(folder, number), list(folder.glob(f"{number:04d}.seen.*"))
        block = Block.read(folder, number, [str(at) for at in range(len(seen))] if has_sums else None)
        waits, here = pc.equal(block.pending["customer_id"], customer_id), pc.equal(block.customers, customer_id)
        if here.true_count or pc.any(waits).as_py():
            removed += 1
            rest = block.among(block.customers.filter(pc.invert(here)), pa.array([customer_id]))
            replace(rest, pending=block.pending.filter(pc.invert(waits))).write(other, number)
    objects = {name: digest(store.path(date.fromisoformat(name))) for name in plan.objects}
    starts = list(plan.starts)
    if customer_id in starts:  # the block begins with the next that there is
        at = starts.index(customer_id)
        block = Block.read(other, at + 1, None)
        following = [*block.customers.to_pylist(), *block.pending["customer_id"].to_pylist(), *starts[at + 1 :]]
        starts[at : at + 1] = [min(following)] if following else []
    generations.write(other, replace(plan, objects=objects, starts=starts))
    shutil.rmtree(folder)
    other.rename(folder)
    return removed
