"""What the index of a source holds, in one sealed file beside its chunks."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.runtime.manifest import NAME
from pipeline.runtime.nights import midnight
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.sealed import DamagedError, read_sealed

MISTAKEN_GAP = timedelta(days=366)
MISTAKEN_SHARE = 0.01
NEVER = datetime.max.replace(tzinfo=UTC)
CONTENTS, FORMAT = "contents.json", 1
WAY_BACK = (
    "put it back from a backup, or remove its folder: the source is read anew then, and what it sent late since the "
    "last night is left out"
)
STORED_NAMES = {"sync": "pull", "chunks": "parts", "deletions": "gone", "malformed": "strays"}
"""The keys of `contents.json` that bear another name than here."""


class _Stored(BaseModel):
    model_config = ConfigDict(
        alias_generator=lambda name: STORED_NAMES.get(name, name), populate_by_name=True, serialize_by_alias=True
    )


class Chunk(_Stored):
    """One file of the index: what a sync read of the source's file named `address`, and the first and last moment in
    it; `entry` is that of its `Input`. Where some of its rows have no usable time, those that have lie before `end`,
    and the others, each with a moment given to it, in a file of their own, `malformed`.
    """

    name: str
    sync: int
    address: str
    entry: int = 0
    first: datetime = NEVER
    last: datetime = NEVER
    end: datetime | None = None
    malformed: str | None = None


class Contents(_Stored):
    """What the index holds after `sync` syncs. `files`: the stamp of each of the source's files, by name, as it was
    last read. `deletions`: by sync, the files of the numbers of rows that the source no longer held. `days`: how many
    rows have their moment on each day. `nights`: the sync with which each night was taken. `repeats`: by name, how many
    of a file's rows other files have too.
    """

    sync: int = 0
    last_row: int = 0
    files: dict[str, str] = {}
    chunks: list[Chunk] = []
    deletions: dict[int, list[str]] = {}
    days: dict[date, int] = {}
    first_event: datetime | None = None
    nights: dict[str, int] = {}
    repeats: dict[str, int] = {}

    @property
    def names(self) -> set[str]:
        """The files of the index."""
        chunks = {name for chunk in self.chunks for name in (chunk.name, chunk.malformed) if name}
        return chunks.union(*self.deletions.values())

    @property
    def closed(self) -> datetime:
        """The end of the last closed day."""
        return midnight(last_real_day(sorted(self.days.items())))


def read_contents(folder: Path) -> Contents:
    """What the index in `folder` holds. Raises DamagedError where that is damaged, or lost beside its chunks."""
    try:
        return Contents.model_validate(read_sealed(folder / CONTENTS, FORMAT))
    except FileNotFoundError:
        if not (folder / NAME).exists():  # a first sync may have been killed
            return Contents()
        raise DamagedError(f"{folder / CONTENTS} is missing: {WAY_BACK}") from None
    except (DamagedError, ValidationError):
        raise DamagedError(f"{folder / CONTENTS} is damaged: it does not hold what was written: {WAY_BACK}") from None


def sweep_unlisted(folder: Path, contents: Contents) -> None:
    """Removes from an index's folder what a killed sync left."""
    for file in folder.iterdir():
        if file.name not in contents.names | {CONTENTS, NAME}:
            file.unlink()


def sweep_all(state: StateFolder) -> None:
    """The same for every index, which nobody may be at work on."""
    for folder in (state.path / "source").glob("*/"):
        sweep_unlisted(folder, read_contents(folder))


def last_real_day(days: list[tuple[date, int]]) -> date:
    """The last day that events really have. `days` holds each day and its number of rows, ascending.

    One row dated 2099 must not make the pipeline wait for 2099: the days after a gap of more than a year that hold at
    most one row in a hundred are taken for mistaken.
    """
    allowed, after = MISTAKEN_SHARE * sum(rows for _, rows in days), 0
    last = days[-1][0]
    for (day, _), (following, rows) in zip(days[-2::-1], days[:0:-1], strict=True):
        after += rows
        if after > allowed:
            break
        if following - day > MISTAKEN_GAP:
            last = day
    return last
