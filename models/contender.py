"""A contender: a recipe before one test period, with one seed. Its choices (epochs, rounds, map) are made on validation
and calibration; then it is refitted on all that is known when the test begins, and that fit is tested.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from features.arrays import Floats
from features.dataset import Dataset
from models.base import Model, OnEpoch, Predictions, calibrated
from models.calibration import Calibration
from models.held_out import CalibrationChoice, Parts, adjusted_losses, cross_calibrated, fit_calibration
from models.numerics import beyond_doubt
from models.pools.pooling import pooled
from models.spec import ModelSpec

RefitMap = Literal["levelled", "carried", "cross_fitted"]
FOLDS = 5


@dataclass(frozen=True)
class Procedure:
    """How contenders are made, the same for all. The map of a refitted model is that of the fit before, as it was
    (`carried`) or with its level set anew on the `latest_known` examples (`levelled`), or it is taught by predictions
    of these that are `cross_fitted` over five folds of the customers.
    """

    horizons: tuple[int, ...]
    calibration: CalibrationChoice = "chosen"
    refit_map: RefitMap = "levelled"


@dataclass(frozen=True, eq=False)
class Raw:
    """Uncalibrated predictions: of the fit on training alone for the held-out parts and the test, of the refit for the
    test, and those of the `latest_known` examples that the refit's map needs: the refit's own where it is levelled,
    those of fits that had not seen the customer where it is cross-fitted, none where it is carried.
    """

    held_out: Mapping[str, Predictions]
    before: Predictions
    test: Predictions
    latest: Predictions | None = None


@dataclass(frozen=True, eq=False)
class Contender:
    """`calibration` belongs to the fit on training alone, `refit_calibration` to the refit. `held_out` are predictions
    of each part under the map that the other part teaches; `before` and `test` are calibrated predictions of the test,
    by the fit on training alone and by the refit.
    """

    raw: Raw
    calibration: Calibration | None
    refit_calibration: Calibration | None
    held_out: Mapping[str, Predictions]
    before: Predictions
    test: Predictions

    @classmethod
    def of(cls, raw: Raw, parts: Parts, procedure: Procedure, like: "Contender | None" = None) -> "Contender":
        """What the uncalibrated predictions, of a model or of a pool, come to. A pool with a member takes the kind of
        map that the pool without it has (`like`): its difference is then the member's, and not that of another map,
        whose level is set anew where the other's is not.
        """
        kind = like.calibration.kind if like and like.calibration else None
        calibration = fit_calibration(procedure.calibration, parts, raw.held_out, kind)
        refit = calibration
        if calibration is not None and raw.latest is not None:
            labels = latest_known(parts).labels
            assert labels is not None
            churn = labels.churn, raw.latest.churn_probability
            refit = calibration.levelled(*churn)
            if procedure.refit_map == "cross_fitted":
                refit = replace(Calibration.fit(calibration.kind, *churn, {}), factors=calibration.factors)
        return cls(
            raw,
            calibration,
            refit,
            cross_calibrated(calibration, parts.held_out, raw.held_out),
            raw.before if calibration is None else calibrated(calibration, raw.before, procedure.horizons),
            raw.test if refit is None else calibrated(refit, raw.test, procedure.horizons),
        )

    def losses(self, parts: Parts, horizon_index: int) -> Floats:
        """The intercept-adjusted log loss of every example of validation and calibration, in nats."""
        held_out = parts.held_out
        return np.concatenate(
            [adjusted_losses(held_out[name], self.held_out[name], horizon_index) for name in held_out]
        )


def contend(
    spec: ModelSpec, parts: Parts, procedure: Procedure, random_state: int, on_epoch: OnEpoch | None = None
) -> tuple[Contender, Model, Model]:
    """The contender, the model fitted on training alone, and the one that was refitted; both are calibrated."""
    model = spec.build(procedure.horizons, random_state)
    model.fit(parts.train, parts.valid, on_epoch)
    refit = ModelSpec(spec.name, model.parameters).build(procedure.horizons, random_state)
    refit.fit(parts.known, None, on_epoch)
    raw = Raw(
        {name: model.predict(data) for name, data in parts.held_out.items()},
        model.predict(parts.test),
        refit.predict(parts.test),
        _latest(ModelSpec(spec.name, model.parameters), refit, parts, procedure, random_state),
    )
    contender = Contender.of(raw, parts, procedure)
    model.calibration, refit.calibration = contender.calibration, contender.refit_calibration
    return contender, model, refit


def pool(members: Sequence[Raw], procedure: Procedure) -> Raw:
    """What the pool of these members predicts: nothing is fitted, and its map is taught as any model's."""
    latest = [member.latest for member in members if member.latest is not None]
    horizons = procedure.horizons
    return Raw(
        {name: pooled([member.held_out[name] for member in members], horizons) for name in members[0].held_out},
        pooled([member.before for member in members], horizons),
        pooled([member.test for member in members], horizons),
        pooled(latest, horizons) if latest else None,
    )


@dataclass(frozen=True, eq=False)
class Gains:
    """What a pool gains by each candidate, one at least, on the held-out examples of one window: nats [examples] by
    name, and whose examples they are.
    """

    by_candidate: Mapping[str, Floats]
    customer: NDArray[Any]

    @classmethod
    def of(
        cls,
        without: Sequence[Contender],
        candidates: Mapping[str, Sequence[Contender]],
        parts: Parts,
        horizon_index: int,
    ) -> Self:
        """Of pools with each of the `candidates`, a contender a seed as for the pool `without`. An example's loss is
        the mean over the seeds.
        """
        base = mean_losses(without, parts, horizon_index)
        gains = {name: base - mean_losses(pools, parts, horizon_index) for name, pools in candidates.items()}
        return cls(gains, held_out_customers(parts, horizon_index))


@dataclass(frozen=True)
class MemberChoice:
    """Which recurrent model a pool takes in before one test: `best`, whose mean gain over the pool without is in nats;
    `chosen` says that it is beyond doubt.
    """

    best: str
    gain: float
    chosen: bool


def choose_member(windows: Sequence[Gains]) -> MemberChoice:
    """By all windows whose held-out parts lie before the test: of the candidates that help beyond doubt the one that
    helps most, else the one that came nearest.
    """
    customer = np.concatenate([window.customer for window in windows])
    gains = {
        name: np.concatenate([window.by_candidate[name] for window in windows]) for name in windows[0].by_candidate
    }
    certain = {name for name, gain in gains.items() if beyond_doubt(gain, customer)}
    mean = {name: float(gain.mean()) if len(gain) else 0.0 for name, gain in gains.items()}
    best = min(certain or gains, key=lambda name: (-mean[name], name))
    return MemberChoice(best, mean[best], bool(certain))


def mean_losses(contenders: Sequence[Contender], parts: Parts, horizon_index: int) -> Floats:
    """`Contender.losses`, the mean over the seeds."""
    return np.asarray(np.mean([contender.losses(parts, horizon_index) for contender in contenders], axis=0))


def held_out_customers(parts: Parts, horizon_index: int) -> np.ndarray:
    """The customer of each of `Contender.losses`."""
    return np.concatenate([_observed(data, horizon_index) for data in parts.held_out.values()])


def latest_known(parts: Parts) -> Dataset:
    """What was known of the cutoffs from calibration on, by which the map of a refit is levelled or taught."""
    return parts.known.select(parts.known.cutoff >= parts.calibrate.cutoff.min())


def _latest(spec: ModelSpec, refit: Model, parts: Parts, procedure: Procedure, random_state: int) -> Predictions | None:
    """`Raw.latest`, before the refit has a map."""
    if procedure.refit_map == "carried":
        return None
    latest = latest_known(parts)
    if procedure.refit_map == "levelled":
        return refit.predict(latest)
    customers = np.unique(parts.known.customer_id.astype(str))
    fold_of = np.random.default_rng(random_state).permutation(len(customers)) % FOLDS
    fold = fold_of[np.searchsorted(customers, parts.known.customer_id.astype(str))]
    latest_fold = fold_of[np.searchsorted(customers, latest.customer_id.astype(str))]
    churn = np.zeros((len(latest), len(procedure.horizons)))
    for number in range(FOLDS):
        rows = latest_fold == number
        if rows.any():
            model = spec.build(procedure.horizons, random_state)
            model.fit(parts.known.select(fold != number), None)
            churn[rows] = model.predict(latest.select(rows)).churn_probability
    return Predictions(churn)


def _observed(data: Dataset, horizon_index: int) -> np.ndarray:
    assert data.labels is not None
    customers: np.ndarray = data.customer_id[~np.isnan(data.labels.churn[:, horizon_index])]
    return customers
