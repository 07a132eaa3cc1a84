"""How a model is made: its name and its parameters, before anything is fitted."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models import model_class
from models.base import Model

BETWEEN_SEEDS = 1_000_003  # random states of one seed and the next


@dataclass(frozen=True)
class ModelSpec:
    """`parameters` may hold what fitting found (epochs, rounds); a fit without validation takes it over. Parameters not
    given have the class's defaults.
    """

    name: str
    parameters: Mapping[str, Any]

    @property
    def recipe(self) -> "ModelSpec":
        """The same without what fitting found, every default written out."""
        return ModelSpec(self.name, model_class(self.name).recipe_of(self.parameters))

    @property
    def identity(self) -> str:
        """The recipe as text: two specs with the same identity are fitted alike."""
        return f"{self.name} {json.dumps(self.recipe.parameters, sort_keys=True)}"

    def build(self, horizons: tuple[int, ...], random_state: int) -> Model:
        """The unfitted model. Raises ValueError for an unknown name or parameter."""
        return model_class(self.name)(horizons, random_state, **self.parameters)
