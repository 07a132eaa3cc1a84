"""The main job: the DAGs, in process and in order, for every night not yet done.

A night is its `nightly_predictions`, then, where a training is due, its `train_and_compare`. A night that could not be
scored before that training, as the first one, is worked through once more after it.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from pipeline.cli.checks import print_lines
from pipeline.cli.closing_report import print_report
from pipeline.cli.console import INTERVAL, open_console, shown_while_at_work, still_at_work
from pipeline.cli.feasibility import require_askable, require_meaningful, require_something, source_checks
from pipeline.cli.log_redirect import redirect_output
from pipeline.config.settings import Settings
from pipeline.event_store.objects import loaded_nights
from pipeline.monitoring.retraining import training_due
from pipeline.monitoring.step_record import StepRun, last_message
from pipeline.runtime.airflow import environment, load_dags, prepare, run_in_process
from pipeline.runtime.errors import ConfigurationError, RecurError
from pipeline.runtime.nights import DAY, midnight
from pipeline.serving.database import open_predictions
from pipeline.sources.factory import first_night, open_source

if TYPE_CHECKING:
    from airflow.sdk import DAG

STOPS = (signal.SIGINT, signal.SIGTERM)
NIGHTLY, TRAINING = "nightly_predictions", "train_and_compare"
SLOW_TASK = 2.0  # seconds from which a task has a line of its own


def run(settings: Settings, until: date | None = None) -> None:
    """Every night not yet done, up to the source's last closed day or `until`, and the closing report.

    Raises the first failed task's RecurError, which names the night and the task; the next run begins there. Raises
    RecurError too where another run is at work on the same state, and where all nights are done and nothing could be
    trained or served.
    """
    refusal = f"the nights under {settings.state.path} are being worked through already: let that run end first"
    with settings.state.at_work("run", refusal):
        _run(settings, until)
        require_something(settings)
    print_report(settings, open_console())


def _run(settings: Settings, until: date | None) -> None:
    job, predictions = StepRun("run"), open_predictions(settings.predictions, settings.root)
    nights = pending_nights(settings, until)
    job.score_date = nights[-1].date() if nights else None
    try:
        if nights:
            if not loaded_nights(settings.events):
                checks = source_checks(settings, open_source(settings))
                print_lines(open_console(), checks)
                require_meaningful(checks)
            _work_through(settings, nights)
    except BaseException as error:
        with suppress(Exception):  # the job's own failure is the one to report
            job.write(predictions, "failed", str(error) or type(error).__name__)
        raise
    job.write(predictions, "done", None)


def pending_nights(settings: Settings, until: date | None = None) -> list[datetime]:
    """The cutoffs not yet done, ascending: those after the last loaded night, and before them that night itself where
    it was not published or a training is due as of it (a run that stopped half-way; a question that changed).
    """
    span = open_source(settings).span()
    if settings.run.first_night is None and not loaded_nights(settings.events):
        require_askable(settings.question, span)
    first, end = first_night(span, settings.run, settings.question), span.closed
    if until is not None:
        if midnight(until) < first:
            raise ConfigurationError(f"--until {until} lies before the first night: choose {first.date()} or later")
        end = min(end, midnight(until))
    loaded = [midnight(night) for night in loaded_nights(settings.events) if midnight(night) <= end]
    if not loaded:
        return _days(first, end)
    last = max(loaded)
    published = open_predictions(settings.predictions, settings.root).published_nights()
    unfinished = last.date() not in published or training_due(settings, last)
    return [last] * unfinished + _days(max(last + DAY, first), end)


def _days(first: datetime, last: datetime) -> list[datetime]:
    return [first + DAY * number for number in range((last - first).days + 1)]


def _work_through(settings: Settings, nights: list[datetime]) -> None:
    log = settings.state.logs / "run.log"
    with redirect_output(log) as file, NightsBar(file, len(nights)) as progress:
        progress.write(f"{len(nights)} nights, {nights[0].date()} to {nights[-1].date()}; details go to {log}")
        progress.show("starting Airflow")
        os.environ.update(environment(settings.state, settings.file))
        prepare()
        runner = _Runner(load_dags(), log, progress)
        before = {number: signal.getsignal(number) for number in STOPS}
        try:
            with shown_while_at_work(runner.still_at_work):
                for cutoff in nights:
                    _work_through_one(settings, cutoff, runner)
                    progress.night_done(cutoff)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _work_through_one(settings: Settings, cutoff: datetime, runner: "_Runner") -> None:
    again = cutoff.date() in loaded_nights(settings.events)
    if not again:
        runner.run(NIGHTLY, cutoff)
        if message := last_message(open_predictions(settings.predictions, settings.root), "extract", cutoff.date()):
            runner.progress.write(f"{cutoff.date()}: {message}")
    if training_due(settings, cutoff):
        runner.run(TRAINING, cutoff)
        published = open_predictions(settings.predictions, settings.root).published_nights()
        again = again or cutoff.date() not in published
    if again:
        runner.run(NIGHTLY, cutoff)


class NightsBar(Progress):
    """The task at work, those that took long, and the nights done: a bar on a terminal, plain lines on a pipe."""

    def __init__(self, file: TextIO, nights: int) -> None:
        console = Console(file=file, highlight=False)
        super().__init__(
            TextColumn("nights"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )
        self.nights = self.add_task("", total=nights)

    def write(self, line: str) -> None:
        self.print(line, soft_wrap=True, markup=False)

    def show(self, what: str) -> None:
        self.update(self.nights, description=what)

    def still_at_work(self, line: str) -> None:
        if self.console.is_terminal:
            self.show(line)
        else:
            self.write(f"  {line}")

    def task_done(self, name: str, seconds: float, outcome: str) -> None:
        if outcome or seconds >= SLOW_TASK:
            self.write(f"  {name}: {outcome or f'{seconds:.0f} s'}")

    def night_done(self, cutoff: datetime) -> None:
        self.advance(self.nights)
        self.write(f"{cutoff.date()} done")


@dataclass
class _Runner:
    """Runs DAGs in process, shows their tasks, and turns a failed task into one line."""

    dags: "Mapping[str, DAG]"
    log: Path
    progress: NightsBar
    failed: list[tuple[str, BaseException]] = field(default_factory=list)
    began: dict[str, float] = field(default_factory=dict)
    stopped: bool = False

    def __post_init__(self) -> None:
        for dag in self.dags.values():
            for task in dag.tasks:
                # A person watches: a failure is shown at once, and the next run tries again. Alerts go out as ever.
                ours: dict[str, Callable[[Any], None]] = {
                    "on_execute_callback": self._on_start,
                    "on_success_callback": self._on_end(""),
                    "on_skipped_callback": self._on_end("skipped"),
                    "on_failure_callback": self._on_failure,
                }
                mapped = getattr(task, "partial_kwargs", None)
                options: dict[str, Any] = {"retries": 0}
                for name, callback in ours.items():
                    theirs = (getattr(task, name) if mapped is None else mapped.get(name)) or []
                    options[name] = [callback, *([theirs] if callable(theirs) else theirs)]
                if mapped is not None:
                    mapped.update(options)
                else:
                    for name, value in options.items():
                        setattr(task, name, value)

    def run(self, dag: str, cutoff: datetime) -> None:
        self.failed.clear()
        state = run_in_process(self.dags[dag], cutoff)
        if state == "success":
            return
        if self.stopped:  # whatever error the library at work turned the signal into
            raise KeyboardInterrupt
        if not self.failed:
            raise RecurError(f"night {cutoff.date()}: {dag} ended as {state}: see {self.log}")
        name, error = self.failed[0]
        where = f"night {cutoff.date()}, {name}"
        if type(error).__name__ == "AirflowFailException":
            raise RecurError(f"{where}: {error}")
        cause = " ".join(str(error).split())[:200]
        raise RecurError(f"{where}: {type(error).__name__}: {cause}: unexpected; the full account is in {self.log}")

    def still_at_work(self, message: str) -> None:
        """Shows the tasks that have been at work for as long as nobody may be left without a word."""
        for name, began in list(self.began.items()):
            if (seconds := time.monotonic() - began) >= INTERVAL:
                self.progress.still_at_work(still_at_work(name, seconds, message))

    def _on_start(self, context: Any) -> None:
        # Airflow's own handler, set just before, would leave the task and the job running.
        for number in STOPS:
            signal.signal(number, self._on_stop)
        if self.stopped:  # the other mapped tasks of a training are not begun
            raise KeyboardInterrupt
        name = _name(context)
        self.began[name] = time.monotonic()
        self.progress.show(name)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.stopped = True
        raise KeyboardInterrupt

    def _on_end(self, outcome: str) -> Callable[[Any], None]:
        def on_end(context: Any) -> None:
            name = _name(context)
            self.progress.task_done(name, time.monotonic() - self.began.pop(name, time.monotonic()), outcome)

        return on_end

    def _on_failure(self, context: Any) -> None:
        self.failed.append((_name(context), context["exception"]))


def _name(context: Any) -> str:
    """A task in words: `extract`, or `train gru` for a mapped one."""
    task = context["ti"].task
    return " ".join([task.task_id, *getattr(task, "op_kwargs", {}).values()])
