"""The recurrent pool with its member's memory taken out: whether it is memory that adds, or one more network."""

from typing import Any, ClassVar

from models.base import Family, View
from models.pools.pool import Pool


class TwinPool(Pool):
    """The conventional pool and the twin of the recurrent model named by `member` (its parameter `memory` is false)."""

    family: ClassVar[Family] = "conventional"
    views: ClassVar[tuple[View, ...]] = ("aggregates",)
    of_member: ClassVar[dict[str, Any]] = {"memory": False}
