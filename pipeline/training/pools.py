"""Pools of models whose fits are kept: they fit nothing, and which recurrent model joins is chosen before any test."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from models import POOLED, has_memory
from models.base import total
from models.contender import Contender, MemberChoice, Procedure, choose_member, pool
from models.spec import ModelSpec
from pipeline.runtime.errors import RecurError
from pipeline.training.ablations import SCHEMA
from pipeline.training.contender_files import StoredFit
from pipeline.training.fits import TWIN, Fits, FitWindow, Gathered, Training, fit_windows


def train_pool(name: str, names: Sequence[str], training: Training) -> Fits:
    """The pool `name` of models that were trained before it, of all the `names` that compete. The twin of the recurrent
    member is fitted here, with the member's parameters. Raises RecurError where a model has no fits.
    """
    if name == "conventional_pool":
        return _pooled_windows(name, POOLED, training)
    member = choose([model for model in names if has_memory(model)], training)
    joins = member.best
    if name == "twin_pool":
        joins = f"{TWIN}{member.best}"
        parameters = _stored([member.best], training, next(training.windows()), 0)[member.best].parameters
        recipe = ModelSpec(member.best, parameters).recipe.parameters
        fit_windows(ModelSpec(member.best, {**recipe, "memory": False}), training, joins)
    fits = _pooled_windows(name, [*POOLED, joins], training)
    specs = fits.spec.parameters["specs"]
    specs[member.best] = specs.pop(joins)
    spec = ModelSpec(name, {"member": member.best, "specs": specs})
    return replace(fits, spec=spec, member=member)


def choose(candidates: Sequence[str], training: Training) -> MemberChoice:
    """Which of the recurrent `candidates`, one at least, joins the pool of the others: on the oldest window, before any
    test. Raises RecurError where a model has no fits.
    """
    window = next(training.windows())
    stored = [_stored([*POOLED, *candidates], training, window, seed) for seed in training.seeds]

    def pools(names: Sequence[str]) -> list[Contender]:
        raws = [pool([fits[name].raw for name in names], training.procedure) for fits in stored]
        return [Contender.of(raw, window.parts, training.procedure) for raw in raws]

    joined = {name: pools([*POOLED, name]) for name in candidates}
    return choose_member(pools(POOLED), joined, window.parts, training.primary)


def _pooled_windows(name: str, members: Sequence[str], training: Training) -> Fits:
    """The pool of `members`, by the names under which their fits are kept. Raises RecurError where one has none."""
    gathered = Gathered(training)
    for window in training.windows():
        for seed in training.seeds:
            gathered.add(window, seed, _pooled(_stored(members, training, window, seed), training.procedure))
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
