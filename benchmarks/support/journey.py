"""Complete Journey's examples as of 2017-12-04, the way a training sees them: what the benchmarks of models share."""

from datetime import UTC, datetime
from pathlib import Path

from pipeline.training.snapshot import Snapshot

CUTOFF = datetime(2017, 12, 4, tzinfo=UTC)


def journey(folder: Path) -> Snapshot:
    """The snapshot, built in `folder` unless it lies there from an earlier run."""
    from rich.console import Console

    from pipeline.cli import single_steps as by_hand
    from pipeline.config.settings import load_settings
    from pipeline.event_store.store import open_store
    from pipeline.runtime.errors import RecurError
    from pipeline.steps.snapshot import snapshot

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "recur.toml").write_text('[source]\nkind = "complete_journey"\n[run]\nfirst_night = 2017-12-04\n')
    settings = load_settings(folder / "recur.toml")
    try:
        return Snapshot.read(settings.state.snapshot(CUTOFF), settings.question)
    except RecurError:
        if CUTOFF.date() not in open_store(settings).nights():
            by_hand.ingest(settings, Console(stderr=True), CUTOFF)
        snapshot(settings, CUTOFF)
        return Snapshot.read(settings.state.snapshot(CUTOFF), settings.question)
