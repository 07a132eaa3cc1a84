"""The main job's progress: a bar over the nights on a terminal, plain lines on a pipe."""

from datetime import datetime
from typing import TextIO

from rich import progress
from rich.console import Console

SLOW_TASK = 2.0  # seconds from which a task has a line of its own


class Progress(progress.Progress):
    """What the job is doing now, which tasks took long, and which nights are done."""

    def __init__(self, file: TextIO, nights: int) -> None:
        console = Console(file=file, highlight=False)
        super().__init__(
            progress.TextColumn("nights"),
            progress.BarColumn(),
            progress.MofNCompleteColumn(),
            progress.TimeElapsedColumn(),
            progress.TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.nights = self.add_task("", total=nights)

    def write(self, line: str) -> None:
        self.print(line, soft_wrap=True, markup=False)

    def show(self, what: str) -> None:
        self.update(self.nights, description=what)

    def task_done(self, name: str, seconds: float, outcome: str) -> None:
        if outcome or seconds >= SLOW_TASK:
            self.write(f"  {name}: {outcome or f'{seconds:.0f} s'}")

    def night_done(self, cutoff: datetime) -> None:
        self.advance(self.nights)
        self.write(f"{cutoff.date()} done")
