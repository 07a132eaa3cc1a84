"""The conventional pool with one member more, which has a memory: the difference is what recurrence adds."""

from typing import ClassVar

from models.base import Family, Model, View
from models.pools.conventional_pool import ConventionalPool
from models.pools.pool import Pool


class RecurrentPool(Pool):
    """The conventional pool and a recurrent `member`, whose logit weighs as much as each of the others. Without one it
    is the conventional pool.
    """

    family: ClassVar[Family] = "hybrid"
    views: ClassVar[tuple[View, ...]] = ("aggregates", "sequences")

    def without_state(self) -> Model | None:
        member = self.parameters["member"]
        if member is None:
            return None
        specs = self.recipe_of(self.parameters)["specs"]
        others = {name: own for name, own in specs.items() if name != member}
        return ConventionalPool(self.horizons, self.random_state, specs=others)
