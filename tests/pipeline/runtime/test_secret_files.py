"""What this project makes is for its user alone."""

import os
import stat
import threading
from pathlib import Path

import pytest

from pipeline.cli.app import main
from pipeline.runtime.errors import RecurError
from pipeline.runtime.paths import StateFolder
from pipeline.runtime.secret_files import secret


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_threads_that_ask_at_once_get_one_secret(tmp_path: Path) -> None:
    got: list[str] = []
    threads = [threading.Thread(target=lambda: got.append(secret(StateFolder(tmp_path), "pages"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(got)) == 1
    assert len(got) == 8


@pytest.mark.parametrize("earlier", [False, True])
def test_no_other_user_reads_what_a_command_made(tmp_path: Path, earlier: bool) -> None:
    rows = [f"{who},2020-0{month}-05,7" for who in ("ann", "bob") for month in range(1, 5)]
    (tmp_path / "events.csv").write_text("\n".join(["who,when,eur", *rows]) + "\n", "utf-8")
    columns = '[source.columns]\ncustomer_id = "who"\nevent_time = "when"\namount = "eur"\n'
    toml = tmp_path / "recur.toml"
    toml.write_text(f'[source]\nkind = "csv"\npath = "events.csv"\n{columns}[run]\nfirst_night = 2020-04-01\n', "utf-8")
    before, var = os.umask(0o022), tmp_path / "var"
    if earlier:
        var.mkdir(mode=0o755)
    try:
        with pytest.raises(SystemExit, match="0"):
            main(["--config", str(toml), "ingest", "--until", "2020-04-01"])
    finally:
        os.umask(before)
    assert mode(var) == 0o700
    made = list(var.rglob("*"))
    assert len(made) > 10
    assert [path for path in made if mode(path) & 0o077 and not path.is_symlink()] == []


def test_of_two_at_work_the_second_is_told_of_the_first(tmp_path: Path) -> None:
    state = StateFolder(tmp_path)
    for _ in range(2):
        with (
            state.at_work("run", "somebody works"),
            pytest.raises(RecurError, match=rf"somebody works \(process {os.getpid()} on "),
            state.at_work("run", "somebody works"),
        ):
            pass
