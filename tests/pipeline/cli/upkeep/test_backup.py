"""A backup is one consistent copy from which the next night goes on elsewhere, without a trace of where it was made."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Thread

import pytest

from pipeline.cli.app import main
from pipeline.cli.upkeep.backup import CONTENTS, backup, backups_that_may_be_there
from pipeline.cli.upkeep.restore import STAGING, restore
from pipeline.config.settings import Settings, load_settings
from pipeline.event_store.objects import loaded_nights
from pipeline.runtime.errors import RecurError
from pipeline.steps.publish import publish
from pipeline.steps.score import score
from pipeline.training.registry import open_registry
from tests.pipeline.conftest import World
from tests.support.published import query
from tests.support.worlds.csv_nights import configure, ingest
from tests.support.worlds.damage import DAMAGES, harm
from tests.support.worlds.trained_world import FIRST, NEXT, night

ROWS = ["Ann,2020-01-01 08:00,1", "Bob,2020-01-01 09:00,2", "z,2020-01-02,1"]
PUBLISHED = "select customer_id, horizon_days, churn_probability, reasons from prediction_history order by 1, 2, 3"


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, SQLite's logs apart."""
    files = (file for file in folder.rglob("*") if file.is_file() and not file.name.endswith(("-wal", "-shm")))
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


def elsewhere(settings: Settings, folder: Path) -> Settings:
    """The same configuration in another folder, with the same source and no state."""
    folder.mkdir()
    for name in ("recur.toml", "events.csv"):
        shutil.copy(settings.root / name, folder)
    return load_settings(folder / "recur.toml")


@pytest.fixture
def small(tmp_path: Path) -> Settings:
    (tmp_path / "world").mkdir()
    settings = configure(tmp_path / "world", ROWS)
    ingest(settings, "2020-01-02")
    return settings


def test_the_next_night_after_a_restore_is_the_one_of_the_original(own_world: World, tmp_path: Path) -> None:
    original = own_world.settings
    score(original, night(FIRST))
    publish(original, night(FIRST))
    backup(original, tmp_path / "backup")
    other = elsewhere(original, tmp_path / "other")
    restore(other, tmp_path / "backup")
    before = contents(original.root)
    for folder in (tmp_path / "backup", other.var):
        assert [name for name, content in contents(folder).items() if bytes(original.var) in content] == []
    score(other, night(NEXT))
    publish(other, night(NEXT))
    registry = open_registry(other)
    champion = registry.champion()
    assert champion is not None
    shutil.rmtree(other.var / "models")  # fetched again, from MLflow's artifacts
    registry.load(champion)
    assert contents(original.root) == before
    score(original, night(NEXT))
    publish(original, night(NEXT))
    assert query(other, PUBLISHED) == query(original, PUBLISHED)


def test_a_copy_waits_for_a_step_and_takes_what_it_left(small: Settings, tmp_path: Path) -> None:
    done: list[object] = []
    with small.state.writing():  # as a step does
        thread = Thread(target=lambda: done.append(backup(small, tmp_path / "backup")))
        thread.start()
        thread.join(0.5)
        assert not done
        assert not (tmp_path / "backup" / CONTENTS).exists()
        (small.var / "staged" / "left.txt").write_text("by the step")
        (small.var / "quarantine" / "gone.txt").write_text("before the second pass")
        (small.var / "quarantine" / "gone.txt").unlink()
    thread.join(30)
    assert done
    assert (tmp_path / "backup" / "var" / "staged" / "left.txt").read_text() == "by the step"


def test_a_database_is_copied_with_what_its_log_holds(small: Settings, tmp_path: Path) -> None:
    with closing(sqlite3.connect(small.var / "predictions.db")) as writer:
        writer.execute("pragma wal_autocheckpoint = 0")
        writer.execute("update step_run set message = 'in the log'")
        writer.commit()
        backup(small, tmp_path / "backup")
    assert not list((tmp_path / "backup").glob("*-wal"))
    with closing(sqlite3.connect(tmp_path / "backup" / "predictions.db")) as copy:
        assert copy.execute("select distinct message from step_run").fetchall() == [("in the log",)]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_backup_restores_nothing(small: Settings, tmp_path: Path, damage: str) -> None:
    backup(small, tmp_path / "backup")
    for name in ("events/2020-01-02.parquet", "predictions.db", CONTENTS):
        file = tmp_path / "backup" / name
        whole = file.read_bytes()
        harm(file, damage)
        other = elsewhere(small, tmp_path / name.replace("/", "-"))
        with pytest.raises(RecurError, match=r"damaged|missing|is no backup"):
            restore(other, tmp_path / "backup")
        assert not loaded_nights(other.events)
        file.write_bytes(whole)
        restore(other, tmp_path / "backup")
        assert loaded_nights(other.events)


def test_a_restore_that_was_killed_goes_on(small: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backup(small, tmp_path / "backup")
    other = elsewhere(small, tmp_path / "other")
    rename, renames = Path.rename, list[Path]()

    def dies(path: Path, target: Path) -> Path:
        renames.append(path)
        if len(renames) == 3:
            raise KeyboardInterrupt
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", dies)
        with pytest.raises(KeyboardInterrupt):
            restore(other, tmp_path / "backup")
    restore(other, tmp_path / "backup")
    assert not list(other.var.rglob(f"{STAGING}*"))
    there = {name: content for name, content in contents(other.var).items() if not name.startswith("locks")}
    assert there.keys() == {name.removeprefix("var/") for name in contents(tmp_path / "backup")} - {CONTENTS}


def test_what_is_there_is_not_touched(small: Settings, tmp_path: Path) -> None:
    backup(small, tmp_path / "backup")
    with pytest.raises(RecurError, match="is there: a backup is restored where there is no state yet"):
        restore(small, tmp_path / "backup")
    with pytest.raises(RecurError, match="is not empty: a backup goes into a new folder"):
        backup(small, tmp_path / "backup")
    with pytest.raises(RecurError, match="choose a folder outside"):
        backup(small, small.var / "copy")
    (tmp_path / "backup" / CONTENTS).unlink()
    with pytest.raises(RecurError, match="or one that was broken off"):
        restore(elsewhere(small, tmp_path / "other"), tmp_path / "backup")


def test_forgetting_tells_of_the_backups(small: Settings, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("kept", "removed"):
        with pytest.raises(SystemExit, match="0"):
            main(["--config", str(small.file), "backup", str(tmp_path / name)])
    shutil.rmtree(tmp_path / "removed")
    assert backups_that_may_be_there(small.state) == [str(tmp_path / "kept")]
    capfd.readouterr()
    with pytest.raises(SystemExit, match="0"):
        main(["--config", str(small.file), "forget", "Ann"])
    told = "".join(capfd.readouterr().out.split())
    assert f"Backupsstillholdthem:{tmp_path / 'kept'}." in told
