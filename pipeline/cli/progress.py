"""The main job's progress: a bar over the nights on a terminal, plain lines on a pipe."""

from datetime import datetime
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bar

SLOW_TASK = 2.0  # seconds from which a task has a line of its own


class Progress:
    """What the job is doing now, which tasks took long, and which nights are done."""

    def __init__(self, file: TextIO, nights: int) -> None:
        self.console = Console(file=file, highlight=False)
        self.bar = Bar(
            TextColumn("nights"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self.task = self.bar.add_task("", total=nights)

    def __enter__(self) -> Self:
        self.bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bar.stop()

    def print(self, line: str) -> None:
        self.bar.console.print(line, soft_wrap=True, markup=False)

    def show(self, what: str) -> None:
        self.bar.update(self.task, description=what)

    def task_done(self, name: str, seconds: float, outcome: str) -> None:
        if outcome or seconds >= SLOW_TASK:
            self.print(f"  {name}: {outcome or f'{seconds:.0f} s'}")

    def night_done(self, cutoff: datetime) -> None:
        self.bar.advance(self.task)
        self.print(f"{cutoff.date()} done")
