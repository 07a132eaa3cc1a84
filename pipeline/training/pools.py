"""Pools of models whose fits are kept: they fit nothing, and which recurrent model joins before each window's test is
chosen by what lies before it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from models import POOLED, has_memory
from models.base import total
from models.contender import Contender, Gains, MemberChoice, Procedure, choose_member, pool
from models.spec import ModelSpec
from pipeline.runtime.errors import RecurError
from pipeline.training.ablations import SCHEMA
from pipeline.training.contender_files import StoredFit
from pipeline.training.fits import TWIN, Fits, FitWindow, Gathered, Training, fit_window


def train_pool(name: str, names: Sequence[str], training: Training) -> Fits:
    """The pool `name` of models that were trained before it, of all the `names` that compete. Twins of the recurrent
    members are fitted here, with the members' parameters. Raises RecurError where a model has no fits.
    """
    if name == "conventional_pool":
        return _pooled_windows(name, [POOLED] * len(training.snapshot.windows), training)
    choices = choose([model for model in names if has_memory(model)], training)
    members = joining(choices)
    joins = [f"{TWIN}{member}" if member and name == "twin_pool" else member for member in members]
    if name == "twin_pool":
        for window, member, twin in zip(training.windows(), members, joins, strict=True):
            if member and twin:
                parameters = _stored([member], training, window, 0)[member].parameters
                recipe = ModelSpec(member, parameters).recipe.parameters
                fit_window(ModelSpec(member, {**recipe, "memory": False}), twin, training, window)
    fits = _pooled_windows(name, [[*POOLED, *([joined] if joined else [])] for joined in joins], training)
    specs, latest = fits.spec.parameters["specs"], members[-1]
    if latest:
        specs[latest] = specs.pop(joins[-1])
    return replace(fits, spec=ModelSpec(name, {"member": latest, "specs": specs}), choices=choices)


def choose(candidates: Sequence[str], training: Training) -> tuple[MemberChoice, ...]:
    """For each window, oldest first, which of the recurrent `candidates`, one at least, joins the pool of the others:
    by the held-out parts of this window and of those before it, all of which lie before its test. Raises RecurError
    where a model has no fits.
    """
    gains = [_gains(candidates, training, window) for window in training.windows()]
    return tuple(choose_member(gains[: number + 1]) for number in range(len(gains)))


def joining(choices: Sequence[MemberChoice]) -> tuple[str | None, ...]:
    """The member before each window's test, None where none is beyond doubt. Where none ever is, no pool with a member
    competes, and those that came nearest show what one would have done.
    """
    chosen = any(choice.chosen for choice in choices)
    return tuple(choice.best if choice.chosen or not chosen else None for choice in choices)


def _gains(candidates: Sequence[str], training: Training, window: FitWindow) -> Gains:
    stored = [_stored([*POOLED, *candidates], training, window, seed) for seed in training.seeds]

    def joined(name: str) -> list[Contender]:
        raws = [pool([fits[each].raw for each in (*POOLED, name)], training.procedure) for fits in stored]
        return [
            Contender.of(raw, window.parts, training.procedure, like) for raw, like in zip(raws, without, strict=True)
        ]

    without = [_without_member(fits, training, window) for fits in stored]
    return Gains.of(without, {name: joined(name) for name in candidates}, window.parts, training.primary)


def _without_member(fits: Mapping[str, StoredFit], training: Training, window: FitWindow) -> Contender:
    raw = pool([fits[name].raw for name in POOLED], training.procedure)
    return Contender.of(raw, window.parts, training.procedure)


def _pooled_windows(name: str, members: Sequence[Sequence[str]], training: Training) -> Fits:
    """The pool of the `members` of each window, by the names under which their fits are kept. Raises RecurError where
    one has none.
    """
    gathered = Gathered(training)
    for window, names in zip(training.windows(), members, strict=True):
        for seed in training.seeds:
            stored = _stored(names, training, window, seed)
            like = _without_member(stored, training, window)
            gathered.add(window, seed, _pooled(stored, training.procedure), like)
    return gathered.fits(name)


def _stored(names: Sequence[str], training: Training, window: FitWindow, seed: int) -> dict[str, StoredFit]:
    fits = {}
    for name in names:
        files = training.files(name, window, seed)
        fit = files.read() if files else None
        if fit is None:
            raise RecurError(f"{name} has no fit to pool in {training.folder}: run `recur train` for it first")
        fits[name] = fit
    return fits


def _pooled(fits: Mapping[str, StoredFit], procedure: Procedure) -> StoredFit:
    """Seconds and what was spent are the members' together; a pool predicts as fast as all of them in turn."""
    return StoredFit(
        pool([fit.raw for fit in fits.values()], procedure),
        made_of="",
        parameters={"specs": {name: fit.parameters for name, fit in fits.items()}},
        curves={},
        fit_seconds=sum(fit.fit_seconds for fit in fits.values()),
        predict_customers_per_second=1 / sum(1 / fit.predict_customers_per_second for fit in fits.values()),
        spent=total(fit.spent for fit in fits.values()),
        ablations=SCHEMA.empty_table(),
    )
