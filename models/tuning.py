"""Tuning: a number of trials for each model (`Model.trials_of`), each a whole fit, judged on validation alone.

The first trial is the defaults, and they give way only to what is better beyond doubt: the best of many trials is good
by luck too, and a model that was chosen by its luck was worse on later examples (docs/LOG.md, 2026-11-24). The budget
is counted in trials and epochs, never in seconds.

Optuna is imported here, and this module only where something is tuned.
"""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import optuna

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Model, Range
from models.numerics import beyond_doubt, intercept_adjusted, log_losses, logit, sigmoid, whose_labels

BEFORE_PRUNING = 3  # whole trials, and reports of a trial, before one may be given up


@dataclass(frozen=True)
class Trial:
    """Parameters that were tried, and their validation log loss at the primary horizon, None where given up."""

    number: int
    parameters: dict[str, Any]
    log_loss: float | None


@dataclass(frozen=True)
class Search:
    """What is tried: `trials` points of `space`, `defaults` first, by the log loss at `horizon` in days."""

    space: Mapping[str, Range]
    defaults: Mapping[str, Any]
    trials: int
    horizon: int
    random_state: int


def tune(
    build: Callable[[Mapping[str, Any]], Model],
    search: Search,
    train: Dataset,
    valid: Dataset,
    on_trial: Callable[[Trial], None],
) -> dict[str, Any]:
    """The parameters of the best fit of `build(parameters)` on `train`, by the intercept-adjusted log loss on `valid`,
    or the defaults where it is not better beyond doubt, customers being the units; trials that fall behind the median
    of those before are given up. `on_trial` is called after each.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        sampler=optuna.samplers.TPESampler(seed=search.random_state % 2**32),
        pruner=optuna.pruners.MedianPruner(BEFORE_PRUNING, BEFORE_PRUNING),
    )
    study.enqueue_trial({name: search.defaults[name] for name in search.space})
    assert valid.labels is not None
    column = [valid.horizons.index(search.horizon)]
    churn, losses = valid.labels.churn[:, column], dict[int, Floats]()
    owner = whose_labels(churn, valid.customer_id)

    def fit(trial: optuna.Trial) -> float:
        reports = itertools.count()  # and not epochs, which begin again with each network of several

        def on_epoch(_: int, measures: dict[str, float]) -> None:
            if "valid_log_loss" in measures:
                trial.report(measures["valid_log_loss"], next(reports))
                if trial.should_prune():
                    raise optuna.TrialPruned

        model = build({name: _suggest(trial, name, values) for name, values in search.space.items()})
        model.fit(train, valid, on_epoch)
        logits = logit(model.predict(valid).churn_probability[:, column])
        losses[trial.number] = log_losses(churn, sigmoid(intercept_adjusted(churn, logits)))
        return float(losses[trial.number].mean())

    def after(_: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        finished = trial.state == optuna.trial.TrialState.COMPLETE
        on_trial(Trial(trial.number, trial.params, trial.value if finished else None))

    study.optimize(fit, n_trials=search.trials, callbacks=[after])
    best = study.best_trial
    chosen = best if beyond_doubt(losses[0] - losses[best.number], owner) else study.trials[0]
    return dict(chosen.params)


def _suggest(trial: optuna.Trial, name: str, values: Range) -> Any:
    if isinstance(values, list):
        return trial.suggest_categorical(name, values)
    low, high = values
    logarithmic = low > 0 and high / low >= 8
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(name, low, high, log=logarithmic)
    return trial.suggest_float(name, float(low), float(high), log=logarithmic)
