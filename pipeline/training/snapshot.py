"""A snapshot: the examples that all models of a training share, and how they are split by time.

Its files are `meta.json`, and those of `dataset_files`, in one folder a cutoff.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from features.arrays import Integers
from features.dataset import Dataset
from features.question import Question
from features.splits import Split
from features.time import microseconds
from models.held_out import Parts
from pipeline.datasets.dataset_files import SHARDS, describe_dataset, read_dataset, way_back
from pipeline.runtime.described import describe, described, was_written, whole
from pipeline.runtime.errors import RecurError
from pipeline.runtime.nights import midnight
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import DamagedError

META, OUTCOME = "meta.json", "promotion.json"
Part = Literal["train", "valid", "calibrate", "test"]
PARTS: tuple[Part, ...] = ("train", "valid", "calibrate", "test")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """Features of `data` use what was known at each example's cutoff, labels what was known at `cutoff`. `test_digest`,
    `churn` and `examples` are those of the day on which it was taken, whoever was erased since.
    """

    cutoff: datetime
    question: Question
    windows: tuple[Split, ...]  # oldest first
    remarks: tuple[str, ...]  # what a reader should know of the windows
    data: Dataset
    test_digest: str = ""
    churn: tuple[dict[Part, float | None], ...] = ()  # a window: the share that churned, None where nobody is there
    examples: dict[str, int] = field(default_factory=dict)  # of the latest parts, of every `test`, and `all`
    run_id: str = ""  # of MLflow's parent run
    reads: Mapping[str, bool] = field(default_factory=dict)  # which pieces of information models read, all or none

    def measured(self) -> Self:
        """The same with its digest, churn and numbers of examples."""
        parts = [{part: self.part(part, window) for part in PARTS} for window in range(len(self.windows))]
        test = self.test()
        return replace(
            self,
            test_digest=digest(test),
            churn=tuple({part: self._churn(data) for part, data in window.items()} for window in parts),
            examples={part: len(data) for part, data in parts[-1].items()} | {"test": len(test), "all": len(self.data)},
        )

    def part(self, name: Part, window: int = -1) -> Dataset:
        """The examples of one part of a window's split, by default the latest window's, with the labels that were known
        when the next part begins. The split keeps the primary horizon out of the next part; a longer horizon that
        reaches into it loses its labels.
        """
        split = self.windows[window]
        cutoffs: tuple[datetime, ...] = getattr(split, name)
        # Where calibration is the latest part of validation, both are followed by the test.
        later = [first for other in PARTS if (first := getattr(split, other)[0]) > cutoffs[-1]]
        examples = self._at(cutoffs)
        return examples.known_at(microseconds(later[0]), self.question.gap) if later else examples

    def parts(self, window: int) -> Parts:
        return Parts(**{part: self.part(part, window) for part in PARTS}, known=self.known_before_test(window))

    def known_before_test(self, window: int = -1) -> Dataset:
        """The examples of every cutoff before a window's test, with the labels that were known when it begins."""
        test = microseconds(self.windows[window].test[0])
        return self.data.select(self.data.cutoff < test).known_at(test, self.question.gap)

    def test(self) -> Dataset:
        """The test examples of all windows, oldest first."""
        return self._at([cutoff for split in self.windows for cutoff in split.test])

    def seen_in_training(self) -> np.ndarray:
        """Whether the customer of each example of `test` is in the training part of its window."""
        customers = [
            pd.Index(self._at(split.test).customer_id).isin(self._at(split.train).customer_id) for split in self.windows
        ]
        return np.concatenate(customers)

    def write(self, folder: Path) -> None:
        """Beside the examples, which are there already."""
        content = {
            "cutoff": self.cutoff.isoformat(),
            "question": self.question.model_dump(mode="json"),
            "question_digest": self.question.digest,
            "windows": [
                {part: [cutoff.isoformat() for cutoff in getattr(split, part)] for part in PARTS} | {"churn": churn}
                for split, churn in zip(self.windows, self.churn, strict=True)
            ],
            "remarks": self.remarks,
            "test_digest": self.test_digest,
            "examples": self.examples,
            "run_id": self.run_id,
            "reads": self.reads,
        }
        with described(folder, META) as file:
            file.write_text(json.dumps(content, indent=2), "utf-8")

    @classmethod
    def read(cls, folder: Path, question: Question) -> Self:
        """What `write` wrote. Raises RecurError where there is no snapshot of this question."""
        if (content := read_meta(folder)) is None:
            raise RecurError(f"there is no snapshot as of {folder.name} in {folder}: run `recur train` for it")
        if content["question_digest"] != question.digest:
            raise RecurError(
                f"the snapshot in {folder} is of another question ({content['question_digest']}): run `recur train` "
                "again"
            )
        return cls(
            datetime.fromisoformat(content["cutoff"]),
            question,
            windows_of(content),
            tuple(content["remarks"]),
            read_dataset(folder),
            content["test_digest"],
            tuple(window["churn"] for window in content["windows"]),
            content["examples"],
            content["run_id"],
            # An earlier recur chose whether to read the calendar alone.
            content.get("reads") or {"calendar": content.get("calendar", False), "categories": True},
        )

    def _at(self, cutoffs: Sequence[datetime]) -> Dataset:
        return self.data.select(np.isin(self.data.cutoff, [microseconds(cutoff) for cutoff in cutoffs]))

    def _churn(self, data: Dataset) -> float | None:
        """The share that churned within the primary horizon."""
        assert data.labels is not None
        churn = data.labels.churn[:, self.question.primary_index]
        return float(np.nanmean(churn)) if np.isfinite(churn).any() else None


def read_meta(folder: Path) -> dict[str, Any] | None:
    """The content of `meta.json`; None where there is no snapshot. Raises DamagedError."""
    content: dict[str, Any] | None = read_json(folder, META) if folder.exists() else None
    return content


def read_json(folder: Path, name: str) -> Any:
    """The content of the file `name` of the snapshot in `folder`; None where it never was there. Raises DamagedError
    where it is not what was written.
    """
    file = whole(folder, name, way_back(folder))
    try:
        return json.loads(file.read_text("utf-8")) if file.exists() else None
    except ValueError:  # of an earlier recur, which described none
        raise DamagedError(f"{file} is damaged: it is no JSON: {way_back(folder)}") from None


def read_rows(folder: Path, name: str) -> pa.Table:
    """The Parquet file `name` of the snapshot in `folder`. Raises DamagedError where it is not what was written."""
    return pq.read_table(whole(folder, name, way_back(folder)))


def describe_snapshot(folder: Path) -> None:
    """Has every file of a snapshot described that a training reads, as it is now."""
    files = sorted(file for kind in ("json", "parquet") for file in folder.rglob(f"[!._]*.{kind}"))
    names = [file.relative_to(folder) for file in files]
    describe(folder, [name.as_posix() for name in names if name.parts[0] != SHARDS])
    if (folder / SHARDS).exists():
        describe_dataset(folder)


def windows_of(content: dict[str, Any]) -> tuple[Split, ...]:
    """The splits that `meta.json` tells of, oldest first."""
    return tuple(
        Split(**{part: tuple(map(datetime.fromisoformat, window[part])) for part in PARTS})
        for window in content["windows"]
    )


def label_moments(windows: Sequence[Split]) -> Integers:
    """The moments at which `Snapshot.part` asks what the labels were, in microseconds: the beginning of every part but
    the first. The labels of a part are those known when the next one begins, whatever came to be known since.
    """
    return np.unique([microseconds(getattr(split, part)[0]) for split in windows for part in PARTS[1:]])


def digest(data: Dataset) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of the examples: their customers, cutoffs and labels, in order."""
    assert data.labels is not None
    content = hashlib.sha256(json.dumps(data.customer_id.tolist()).encode())
    for array in (data.cutoff, data.labels.churn, data.labels.purchases, data.labels.spend):
        content.update(np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes())
    return content.hexdigest()[:16]


def write_outcome(folder: Path, question_digest: str, outcome: dict[str, Any]) -> None:
    """Mark the training of `folder` finished, with what became of it."""
    with described(folder, OUTCOME) as file:
        file.write_text(json.dumps({"question_digest": question_digest, **outcome}, indent=2), "utf-8")


def read_outcome(state: StateFolder, question_digest: str, cutoff: datetime) -> dict[str, Any] | None:
    """What became of the training of a question as of `cutoff`; None where none was finished, or its files are gone."""
    content: dict[str, Any] = read_json(state.snapshot(cutoff), OUTCOME) or {}
    return content if content.get("question_digest") == question_digest else None


def finished_trainings(state: StateFolder, question_digest: str) -> list[datetime]:
    """The cutoffs of the finished trainings of a question, ascending."""
    folders = sorted(state.path.glob("snapshots/????-??-??"))
    finished = (folder for folder in folders if was_written(folder, OUTCOME))
    same = (folder for folder in finished if read_json(folder, OUTCOME)["question_digest"] == question_digest)
    return [midnight(datetime.fromisoformat(folder.name)) for folder in same]
