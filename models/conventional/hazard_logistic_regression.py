"""The hazard of an event, by logistic regression on aggregates and the time since the cutoff."""

from typing import Any, ClassVar

from models.base import Model, Range
from models.conventional.hazard import HazardModel
from models.conventional.logistic_regression import LogisticRegression
from models.conventional.person_periods import COLUMNS


class HazardLogisticRegression(HazardModel):
    """Where in time a period lies has hinges too, and products with the other columns that have them."""

    defaults: ClassVar[dict[str, Any]] = {
        **LogisticRegression.defaults,
        "bent": [*LogisticRegression.defaults["bent"], *COLUMNS],
    }
    found_by_fit: ClassVar[tuple[str, ...]] = LogisticRegression.found_by_fit
    space: ClassVar[dict[str, Range]] = LogisticRegression.space
    seeded: ClassVar[bool] = LogisticRegression.seeded

    @classmethod
    def kind(cls) -> type[Model]:
        return LogisticRegression
