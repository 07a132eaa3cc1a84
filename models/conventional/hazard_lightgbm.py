"""The hazard of an event, by gradient boosting on aggregates and the time since the cutoff."""

from typing import Any, ClassVar

from models.base import Model, Range
from models.conventional.hazard import HazardModel
from models.conventional.lightgbm import LightGBM


class HazardLightGBM(HazardModel):
    """Its parameters are LightGBM's, and so is the number of its bags."""

    defaults: ClassVar[dict[str, Any]] = LightGBM.defaults
    found_by_fit: ClassVar[tuple[str, ...]] = LightGBM.found_by_fit
    space: ClassVar[dict[str, Range]] = LightGBM.space

    @classmethod
    def kind(cls) -> type[Model]:
        return LightGBM
