"""The pool of the conventional side: what a careful modeller would do without any memory."""

from typing import ClassVar

from models.base import Family, View
from models.pools.pool import Pool


class ConventionalPool(Pool):
    """The mean of the logits of logistic regression, random forest and LightGBM."""

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
