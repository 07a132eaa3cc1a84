"""What killed processes leave is removed by the next, and what living ones own is not."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder, atomically, folder_atomically, owner, sweep
from tests.support.plain_reading import ROOT


@pytest.fixture
def dead() -> str:
    """The owner's name of a process that has ended."""
    program = "from pipeline.runtime.paths import owner; print(owner())"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_only_what_a_dead_process_of_this_machine_owned_is_swept(tmp_path, dead):
    living, elsewhere = f"{socket.gethostname()}-{os.getppid()}", f"{dead}-elsewhere"
    for name in (dead, living, elsewhere, owner(), "else"):
        (tmp_path / f".x.{name}.tmp").touch()
    sweep(tmp_path, ".x.", ".tmp")
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        f".x.{name}.tmp" for name in (living, elsewhere, owner(), "else")
    )


def test_writing_again_removes_what_a_kill_left(tmp_path, dead):
    (tmp_path / f".night.{dead}.tmp").touch()
    with atomically(tmp_path / "night") as file:
        file.write_text("whole")
    assert [one.name for one in tmp_path.iterdir()] == ["night"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path, dead):
    (tmp_path / f".model.{dead}.tmp").mkdir()
    with pytest.raises(FileNotFoundError):
        make_half(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []
    with folder_atomically(tmp_path / "model") as folder:
        (folder / "part").touch()
    with folder_atomically(tmp_path / "model"):
        pass  # the first keeps its place
    assert [one.name for one in tmp_path.rglob("*")] == ["model", "part"]


def make_half(path: Path) -> None:
    with folder_atomically(path) as folder:
        (folder / "part").touch()
        (folder / "absent").read_bytes()


def test_a_killed_process_holds_nobody_up_and_a_living_one_is_named(tmp_path):
    program = (
        "import sys; from pathlib import Path; from pipeline.runtime.paths import StateFolder\n"
        "with StateFolder(Path(sys.argv[1])).at_work('run', 'at work'): print('begun', flush=True); sys.stdin.read()"
    )
    state = StateFolder(tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"begun\n"
    with (
        pytest.raises(RecurError, match=rf"^let it end \(process {process.pid} on "),
        state.at_work("run", "let it end"),
    ):
        pass
    process.kill()
    process.communicate()
    with state.at_work("run", "let it end"):
        assert f"process {os.getpid()} " in (tmp_path / "locks" / "run").read_text()
