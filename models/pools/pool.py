"""A pool: the mean of several models' logits, a model like any other."""

import zlib
from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from features.arrays import Floats
from features.dataset import Dataset, Sequences
from models import POOLED, model_class
from models.base import Model, Needs, OnEpoch, Predictions, Stepper, View, total
from models.line import side_by_side
from models.numerics import logit
from models.pools.pooling import LIMIT, pooled
from models.pools.stepping import PoolStepper

WITH_MEMORY = ("recurrent", "hybrid")


class Pool(Model):
    """What `pooling.pooled` makes of the members' predictions before their calibration. The pool's calibration is its
    own.

    `specs` maps the members' names to their parameters, what fitting found included; where it is empty, the members are
    POOLED with their defaults. `member` is the name of one more, with the parameters `of_member` where it has no spec.
    """

    defaults: ClassVar[dict[str, Any]] = {"member": None, "specs": {}}
    of_member: ClassVar[dict[str, Any]] = {}

    def __init__(self, horizons: tuple[int, ...], random_state: int, **parameters: Any) -> None:
        super().__init__(horizons, random_state, **parameters)
        self.parameters["specs"] = self._specs(self.parameters)
        self._take(
            {
                name: model_class(name)(horizons, self._random_state_of(name), **own)
                for name, own in self.parameters["specs"].items()
            }
        )

    @classmethod
    def of(cls, horizons: tuple[int, ...], random_state: int, members: Mapping[str, Model], **parameters: Any) -> Self:
        """The pool of these fitted `members`, by the names of their classes. Nothing is fitted, and the members stay as
        they are, their calibration included. Raises ValueError where the pool's `member` is none of them.
        """
        if (member := parameters.get("member")) and member not in members:
            raise ValueError(f"the pool's member {member!r} is none of {', '.join(members)}")
        specs = {name: each.parameters for name, each in members.items()}
        pool = cls(horizons, random_state, **parameters, specs=specs)
        pool._take(members)
        return pool

    @classmethod
    def recipe_of(cls, parameters: Mapping[str, Any]) -> dict[str, Any]:
        specs = {name: model_class(name).recipe_of(own) for name, own in cls._specs(parameters).items()}
        return {"member": parameters.get("member"), "specs": specs}

    @classmethod
    def _specs(cls, parameters: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        """Each member's parameters, in order of their names."""
        specs = parameters.get("specs") or {name: {} for name in POOLED}
        if member := parameters.get("member"):
            specs = {member: cls.of_member, **specs}
        return {name: dict(specs[name]) for name in sorted(specs)}

    @property
    def needs(self) -> Needs:
        needs = [member.needs for member in self.members.values()]
        return "history" if "history" in needs else "state" if "state" in needs else "aggregates"

    def stepper(self) -> Stepper | None:
        if self.needs != "state":
            return None
        [(name, stepper)] = [(name, each.stepper()) for name, each in self.members.items() if each.needs == "state"]
        assert stepper is not None

        def predict(data: Dataset, of_member: Predictions) -> Predictions:
            others = [each.predict(data) for other, each in self.members.items() if other != name]
            return self.calibrated(pooled([*others, of_member], self.horizons))

        return PoolStepper(stepper, self.horizons, predict)

    @property
    def spent(self) -> dict[str, int]:
        return total(member.spent for member in self.members.values())

    def predict_reading(self, data: Dataset, sequences: Sequences) -> Predictions | None:
        readings = [each.predict_reading(data, sequences) for each in self.members.values()]
        if all(reading is None for reading in readings):
            return None
        members = zip(readings, self.members.values(), strict=True)
        return self.calibrated(pooled([reading or each.predict(data) for reading, each in members], self.horizons))

    def fit(self, train: Dataset, valid: Dataset | None, on_epoch: OnEpoch | None = None) -> None:
        """The members are fitted side by side: each leaves a core idle now and then."""
        with side_by_side() as each:
            list(each(lambda member: member.fit(train, valid, on_epoch), self.members.values()))
        self._take(self.members)

    def contributions(self, data: Dataset, baseline: Dataset, horizon_index: int) -> pd.DataFrame | None:
        """Means of the members' contributions: the columns of all, one member's after the other's. None where a member
        has no method of its own.
        """
        columns = []
        for member in self.members.values():
            own = member.contributions(data, baseline, horizon_index)
            if own is None:
                return None
            logits = logit(member.predict(data).churn_probability[:, horizon_index])
            columns.append(_within_limit(own, logits) / len(self.members))
        return pd.concat(columns, axis=1)

    def _predict(self, data: Dataset) -> Predictions:
        return pooled([member.predict(data) for member in self.members.values()], self.horizons)

    def _take(self, members: Mapping[str, Model]) -> None:
        """Make these the members, without their calibration. Raises ValueError where one has a memory and the class is
        of the side that has none.
        """
        self.members = {name: copy(members[name]) for name in sorted(members)}
        for member in self.members.values():
            member.calibration = None
        remembering = [name for name, member in self.members.items() if member.family in WITH_MEMORY]
        if remembering and type(self).family not in WITH_MEMORY:
            raise ValueError(f"{type(self).__name__} has no member with a memory, and {remembering[0]} has one")
        self.family = "hybrid" if remembering else "conventional"  # type: ignore[misc]
        views: set[View] = {view for member in self.members.values() for view in member.views}
        self.views = tuple(sorted(views))  # type: ignore[misc]
        self.parameters["specs"] = {name: member.parameters for name, member in self.members.items()}
        self.curves = {
            f"{name}_{curve}": values
            for name, member in self.members.items()
            for curve, values in member.curves.items()
        }

    def _random_state_of(self, name: str) -> int:
        return (self.random_state + zlib.crc32(name.encode())) % 2**32

    def _save(self, folder: Path) -> dict[str, Any]:
        for name, member in self.members.items():
            own = folder / "members" / name
            own.mkdir(parents=True)
            member.save(own)
        return {}

    def _load(self, folder: Path, content: dict[str, Any]) -> None:
        self._take({name: model_class(name).load(folder / "members" / name) for name in self.members})


def _within_limit(contributions: pd.DataFrame, logits: Floats) -> pd.DataFrame:
    """The contributions [examples, inputs] of a member with these `logits`; where one exceeds LIMIT, its contributions
    all shrink alike, to what they add up to as far as the limit from where every customer begins.
    """
    moved, inside = contributions.to_numpy().sum(axis=1), np.abs(logits) < LIMIT
    if inside.all() or not inside.any():
        return contributions
    begin = np.median((logits - moved)[inside])
    shrinks = ~inside & (moved != 0)
    share = np.where(shrinks, (np.clip(logits, -LIMIT, LIMIT) - begin) / np.where(shrinks, moved, 1.0), 1.0)
    return contributions.mul(share, axis=0)
