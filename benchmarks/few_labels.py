"""Few labels and all histories: what a recurrent model gains where one customer in a hundred, or in ten, has labels.

The time to the next event is there in every history, so that a survival head learns from customers without labels too
(`pretrained`), and so do hazards on aggregates and buy-till-you-die models; others learn from the labels there are. Of
a customer without labels nothing is read past the last cutoff of training, or of validation. Models are fitted on
training, stopped by validation and measured on the calibration slice, whose labels are all known; no test is touched.
Losses are intercept-adjusted: no few labels could tell the level of another season. Intervals are over customers and
over draws of who has labels.

`--sets`, `--member`, `--without`, `--epochs`, `--draws` (of 1, 10 and 100 %) and `--customers` (that many at the
most, drawn at random) set what is spent; `--folder` keeps the snapshots and each draw, so that a run that was stopped
goes on, and more draws cost their own time alone. Sets that are not asked for stay in the result file as before.
"""

import argparse
import hashlib
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

import benchmarks.support.results
from benchmarks.real_data import SEED, SETS, settings_of, snapshot_folder, what_is_missing
from features.arrays import Floats, Mask
from features.dataset import Dataset
from models import POOLED
from models.base import Predictions
from models.evaluation.intervals import customer_weights, means
from models.held_out import Parts, adjusted_losses
from models.pools.pooling import pooled
from models.spec import BETWEEN_SEEDS, ModelSpec

NAME = "few-labels"
SHARES = (1, 10, 100)  # per cent of the customers that have labels
DRAWS = (10, 5, 1)  # of who they are, at each share
LEAST = 3  # customers of either outcome at the last cutoff of training and of validation, however small the share
REPLICATES = 10_000
OF_HISTORIES = ("hazard_logistic_regression", "hazard_lightgbm", "bg_nbd", "pareto_nbd")
"""Conventional models that learn from histories without labels too."""
POOL, LABELLED, PRETRAINED = "conventional_pool", "labelled", "pretrained"
MEMBERS = ("survival_gru", "hybrid_gru")
Losses = dict[str, Floats]  # by contender, in nats: [draws * examples], those of one draw after the other


def main(arguments: list[str]) -> None:
    options = argparse.ArgumentParser(prog=NAME)
    options.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    options.add_argument("--member", choices=MEMBERS, default=MEMBERS[0])
    options.add_argument("--without", nargs="+", choices=OF_HISTORIES, default=[], help="hazards take the most time")
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--draws", nargs=len(SHARES), type=int, default=DRAWS)
    options.add_argument("--customers", type=int)
    options.add_argument("--folder", type=Path)
    asked = options.parse_args(arguments)
    asked.models, asked.trials, asked.windows, asked.seeds = [asked.member], 1, 1, 1
    found = benchmarks.support.results.read(NAME).get("sets", {})
    with tempfile.TemporaryDirectory() as scratch:
        for name in asked.sets:
            if missing := what_is_missing(name):
                print(f"{SETS[name].title} SKIPPED: {missing}")
                continue
            for measured in _measured((asked.folder or Path(scratch)) / name, name, asked):
                found[name] = measured
                _write(found)  # after each share: each takes many minutes


def _measured(folder: Path, name: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """What is found on a set, by share, after each share; nothing where the span is too short for a calibration slice
    of its own.
    """
    from pipeline.training.fits import default_spec
    from pipeline.training.snapshot import Snapshot

    settings = settings_of(folder, name, asked)
    snapshot = Snapshot.read(snapshot_folder(settings), settings.question)
    if snapshot.windows[-1].shares:
        print(f"{SETS[name].title} SKIPPED: no slice between validation and test is left to measure on")
        return
    parts, horizon = _fewer(snapshot.parts(-1), asked.customers), settings.question.primary_index
    others = [each for each in OF_HISTORIES if each not in asked.without]
    specs = [default_spec(each, settings.models, snapshot.reads) for each in (*POOLED, *others, asked.member)]
    made_of = json.dumps([snapshot.test_digest, asked.customers, *(spec.identity for spec in specs)])
    kept = folder / NAME / hashlib.sha256(made_of.encode()).hexdigest()[:16]
    kept.mkdir(parents=True, exist_ok=True)
    shares: dict[str, dict[str, Any]] = {}
    for number, share in enumerate(SHARES):
        drawn, losses = [], []
        for draw in range(asked.draws[number]):
            random_state = SEED + BETWEEN_SEEDS * (draw + 100 * number)
            drawn.append(draw_customers(parts, share, horizon, random_state))
            file = kept / f"{share}-{draw}.npz"
            if not file.exists():
                predictions = predict(parts, drawn[-1], specs, random_state)
                of_draw = {who: adjusted_losses(parts.calibrate, of, horizon) for who, of in predictions.items()}
                with file.open("wb") as stream:
                    np.savez(stream, allow_pickle=False, **of_draw)
            losses.append(dict(np.load(file)))
            print(f"{name}, {share} %, draw {draw + 1}: {_shown(losses[-1])}", flush=True)
        if losses:
            together = {who: np.concatenate([each[who] for each in losses]) for who in losses[0]}
            customers = round(float(np.mean([len(each) for each in drawn])))
            shares[str(share)] = {"customers": customers, **_compared(together, parts, horizon, len(drawn))}
            yield {
                "title": SETS[name].title,
                "question": settings.question.model_dump(mode="json"),
                "member": asked.member,
                "epochs": asked.epochs,
                "customers": len(_customers(parts)),
                "examples": {part: len(getattr(parts, part)) for part in ("train", "valid", "calibrate")},
                "shares": shares,
            }


def _fewer(parts: Parts, most: int | None) -> Parts:
    """The same with at most so many customers in training and validation; all are measured."""
    chosen = set(np.random.default_rng(SEED).permutation(_customers(parts))[:most])
    return replace(
        parts,
        train=parts.train.select(_is_in(parts.train, chosen)),
        valid=parts.valid.select(_is_in(parts.valid, chosen)),
    )


def draw_customers(parts: Parts, share: int, horizon_index: int, random_state: int) -> set[str]:
    """Who has labels: `share` per cent of the customers of training and validation, drawn at random, and as many more
    as it takes to have LEAST of either outcome at the last cutoff of both.
    """
    customers = np.random.default_rng(random_state).permutation(_customers(parts))
    place = {customer: number for number, customer in enumerate(customers)}
    drawn = set(customers[: -(-len(customers) * share // 100)])
    for data in (parts.train, parts.valid):
        assert data.labels is not None
        last, churn = data.cutoff == data.cutoff.max(), data.labels.churn[:, horizon_index]
        for outcome in (0.0, 1.0):
            drawn |= set(sorted(data.customer_id[last & (churn == outcome)], key=place.__getitem__)[:LEAST])
    return drawn


def predict(
    parts: Parts, with_labels: set[str], specs: Sequence[ModelSpec], random_state: int
) -> dict[str, Predictions]:
    """Of the calibration slice, by contender: the models of `specs`, of which the last is the member, taught by all
    histories, the same member taught by those of customers `with_labels` alone, and pools of these.
    """
    known = {part: _is_in(getattr(parts, part), with_labels) for part in ("train", "valid")}
    every = {part: _with_labels_of(getattr(parts, part), known[part]) for part in known}
    predictions = {spec.name: _predicted(spec, every, parts.calibrate, random_state) for spec in specs}
    member = specs[-1]
    predictions[PRETRAINED] = predictions[LABELLED] = predictions.pop(member.name)
    if not all(rows.all() for rows in known.values()):
        alone = {part: getattr(parts, part).select(rows) for part, rows in known.items()}
        predictions[LABELLED] = _predicted(member, alone, parts.calibrate, random_state)
    conventional = [predictions[name] for name in POOLED]
    pools = {POOL: pooled(conventional, parts.calibrate.horizons)}
    hazards = [name for name in predictions if name.startswith("hazard_")]
    for name in (*hazards, LABELLED, PRETRAINED):
        pools[f"pool_with_{name}"] = pooled([*conventional, predictions[name]], parts.calibrate.horizons)
    return predictions | pools


def _predicted(spec: ModelSpec, taught: Mapping[str, Dataset], test: Dataset, random_state: int) -> Predictions:
    model = spec.build(test.horizons, random_state)
    model.fit(taught["train"], taught["valid"])
    return model.predict(replace(test, labels=None))


def _customers(parts: Parts) -> np.ndarray:
    return np.unique(np.concatenate([parts.train.customer_id, parts.valid.customer_id]).astype(str))


def _is_in(data: Dataset, customers: set[str]) -> Mask:
    return np.array([customer in customers for customer in data.customer_id], bool)


def _with_labels_of(data: Dataset, known: Mask) -> Dataset:
    assert data.labels is not None
    return replace(data, labels=data.labels.without(~known), earlier=None)


def _compared(losses: Losses, parts: Parts, horizon: int, draws: int) -> dict[str, Any]:
    """`losses` of every contender and `gains`, each as value, low and high. A gain is one loss minus another: above
    zero, the one named last loses less. The hardest opponent is the one over which the gain's lower limit is lowest.
    """
    labels = parts.calibrate.labels
    assert labels is not None
    observed = np.isfinite(labels.churn[:, horizon])
    weights = customer_weights(parts.calibrate.customer_id[observed], REPLICATES, SEED, seeds=draws)
    with_member = f"pool_with_{PRETRAINED}"
    opponents = [name for name in losses if not name.endswith((LABELLED, PRETRAINED))]
    pairs = {f"{with_member} over {name}": (name, with_member) for name in opponents}
    pairs |= {f"{PRETRAINED} over {name}": (name, PRETRAINED) for name in opponents}
    pairs[f"pool_with_{LABELLED} over {POOL}"] = (POOL, f"pool_with_{LABELLED}")
    pairs[f"{PRETRAINED} over {LABELLED}"] = (LABELLED, PRETRAINED)
    pairs[f"{with_member} over pool_with_{LABELLED}"] = (f"pool_with_{LABELLED}", with_member)
    gains = means(np.array([losses[one] - losses[other] for one, other in pairs.values()]), weights)
    by_pair = {pair: asdict(gain) for pair, gain in zip(pairs, gains, strict=True)}
    figures = means(np.array(list(losses.values())), weights)
    hardest = min(opponents, key=lambda name: by_pair[f"{with_member} over {name}"]["low"])
    levels = {name: asdict(figure) for name, figure in zip(losses, figures, strict=True)}
    return {"draws": draws, "losses": levels, "gains": by_pair, "hardest": hardest}


def _shown(losses: Losses) -> str:
    return ", ".join(f"{name} {loss.mean():.4f}" for name, loss in losses.items())


def _write(found: dict[str, dict[str, Any]]) -> None:
    """The recurrent side's losses and its pools' gains are figures, the others' losses peers; a ratio is the loss of
    the conventional pool over that of the same pool with the pretrained member.
    """
    figures: dict[str, float] = {}
    peers: dict[str, dict[str, float]] = {}
    ratios: dict[str, float] = {}
    sizes: dict[str, int] = {}
    for name, share, of in _each(found):
        key = f"{name}_{share}_percent"
        sizes |= {f"{key}_draws": of["draws"], f"{key}_customers": of["customers"]}
        for contender, loss in of["losses"].items():
            if contender.endswith((LABELLED, PRETRAINED)):
                figures[f"{key}_{contender}_log_loss"] = loss["value"]
            else:
                peers.setdefault(contender, {})[f"{key}_log_loss"] = loss["value"]
        for opponent in (POOL, of["hardest"]):
            gain = of["gains"][f"pool_with_{PRETRAINED} over {opponent}"]
            title = "pool" if opponent == POOL else "hardest"
            figures |= {f"{key}_over_{title}_{end}": gain[end] for end in ("value", "low", "high")}
        with_member = of["losses"][f"pool_with_{PRETRAINED}"]["value"]
        ratios[f"{key}_{POOL}"] = of["losses"][POOL]["value"] / with_member
    benchmarks.support.results.write(NAME, sizes, figures, peers, ratios, more={"sets": found})


def _each(found: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for name, of in found.items():
        for share, compared in of["shares"].items():
            yield name, share, compared
