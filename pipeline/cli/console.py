"""How the command line shows things: a console, tables that fit it, figures as people read them, progress."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import IO, Any, Literal

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipeline.serving.views import View

PIPE_WIDTH = 100
MOST_ROWS = 1000
GAP, FOLDED = 2, 30  # columns between columns, and at least for one whose text is folded
SLOW_STEP = 2.0  # seconds from which a step on a pipe has a line of its own
INTERVAL = 10.0  # seconds after which what is still at work is shown again


def open_console(file: IO[str] | None = None) -> Console:
    """The terminal at its width; on a pipe, plain text of 100 columns unless COLUMNS says otherwise."""
    console = Console(file=file, highlight=False, markup=False)
    if not console.is_terminal and "COLUMNS" not in console._environ:
        console = Console(file=file, highlight=False, markup=False, width=PIPE_WIDTH)
    return console


def print_table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Rows under their columns, numbers to the right. Where only the widest column is too wide for the console, it is
    folded; what is wider still is shown record by record.
    """
    texts = [[formatted(value) for value in row] for row in rows[:MOST_ROWS]]
    widths = [max(map(cell_len, column)) for column in zip(columns, *texts, strict=True)]
    widest = widths.index(max(widths))
    others = sum(widths) - widths[widest] + GAP * (len(widths) - 1)
    if others + min(widths[widest], FOLDED) > console.width:
        _print_records(console, columns, texts)
    else:
        grid = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        for number, column in enumerate(columns):
            numeric = any(isinstance(row[number], (int, float, Decimal)) for row in rows)
            justify: Literal["left", "right"] = "right" if numeric else "left"
            grid.add_column(Text(column), justify=justify, no_wrap=number != widest, overflow="fold")
        for row in texts:
            grid.add_row(*map(Text, row))
        console.print(grid)
    if len(rows) > MOST_ROWS:
        console.print(f"... and {len(rows) - MOST_ROWS:,} rows more: --format csv shows them all", style="dim")


def _print_records(console: Console, columns: Sequence[str], records: Sequence[Sequence[str]]) -> None:
    widest = max(cell_len(column) for column in columns)
    for number, record in enumerate(records):
        if number:
            console.print()
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="bold", width=widest)
        grid.add_column(overflow="fold")
        for column, text in zip(columns, record, strict=True):
            grid.add_row(Text(column), Text(text))
        console.print(grid)


def print_views(console: Console, described: Mapping[str, View]) -> None:
    """What each view is, and what each of its columns means."""
    first_with: dict[tuple[str, ...], str] = {}
    for name, view in described.items():
        console.print(name, style="bold")
        console.print(view.description)
        first = first_with.setdefault(tuple(view.columns), name)
        if first == name:
            grid = Table.grid(padding=(0, 2, 0, 2))
            grid.add_column(no_wrap=True)
            grid.add_column()
            for column, meaning in view.columns.items():
                grid.add_row(Text(column), Text(meaning, style="dim"))
            console.print(grid)
        else:
            console.print(f"  the columns of {first}", style="dim")
        console.print()


def formatted(value: Any) -> str:
    """A value as text of one line: four decimals at most, and no character that would move a terminal's cursor."""
    if value is None:
        return ""
    if isinstance(value, float):
        small = value != 0 and abs(value) < 1e-4
        return f"{value:.3g}" if small else f"{value:.4f}".rstrip("0").rstrip(".")
    if isinstance(value, datetime):
        return value.isoformat(sep=" ", timespec="seconds")
    if isinstance(value, date):
        return value.isoformat()
    return "".join(letter if letter.isprintable() else " " for letter in str(value))


@contextmanager
def shown_while_at_work(show: Callable[[str], None], interval: float = INTERVAL) -> Iterator[None]:
    """Within the block, every `interval` seconds `show` gets what the pipeline logged last in it, empty where it logged
    nothing. `show` is called in a thread of its own.
    """
    latest, done, logger = _Latest(), threading.Event(), logging.getLogger("recur")

    def tell() -> None:
        while not done.wait(interval):
            show(latest.message)

    thread, level = threading.Thread(target=tell, name="progress", daemon=True), logger.level
    logger.addHandler(latest)
    logger.setLevel(logging.DEBUG)  # epochs are
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        logger.setLevel(level)
        logger.removeHandler(latest)


class _Latest(logging.Handler):
    """Keeps the latest message."""

    message = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.message = record.getMessage()


def still_at_work(what: str, seconds: float, message: str) -> str:
    """How long something has taken so far, and what it logged last."""
    return f"{what}: {seconds:.0f} s so far{f'; {message}' if message else ''}"


@contextmanager
def working(console: Console, what: str) -> Iterator[None]:
    """Shows that `what` is being done: a spinner on a terminal, on a pipe a line once it has taken over two seconds. On
    both, every ten seconds, how long it has taken and what it logged last.
    """
    began = time.monotonic()
    with console.status(Text(what)) as status:

        def show(message: str) -> None:
            line = still_at_work(what, time.monotonic() - began, message)
            if console.is_terminal:
                status.update(Text(line))
            else:
                console.print(line)

        with shown_while_at_work(show):
            yield
    if (seconds := time.monotonic() - began) >= SLOW_STEP:
        console.print(f"{what}: {seconds:.0f} s")
