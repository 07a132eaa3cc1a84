"""What a step leaves behind: done, skipped or failed, with its figures."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.config.sections import Addresses
from pipeline.config.settings import Settings
from pipeline.monitoring.step_record import StepRun, peak_memory, recorded
from pipeline.runtime.errors import NothingToDo, RecurError
from pipeline.runtime.nights import Night
from tests.support.published import predictions_of, query

NIGHT = Night(None, datetime(2017, 12, 4, tzinfo=UTC))


def test_a_step_that_ends_well_keeps_its_figures(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    with recorded(predictions_of(settings), settings.state, "load", NIGHT) as figures:
        figures |= {"rows_read": 7, "rows_accepted": 0, "message": "fine", "other": 1}
    columns = "step, score_date, status, message, rows_read, rows_accepted, rows_scored"
    assert query(settings, f"select {columns} from pipeline_runs")[1] == [
        ("load", "2017-12-04", "done", "fine", 7, 0, None)
    ]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NothingToDo("no new day"), "skipped"),
        (RecurError("no new day"), "failed"),
        (ValueError("no new day"), "failed"),
    ],
)
def test_a_step_that_does_not_says_why_and_raises_on(tmp_path: Path, error: Exception, status: str) -> None:
    settings = Settings(root=tmp_path)
    with (
        pytest.raises(type(error), match="no new day"),
        recorded(predictions_of(settings), settings.state, "extract", NIGHT),
    ):
        raise error
    assert query(settings, "select step, score_date, status, message from pipeline_runs")[1] == [
        ("extract", "2017-12-04", status, "no new day")
    ]


def test_without_a_database_the_step_does_not_begin(tmp_path: Path) -> None:
    address = "postgresql://somebody:hidden@127.0.0.1:1/none"
    settings = Settings(root=tmp_path, addresses=Addresses(predictions=address))
    begun = []
    with (
        pytest.raises(RecurError, match=r"127\.0\.0\.1:1") as raised,
        recorded(predictions_of(settings), settings.state, "load", NIGHT),
    ):
        begun.append(True)
    assert not begun
    assert "hidden" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_main_job_is_a_step_of_its_own(tmp_path: Path) -> None:
    settings = Settings(root=tmp_path)
    started = datetime(2026, 11, 1, 2, tzinfo=UTC)
    StepRun("run", started_at=started, clock=time.monotonic() - 12.5).write(predictions_of(settings), "done", None)
    columns = "step, started_at, seconds between 12.5 and 60, status, score_date"
    assert query(settings, f"select {columns} from pipeline_runs")[1] == [
        ("run", "2026-11-01 02:00:00.000+00:00", 1, "done", None)
    ]


def test_peak_memory_is_in_bytes() -> None:
    held = bytearray(1 << 26)
    assert len(held) < peak_memory() < 1 << 40


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB of its own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here (it takes root)")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_line(small_disk: Path) -> None:
    settings = Settings(root=small_disk)
    with pytest.raises(RecurError) as raised, recorded(predictions_of(settings), settings.state, "load", NIGHT):
        (small_disk / "filler").write_bytes(bytes(8 << 20))
    assert "load of the night 2017-12-04 stopped: no space left on device under" in str(raised.value)
    assert "make room there" in str(raised.value)
    with (
        pytest.raises(RecurError, match="no space left on device"),
        recorded(predictions_of(settings), settings.state, "load", NIGHT),
    ):
        pass  # it cannot even be written down
    (small_disk / "filler").unlink()
    with recorded(predictions_of(settings), settings.state, "load", NIGHT):
        pass


def test_a_disk_that_turned_read_only_is_one_line(small_disk: Path) -> None:
    settings = Settings(root=small_disk)
    with recorded(predictions_of(settings), settings.state, "load", NIGHT):
        pass
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    line = r"read-only file system under .*: let it be written to"
    with pytest.raises(RecurError, match=line), recorded(predictions_of(settings), settings.state, "publish", NIGHT):
        pass
