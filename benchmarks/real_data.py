"""The whole comparison on every real set at hand: Complete Journey, CDNOW, Online Retail II, commits of repositories.

`--sets`, `--models`, `--windows`, `--seeds`, `--trials`, `--epochs` set what is spent; sets that are not here (CDNOW
needs the package lifetimes, the last two their files) are named and left out. `--folder` keeps the state: a run
that was stopped goes on there, and no window, seed or model that is fitted is fitted again. Sets that are not asked for
stay in the result file where as much was spent on them. README's table is written from the outcome by `make docs`.
"""

import argparse
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import benchmarks.support.results
from models import MODELS, POOLS
from pipeline.config.settings import Settings, load_settings

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
RETAIL_EXAMPLE = ROOT / "docs" / "examples" / "online_retail.toml"
NAME, SEED = "real-data", 20171204


@dataclass(frozen=True)
class RealSet:
    """A set and its question. Horizons are chosen so that the span holds three windows."""

    title: str
    source: str  # of recur.toml, up to its question
    question: str
    files: Path | None = None  # the folder of its files, where the project does not ship them


SETS = {
    "complete_journey": RealSet(
        "Complete Journey",
        '[source]\nkind = "complete_journey"\n[run]\nfirst_night = 2017-12-04\n',
        "active_within = 91\nhorizons = [28]\ncutoff_every = 7\n",
    ),
    "cdnow": RealSet(
        "CDNOW",
        '[source]\nkind = "cdnow"\n[run]\nfirst_night = 1998-06-30\n',
        "active_within = 91\nhorizons = [45]\ncutoff_every = 15\n",
    ),
    "online_retail": RealSet(
        "Online Retail II",
        RETAIL_EXAMPLE.read_text("utf-8").partition("[question]")[0] + "[run]\nfirst_night = 2011-12-09\n",
        "active_within = 180\nhorizons = [45]\ncutoff_every = 15\n",
        SHARED / "online_retail_II",
    ),
    "git_commits": RealSet(
        "Commits of three repositories",
        '[source]\nkind = "parquet"\npath = "commits.parquet"\n[source.columns]\ncustomer_id = "author"\n'
        'event_time = "committed_at"\nevent_type = "repository"\n[run]\nfirst_night = 2026-08-22\n',
        "active_within = 182\nhorizons = [91]\ncutoff_every = 28\n",
        SHARED / "git_commits",
    ),
}


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog=NAME)
    options.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    options.add_argument("--models", nargs="+", choices=list(MODELS), default=list(MODELS))
    options.add_argument("--windows", type=int, default=3)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--trials", type=int, default=20)
    options.add_argument("--epochs", type=int, default=12)
    options.add_argument("--folder", type=Path)
    asked = options.parse_args(arguments)
    found = _found_before(asked)
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            if missing := what_is_missing(name):
                print(f"{SETS[name].title} SKIPPED: {missing}")
                continue
            settings = settings_of((asked.folder or Path(scratch)) / name, name, asked)
            found[name] = _compared(settings) | {"question": settings.question.model_dump(mode="json")}
            print(f"{SETS[name].title}: {found[name]['verdict']['sentence']}", flush=True)
            _write(found, asked)  # after each set: all of them take hours


def _found_before(asked: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """The comparisons in the result file, of sets in their order, where as much was spent on them as is asked now."""
    content = benchmarks.support.results.read(NAME)
    alike = content and all(content["sizes"].get(key) == value for key, value in _spent(asked).items())
    return {name: content["comparisons"][name] for name in SETS if name in content["comparisons"]} if alike else {}


def _spent(asked: argparse.Namespace) -> dict[str, int]:
    return {key: getattr(asked, key) for key in ("windows", "seeds", "trials", "epochs")}


def _write(found: dict[str, dict[str, Any]], asked: argparse.Namespace) -> None:
    found = {name: found[name] for name in SETS if name in found}
    sizes = {f"{name}_examples": sum(each["examples"] for each in one["windows"]) for name, one in found.items()}
    benchmarks.support.results.write(NAME, _spent(asked) | sizes, *_figures(found), more={"comparisons": found})


def what_is_missing(name: str) -> str | None:
    """What of a set is not here, in words."""
    files = SETS[name].files
    if files and not files.is_dir():
        return f"{files} is not there, and the project does not ship it"
    if name == "cdnow":
        from importlib.util import find_spec

        from pipeline.sources.cdnow import INSTALL, PACKAGE

        return None if find_spec(PACKAGE) else f"{INSTALL}, which it is read from"
    return None


def settings_of(folder: Path, name: str, asked: argparse.Namespace) -> Settings:
    """The settings of a set whose state is kept in `folder`. `asked` has the `models` and what is spent on them:
    `trials`, `epochs`, `windows`, `seeds`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for file in SETS[name].files.glob("*.parquet") if SETS[name].files else ():
        if not (folder / file.name).exists():
            (folder / file.name).symlink_to(file)
    spent = (
        f"[models]\nnames = {json.dumps(asked.models)}\ntrials = {asked.trials}\nmax_epochs = {asked.epochs}\n"
        f"[evidence]\nwindows = {asked.windows}\nseeds = {asked.seeds}\n"
    )
    text = f"{SETS[name].source}seed = {SEED}\n[question]\n{SETS[name].question}{spent}"
    (folder / "recur.toml").write_text(text, "utf-8")
    return load_settings(folder / "recur.toml")


def snapshot_folder(settings: Settings) -> Path:
    """The folder of the snapshot as of the last closed day, which is made unless it is there."""
    from rich.console import Console

    from pipeline.cli import single_steps as by_hand
    from pipeline.event_store.store import open_store
    from pipeline.runtime.nights import midnight
    from pipeline.steps.snapshot import snapshot
    from pipeline.training.snapshot import read_meta

    if not open_store(settings).nights():
        assert settings.run.first_night is not None
        by_hand.ingest(settings, Console(stderr=True), midnight(settings.run.first_night))
    cutoff = midnight(max(open_store(settings).nights()))
    folder = settings.state.snapshot(cutoff)
    taken = read_meta(folder)
    if taken is None or taken["question_digest"] != settings.question.digest:
        shutil.rmtree(folder, ignore_errors=True)
        snapshot(settings, cutoff)
    return folder


def _compared(settings: Settings) -> dict[str, Any]:
    """Every model trained that is not yet, and all compared as of the last closed day."""
    from pipeline.event_store.store import open_store
    from pipeline.runtime.nights import midnight
    from pipeline.steps.compare import compare, last_comparison
    from pipeline.steps.train import train

    folder = snapshot_folder(settings)
    cutoff = midnight(max(open_store(settings).nights()))
    for model in settings.models.in_order:
        if model in POOLS or not (folder / "results" / f"{model}.json").exists():
            train(settings, cutoff, model)
            print(f"trained {model}", flush=True)
    compare(settings, cutoff)
    return last_comparison(settings.state)


def _figures(
    found: dict[str, dict[str, Any]],
) -> tuple[dict[str, float], dict[str, dict[str, float]], dict[str, float]]:
    """Log losses of the recurrent side as figures, of the others as peers; as a ratio, the loss of the best
    conventional model over that of the best recurrent or hybrid one.
    """
    figures: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {}
    ratios: dict[str, float] = {}
    for name, comparison in found.items():
        losses = {model["name"]: model["metrics"]["log_loss"]["value"] for model in comparison["models"]}
        for model in comparison["models"]:
            if model["family"] in ("recurrent", "hybrid"):
                figures[f"{name}_{model['name']}_log_loss"] = losses[model["name"]]
            else:
                peers.setdefault(model["name"], {})[f"{name}_log_loss"] = losses[model["name"]]
        verdict = comparison["verdict"]
        for end in ("difference", "low", "high"):
            figures[f"{name}_{end}"] = verdict[end]
        if verdict["best_recurrent"] and verdict["best_conventional"]:
            ratios[name] = losses[verdict["best_conventional"]] / losses[verdict["best_recurrent"]]
    return figures, peers, ratios
